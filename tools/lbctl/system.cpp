// The real Env: everything here is I/O and nothing is decided.
#include <curl/curl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <thread>

#include <fmt/format.h>

#include "tools/lbctl/env.h"

namespace lb::lbctl {
namespace {

// A drain settles within milliseconds; a full list of 100,000 backends takes about a second.
constexpr long kRequestSeconds = 30;

struct CurlFree {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};
struct HeadersFree {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

std::size_t append(char* data, std::size_t size, std::size_t count, void* to) noexcept {
  try {
    static_cast<std::string*>(to)->append(data, size * count);
  } catch (...) {
    return 0;  // curl reports a write error
  }
  return size * count;
}

Error curl_error(CURL* curl, CURLcode code) {
  long err = 0;
  curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &err);
  if (code == CURLE_OPERATION_TIMEDOUT) err = ETIMEDOUT;
  if (code != CURLE_COULDNT_CONNECT && code != CURLE_OPERATION_TIMEDOUT) err = 0;
  return {std::error_code(static_cast<int>(err), std::generic_category()),
          curl_easy_strerror(code)};
}

Result<HttpAnswer> fetch(const std::string& socket, const HttpCall& http) {
  const std::unique_ptr<CURL, CurlFree> curl(curl_easy_init());
  if (!curl) return fail(ENOMEM, "start curl");
  const std::unique_ptr<curl_slist, HeadersFree> headers(
      curl_slist_append(nullptr, "Content-Type: application/json"));
  HttpAnswer out;
  const std::string url = "http://lbd" + http.target;
  curl_easy_setopt(curl.get(), CURLOPT_UNIX_SOCKET_PATH, socket.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_CUSTOMREQUEST, http.method.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_PROXY, "");  // http_proxy is not meant for this socket
  curl_easy_setopt(curl.get(), CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT, kRequestSeconds);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, append);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &out.body);
  if (!http.body.empty()) {
    curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDSIZE, static_cast<long>(http.body.size()));
    curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDS, http.body.c_str());
    curl_easy_setopt(curl.get(), CURLOPT_HTTPHEADER, headers.get());
  }
  const CURLcode code = curl_easy_perform(curl.get());
  if (code != CURLE_OK) return tl::unexpected(curl_error(curl.get(), code));
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &out.status);
  return out;
}

std::size_t terminal_columns() {
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace

Env system_env() {
  Env env(std::cout, std::cerr);
  env.out_is_tty = ::isatty(STDOUT_FILENO) == 1;
  env.err_is_tty = ::isatty(STDERR_FILENO) == 1;
  const char* no_color = std::getenv("NO_COLOR");
  env.no_color = no_color != nullptr && *no_color != '\0';
  env.columns = terminal_columns();
  const char* socket = std::getenv("LBD_SOCKET");
  if (socket != nullptr && *socket != '\0') env.default_socket = socket;
  env.wall = sys_now;
  env.steady = std::chrono::steady_clock::now;
  env.sleep = [](std::chrono::milliseconds time) { std::this_thread::sleep_for(time); };
  env.fetch = fetch;
  env.look_at_host = look_at_host;
  return env;
}

}  // namespace lb::lbctl
