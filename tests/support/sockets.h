// Real sockets for tests, with as little ceremony as possible. Addresses are "ip:port" texts.
#pragma once

#include <sys/socket.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/unique_fd.h"
#include "model/address.h"

namespace lb::test {

// Throws std::invalid_argument for what is not an address: the test itself is wrong then.
Address address(std::string_view text);

struct SocketName {
  sockaddr_storage storage{};
  socklen_t length = 0;
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  [[nodiscard]] sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};
// As AF_INET6 also for IPv4 (::ffff:a.b.c.d) when `family` says so.
SocketName to_name(const Address& address, int family);
SocketName to_name(const Address& address);
Address from_name(const SocketName& name);

UniqueFd open_socket(int family, int type, int protocol = 0);
void set_option(const UniqueFd& fd, int level, int option, int value);

UniqueFd listen_on(std::string_view at, int backlog = 1024);
UniqueFd bind_udp(std::string_view at);

// errno of connect(), 0 when it succeeded.
int try_connect(const UniqueFd& fd, std::string_view to);
// The connected socket; empty with errno set when that failed.
UniqueFd connect_to(std::string_view to);
std::string peer_of(const UniqueFd& fd);  // "127.0.0.1:8080"

// Accepts on a background thread and answers every connection with `greeting`, reads until the client
// closes, and closes; many connections at once.
class Server {
 public:
  Server(std::string_view at, std::string greeting);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  [[nodiscard]] int accepted() const { return accepted_; }

 private:
  void run();
  UniqueFd listener_;
  UniqueFd stop_;
  std::string greeting_;
  std::atomic<int> accepted_{0};
  std::thread thread_;
};

// What the server greets with; "errno N" when the connect failed.
std::string ask(std::string_view to);
std::string read_all_now(const UniqueFd& fd);  // one read of at most 64 bytes, blocking

// Waits for what must become true; false after `limit`.
bool eventually(const std::function<bool()>& condition,
                std::chrono::milliseconds limit = std::chrono::seconds(5));

}  // namespace lb::test
