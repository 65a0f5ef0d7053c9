// A server of TCP and UDP that tells who asked, and clients that give up soon: what is not answered must not hold
// a test up. Addresses are "ip:port" texts.
#pragma once

#include <atomic>
#include <chrono>
#include <map>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/unique_fd.h"
#include "model/address.h"
#include "vm/ipvs_dataplane/network.h"

namespace lb::test {

// TCP: greets with "NAME PEER-ADDRESS\n", sends messages of at most 64 bytes back, tells after the client's end how many bytes came
// ("N bytes\n"), and closes. To "reset\n" it answers with a reset. UDP: answers "NAME PEER-ADDRESS\n".
class Backend {
 public:
  Backend(std::string name, const std::vector<std::string>& at);
  ~Backend();
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;

 private:
  struct Client {
    UniqueFd fd;
    std::size_t bytes = 0;
  };
  void run();
  void accept_one(const UniqueFd& listener);
  bool serve(Client& client);  // false: it has ended
  void answer_datagram(const UniqueFd& socket);

  std::string name_;
  std::vector<UniqueFd> listeners_, datagrams_;
  UniqueFd stop_;
  std::map<int, Client> clients_;
  std::thread thread_;
};

constexpr auto kPatient = std::chrono::seconds(20);        // where an answer must come
constexpr auto kBrief = std::chrono::milliseconds(2'500);  // where none may come

struct Asking {
  std::string bind_to{};  // an IP address that the client binds to first
  Port bind_port = 0;     // with it
  std::chrono::milliseconds limit = kPatient;
};

// What the server greets with, without the newline; "timeout", or "errno N".
std::string ask_tcp(std::string_view to, const Asking& how = {});
// By a connected socket; by one that is not, which also tells when another address has answered.
std::string ask_udp(std::string_view to, const Asking& how = {});
std::string ask_udp_unconnected(std::string_view to, const Asking& how = {});

using Ask = std::string (*)(std::string_view, const Asking&);
using Answers = std::map<std::string, int>;
Answers ask_times(int times, std::string_view to, Ask ask = ask_tcp, const Asking& how = {});
Answers ask_from(const NetNamespace& net, int times, std::string_view to, Ask ask = ask_tcp,
                 const Asking& how = {});

// A connection that a test keeps.
class Held {
 public:
  explicit Held(std::string_view to, const Asking& how = {});
  [[nodiscard]] const std::string& greeting() const { return greeting_; }  // as ask_tcp()'s
  [[nodiscard]] std::string peer() const;                                  // getpeername()
  [[nodiscard]] std::string local() const;  // getsockname(), without the port
  [[nodiscard]] Port port() const;          // of it
  // Sends a message and gets it back; false when that fails.
  [[nodiscard]] bool alive(std::chrono::milliseconds limit = kPatient) const;
  // Ends what it sends after so many bytes, and returns what the server says: "N bytes"; "timeout", or "errno N".
  std::string send_bytes(std::size_t count);
  void reset();  // by the server; waits for it
  void abort();  // by the client

 private:
  UniqueFd fd_;
  std::string greeting_;
};

}  // namespace lb::test
