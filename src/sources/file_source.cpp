#include "sources/file_source.h"

#include <algorithm>
#include <chrono>

#include "sources/file_set.h"
#include "sources/folder_watch.h"

namespace lb {
namespace {

using std::chrono::milliseconds;

// Changes that inotify does not show (network file systems) are seen at the next full look, which
// costs one stat per file.
constexpr milliseconds kFullLook{30'000};
constexpr milliseconds kWithoutInotify{2'000};

// When to look again though nothing is told.
milliseconds longest_wait(const FileSet& files, bool watched) {
  const milliseconds usual = watched ? kFullLook : kWithoutInotify;
  const auto due = files.next_look();
  if (!due) return usual;
  const auto left = std::chrono::ceil<milliseconds>(*due - std::chrono::steady_clock::now());
  return std::clamp(left, milliseconds(0), usual);
}

}  // namespace

struct FileSource::Impl {
  Impl(asio::io_context& io, FileSourceConfig c, std::optional<Snapshot> saved)
      : config(std::move(c)),
        watch(io),
        files(config.path, saved ? saved->services : std::vector<ServicePtr>{}) {}

  // Whether `next` differs from what was delivered before in something that matters.
  bool matters(const Snapshot& next) const {
    return !delivered || failed || delivered->services != next.services ||
           delivered->warnings != next.warnings;
  }

  FileSourceConfig config;
  FolderWatch watch;
  FileSet files;
  bool started = false;
  bool watch_complete = false;
  bool failed = false;  // the last answer was an error: the next success is news
  std::optional<Snapshot> delivered;
  std::string last_error;
  SourceStatus status;
};

FileSource::FileSource(asio::io_context& io, FileSourceConfig config, std::optional<Snapshot> saved)
    : impl_(std::make_unique<Impl>(io, std::move(config), std::move(saved))) {}

FileSource::~FileSource() = default;

SourceStatus FileSource::status() const { return impl_->status; }

asio::awaitable<Result<Snapshot>> FileSource::next() {
  Impl& self = *impl_;
  for (;;) {
    FolderChanges changed;
    if (std::exchange(self.started, true)) {
      auto woken = co_await self.watch.wait(longest_wait(self.files, self.watch_complete));
      if (!woken) co_return tl::unexpected(woken.error());
      changed = std::move(*woken);
    }
    // Watch first, read then: a change in between is seen by at least one of the two.
    self.watch_complete = self.watch.follow(self.files.folders());
    auto snapshot = self.files.read(changed);
    self.watch_complete = self.watch.follow(self.files.folders()) && self.watch_complete;
    self.status.connected = snapshot.has_value();
    self.status.error = snapshot ? "" : snapshot.error().message();
    self.status.position = self.files.position();
    if (!snapshot) {
      const bool news = !self.failed || self.last_error != self.status.error;
      self.failed = true;
      self.last_error = self.status.error;
      if (news) co_return tl::unexpected(snapshot.error());
      continue;
    }
    // What is not whole yet is no state to start with: what the kernel has stays until it is.
    if (!self.delivered && !self.files.complete()) continue;
    if (!self.matters(*snapshot)) continue;
    self.failed = false;
    self.delivered = *snapshot;
    co_return std::move(*snapshot);
  }
}

}  // namespace lb
