#include "sources/folder_watch.h"

#include <fcntl.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include <spdlog/spdlog.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace lb {
namespace {

using std::chrono::milliseconds;

constexpr auto kTuple = asio::as_tuple(asio::use_awaitable);
// An editor or `cp *.toml` is done within this; a person does not notice it.
constexpr milliseconds kBurst{20};
// Who has written nothing for so long is not in the middle of something.
constexpr milliseconds kQuiet{100};
// IN_CLOSE_WRITE and not IN_MODIFY: a file is read when its writer is done. IN_ATTRIB: a chmod can
// make a file readable, and unlinking the last name of an open file shows only there.
constexpr std::uint32_t kMask = IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM |
                                IN_MOVED_TO | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF |
                                IN_ONLYDIR;

}  // namespace

FolderWatch::FolderWatch(asio::io_context& io) : io_(io), descriptor_(io) {
  UniqueFd inotify(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  const int readable = inotify ? ::fcntl(inotify.get(), F_DUPFD_CLOEXEC, 0) : -1;
  if (readable < 0) {
    spdlog::warn("inotify: {}; files are read every few seconds instead", std::strerror(errno));
    return;
  }
  descriptor_.assign(readable);
  folders_ = WatchedFolders(std::move(inotify));
}

bool WatchedFolders::follow(const std::set<std::string>& folders) {
  if (!inotify_) return false;
  const int fd = inotify_->get();
  bool complete = true;
  std::map<std::string, int> next;
  std::set<int> in_use;
  for (const std::string& folder : folders) {
    // Adding a watched folder again returns the same number; a re-created one gets a new number.
    const int watch = ::inotify_add_watch(fd, folder.c_str(), kMask);
    if (watch < 0) {
      complete = complete && errno == ENOENT;
      continue;
    }
    next.emplace(folder, watch);
    in_use.insert(watch);
  }
  for (const auto& [folder, watch] : watches_)
    if (!in_use.contains(watch)) ::inotify_rm_watch(fd, watch);  // EINVAL when it is gone already
  watches_ = std::move(next);
  return complete;
}

asio::awaitable<Result<FolderChanges>> FolderWatch::wait(milliseconds timeout) {
  using namespace asio::experimental::awaitable_operators;
  asio::steady_timer timer(io_, timeout);
  if (descriptor_.is_open()) {
    auto event = descriptor_.async_wait(asio::posix::stream_descriptor::wait_read, kTuple);
    auto deadline = timer.async_wait(kTuple);
    co_await (std::move(event) || std::move(deadline));
    const auto now = std::chrono::steady_clock::now();
    const bool quiet = now - std::exchange(told_, now) > kQuiet;
    timer.expires_after(quiet ? milliseconds(0) : kBurst);
  }
  // After an event: the rest of the burst. Without inotify: the whole timeout.
  const auto [ec] = co_await timer.async_wait(kTuple);
  if (ec) co_return fail(ECANCELED, "wait for changed files");
  FolderChanges changed;
  if (descriptor_.is_open()) read_events(changed);
  co_return changed;
}

asio::awaitable<Result<FolderChanges>> FolderWatch::rest_of_burst() {
  asio::steady_timer timer(io_, kBurst);
  const auto [ec] = co_await timer.async_wait(kTuple);
  if (ec) co_return fail(ECANCELED, "wait for changed files");
  FolderChanges changed;
  if (descriptor_.is_open()) read_events(changed);
  co_return changed;
}

void FolderWatch::read_events(FolderChanges& changed) {
  alignas(inotify_event) char buffer[16384];
  for (;;) {
    const ssize_t n = ::read(descriptor_.native_handle(), buffer, sizeof buffer);
    if (n <= 0) return;  // EAGAIN: all read; anything else is found by the next full reading
    for (ssize_t at = 0; at < n;) {
      const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
      at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
      for (const auto& [folder, watch] : folders_.watches()) {
        if (watch != event->wd) continue;
        const std::string path = event->len > 0 ? folder + "/" + event->name : folder;
        changed.paths.insert(path);
        if ((event->mask & IN_CREATE) != 0) changed.created.insert(path);
        if ((event->mask & IN_MOVED_TO) != 0) changed.created.erase(path);
      }
    }
  }
}

}  // namespace lb
