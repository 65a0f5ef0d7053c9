// One blocking HTTP request after the other over a connection that is kept: for tests that write to a
// server while lbd, with its own client, reads. One thread per object.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace lb::test {

struct HttpCallOptions {
  std::string ca, cert, key;  // files; "": plain, or as the system trusts
  std::string local_address;  // "": as the kernel chooses
  std::chrono::milliseconds connect_timeout{1'000};
  std::chrono::milliseconds timeout{5'000};
};

struct HttpReply {
  int status = 0;  // 0: no answer, `error` says why
  std::string body;
  std::string error;
  [[nodiscard]] bool ok() const { return status >= 200 && status < 300; }
};

class HttpCall {
 public:
  explicit HttpCall(HttpCallOptions options = {});
  ~HttpCall();
  HttpCall(const HttpCall&) = delete;
  HttpCall& operator=(const HttpCall&) = delete;

  HttpReply operator()(const std::string& method, const std::string& url,
                       const std::string& body = {}, const std::vector<std::string>& headers = {});

 private:
  struct Handle;
  HttpCallOptions options_;
  std::unique_ptr<Handle> handle_;
};

// Everything but letters, digits and "-_.~" as %XX.
std::string url_encode(const std::string& text, const std::string& also_plain = {});

}  // namespace lb::test
