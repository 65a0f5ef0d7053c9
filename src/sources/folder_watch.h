// inotify on a set of folders, as a coroutine: "something in there has changed". Which files matter
// is for others to know.
#pragma once

#include <chrono>
#include <map>
#include <set>
#include <string>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include "base/result.h"
#include "sources/folder_changes.h"

namespace lb {

namespace asio = boost::asio;

class FolderWatch {
 public:
  explicit FolderWatch(asio::io_context& io);

  // Watches exactly these folders from now on. A folder that does not exist is left out; one that
  // was deleted and created again is taken up again. Returns false when inotify cannot be used for
  // one of them, which is then followed by reading it more often.
  bool follow(const std::set<std::string>& folders);

  // What changed; empty when `timeout` passed. A burst is awaited for a moment, so
  // that many changed files are one change. ECANCELED when the coroutine was cancelled.
  asio::awaitable<Result<FolderChanges>> wait(std::chrono::milliseconds timeout);

 private:
  void read_events(FolderChanges& changed);

  asio::io_context& io_;
  asio::posix::stream_descriptor descriptor_;
  std::map<std::string, int> watches_;
};

}  // namespace lb
