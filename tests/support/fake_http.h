// An HTTP server in the test's own loop, for what a real one cannot be made to do: garbage, silence,
// half an answer, an answer of another version.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>

namespace lb::test {

struct FakeRequest {
  std::string method, path;                    // with the query
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
};

struct FakeReply {
  enum class Then {
    Next,   // waits for the next request on the connection
    Close,  // ends the connection, whatever the answer promised
    Hang,   // says nothing more until the client goes; push() does
  };
  std::string bytes;  // "": no answer at all
  Then then = Then::Next;
};

class FakeHttp {
 public:
  using Handler = std::function<FakeReply(const FakeRequest&)>;

  FakeHttp(boost::asio::io_context& io, Handler handler);  // on a free port of 127.0.0.1
  ~FakeHttp();
  FakeHttp(const FakeHttp&) = delete;
  FakeHttp& operator=(const FakeHttp&) = delete;

  [[nodiscard]] std::string url() const;  // "http://127.0.0.1:PORT"
  [[nodiscard]] const std::vector<FakeRequest>& requests() const;
  // Requests for this path so far.
  [[nodiscard]] int count(const std::string& path) const;
  [[nodiscard]] std::size_t hanging() const;  // connections whose client waits for more
  // Sends more to each connection that hangs.
  void push(const std::string& bytes);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// A complete answer. `type`: "application/json".
FakeReply answer(int status, const std::string& body, const std::string& type = "application/json");
// The header of a body in chunks and its first chunk; more with chunk() and push().
FakeReply stream(const std::string& first, FakeReply::Then then = FakeReply::Then::Hang);
std::string chunk(const std::string& bytes);  // of "" the end of the body

}  // namespace lb::test
