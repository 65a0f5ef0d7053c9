#include "netns/register/web_client.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include "support/sockets.h"

namespace lb::test {
namespace {

constexpr int kClientPatience = 20'000;  // milliseconds
constexpr int kSmallBuffer = 16'384;

bool send_request(const UniqueFd& fd, const std::string& path) {
  const std::string request = "GET " + path + " HTTP/1.0\r\n\r\n";
  const auto sent = ::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL);
  return sent == static_cast<ssize_t>(request.size());
}

// False at the end, with errno 0, or in an error.
bool read_some(const UniqueFd& fd, std::string& out, std::size_t at_most) {
  std::array<char, 65536> buffer;
  pollfd readable{fd.get(), POLLIN, 0};
  if (::poll(&readable, 1, kClientPatience) <= 0) {
    errno = ETIMEDOUT;
    return false;
  }
  const ssize_t n = ::read(fd.get(), buffer.data(), std::min(at_most, buffer.size()));
  if (n == 0) errno = 0;
  if (n > 0) out.append(buffer.data(), static_cast<std::size_t>(n));
  return n > 0;
}

}  // namespace

std::string who_serves(const std::string& at) {
  const UniqueFd fd = connect_to(at);
  std::string answer;
  if (!fd || !send_request(fd, "/who")) return fmt::format("errno {}", errno);
  while (read_some(fd, answer, answer.max_size())) continue;
  if (errno != 0) return fmt::format("errno {}", errno);
  const auto body = answer.find("\r\n\r\n");
  return body == std::string::npos ? "no answer" : answer.substr(body + 4);
}

WebLoad::WebLoad(std::string at) : at_(std::move(at)) {
  thread_ = std::thread([this] {
    while (!stop_) {
      const std::string answer = who_serves(at_);
      const std::lock_guard lock(mutex_);
      ++answers_[answer];
    }
  });
}

void WebLoad::stop() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
}

std::map<std::string, int> WebLoad::answers() const {
  const std::lock_guard lock(mutex_);
  return answers_;
}

void WebLoad::forget() {
  const std::lock_guard lock(mutex_);
  answers_.clear();
}

SlowDownload::SlowDownload(const std::string& at, const std::string& path)
    : fd_(open_socket(AF_INET, SOCK_STREAM)) {
  set_option(fd_, SOL_SOCKET, SO_RCVBUF, kSmallBuffer);
  if (try_connect(fd_, at) != 0 || !send_request(fd_, path)) fd_.reset();
}

std::string SlowDownload::read(std::size_t bytes) {
  std::string out;
  while (out.size() < bytes && read_some(fd_, out, bytes - out.size())) continue;
  return out;
}

std::string SlowDownload::read_all() { return read(std::string().max_size()); }

}  // namespace lb::test
