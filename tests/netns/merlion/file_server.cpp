#include "netns/merlion/file_server.h"

#include <poll.h>

#include <cerrno>

#include <fmt/format.h>

#include "support/sockets.h"

namespace lb::test {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

Download read_to_end(const UniqueFd& fd, Clock::time_point end) {
  Download out;
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now());
    pollfd readable{fd.get(), POLLIN, 0};
    if (left.count() <= 0 || ::poll(&readable, 1, static_cast<int>(left.count())) == 0) {
      out.error = ETIMEDOUT;
      return out;
    }
    char buffer[65536];
    const ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
    if (n < 0) out.error = errno;
    if (n <= 0) return out;
    out.content.append(buffer, static_cast<std::size_t>(n));
  }
}

}  // namespace

FileServer::FileServer(std::string_view at, std::string content, std::size_t bytes_per_second)
    : listener_(listen_on(at)), content_(std::move(content)), rate_(bytes_per_second) {
  thread_ = std::thread([this] { accept_all(); });
}

FileServer::~FileServer() {
  stop_ = true;
  ::shutdown(listener_.get(), SHUT_RDWR);  // wakes accept()
  thread_.join();
  for (std::thread& client : clients_) client.join();
}

void FileServer::accept_all() {
  while (!stop_) {
    UniqueFd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!client) continue;
    clients_.emplace_back([this](UniqueFd fd) { serve(std::move(fd)); }, std::move(client));
  }
}

void FileServer::serve(UniqueFd client) const {
  constexpr std::size_t kSlicesPerSecond = 10;
  const std::size_t slice = rate_ == 0 ? content_.size() : rate_ / kSlicesPerSecond;
  for (std::size_t sent = 0; sent < content_.size() && !stop_;) {
    const std::string_view piece = std::string_view(content_).substr(sent, slice);
    const ssize_t n = ::send(client.get(), piece.data(), piece.size(), MSG_NOSIGNAL);
    if (n < 0) return;
    sent += static_cast<std::size_t>(n);
    if (rate_ != 0) std::this_thread::sleep_for(1000ms / kSlicesPerSecond);
  }
}

Download download(const std::string& from, std::chrono::milliseconds patience) {
  const auto end = Clock::now() + patience;
  const UniqueFd fd = connect_to(from);
  if (!fd) return {.error = errno, .content = {}};
  return read_to_end(fd, end);
}

std::future<Download> start_download(const std::string& from) {
  UniqueFd fd = connect_to(from);
  const int error = fd ? 0 : errno;
  return std::async(std::launch::async, [fd = std::move(fd), error] {
    if (!fd) return Download{.error = error, .content = {}};
    return read_to_end(fd, Clock::now() + 30s);
  });
}

std::string excerpt(std::size_t bytes) {
  std::string out;
  for (int line = 1; out.size() < bytes; ++line)
    out += fmt::format("{}. Down the rabbit hole, line {} of the excerpt.\n", line, line * line);
  out.resize(bytes);
  return out;
}

}  // namespace lb::test
