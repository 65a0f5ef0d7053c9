// inotify on a set of folders, as a coroutine: "something in there has changed". Which files matter
// is for others to know.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <string>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include "base/result.h"
#include "base/unique_fd.h"
#include "sources/folder_changes.h"

namespace lb {

namespace asio = boost::asio;

// The folders that are watched: a value, as a disk that hangs is to hold up a thread and not the loop.
class WatchedFolders {
 public:
  WatchedFolders() = default;
  explicit WatchedFolders(UniqueFd inotify)
      : inotify_(std::make_shared<const UniqueFd>(std::move(inotify))) {}

  // Watches exactly these folders from now on. A folder that does not exist is left out; one that
  // was deleted and created again is taken up again. Returns false when inotify cannot be used for
  // one of them, which is then followed by reading it more often. May block.
  bool follow(const std::set<std::string>& folders);
  [[nodiscard]] const std::map<std::string, int>& watches() const { return watches_; }

 private:
  std::shared_ptr<const UniqueFd> inotify_;  // null: the kernel gives none
  std::map<std::string, int> watches_;
};

class FolderWatch {
 public:
  explicit FolderWatch(asio::io_context& io);

  // Of these, as they were last set, changes are told.
  [[nodiscard]] const WatchedFolders& folders() const { return folders_; }
  void set(WatchedFolders folders) { folders_ = std::move(folders); }

  // What changed; empty when `timeout` passed. The first change after a quiet time is told at once; while changes go
  // on they are gathered, so that many changed files are one change. ECANCELED when the coroutine was cancelled.
  asio::awaitable<Result<FolderChanges>> wait(std::chrono::milliseconds timeout);
  // What changes within the moment that a burst takes.
  asio::awaitable<Result<FolderChanges>> rest_of_burst();

 private:
  void read_events(FolderChanges& changed);

  asio::io_context& io_;
  asio::posix::stream_descriptor descriptor_;
  WatchedFolders folders_;
  std::chrono::steady_clock::time_point told_{};  // the last change
};

}  // namespace lb
