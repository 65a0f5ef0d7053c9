#include "sources/file_source.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <functional>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <boost/asio/this_coro.hpp>

#include "base/beside.h"
#include "sources/file_set.h"
#include "sources/folder_watch.h"

namespace lb {
namespace {

using std::chrono::milliseconds;

// Changes that inotify does not show (network file systems) are seen at the next full look, which
// costs one stat per file.
constexpr milliseconds kFullLook{30'000};
constexpr milliseconds kWithoutInotify{2'000};
// Tens of thousands of services are read in a second, on a disk that answers.
constexpr milliseconds kDiskAnswers{30'000};

// When to look again though nothing is told.
milliseconds longest_wait(const FileSet& files, bool watched) {
  const milliseconds usual = watched ? kFullLook : kWithoutInotify;
  const auto due = files.next_look();
  if (!due) return usual;
  const auto left = std::chrono::ceil<milliseconds>(*due - std::chrono::steady_clock::now());
  return std::clamp(left, milliseconds(0), usual);
}

// A service that is moved from one file to another is in neither for a moment.
bool loses_services(const Snapshot& before, const Snapshot& after) {
  std::set<ServiceKey> there;
  for (const ServicePtr& service : after.services) there.insert(service->key);
  return std::any_of(before.services.begin(), before.services.end(),
                     [&](const ServicePtr& service) { return !there.contains(service->key); });
}

// What one look at the files has found.
struct Look {
  WatchedFolders folders;
  bool complete = false;  // all of them are watched
  FileSet files;
  Result<Snapshot> snapshot;
};

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

  // Works on copies: a disk that hangs may keep them.
  [[nodiscard]] std::function<Result<Look>()> look() const {
    return [folders = watch.folders(), files = files, changed = changed]() mutable -> Result<Look> {
      // Watch first, read then: a change in between is seen by at least one of the two.
      bool complete = folders.follow(files.folders());
      auto snapshot = files.read(changed);
      complete = folders.follow(files.folders()) && complete;
      return Look{std::move(folders), complete, std::move(files), std::move(snapshot)};
    };
  }
  Result<Snapshot> take(Result<Look> look) {
    auto snapshot = look ? std::move(look->snapshot) : unanswered(look.error());
    // Not all: looked at again soon, as the disk may be back, or lbd was frozen itself.
    watch_complete = look && look->complete;
    if (look) {
      changed = {};
      watch.set(std::move(look->folders));
      files = std::move(look->files);
    }
    status.connected = snapshot.has_value();
    status.error = snapshot ? "" : snapshot.error().message();
    status.position = files.position();
    return snapshot;
  }

  [[nodiscard]] Result<Snapshot> unanswered(const Error& why) const {
    return fail(fmt::format("read {}: {}; the last good services stay", config.path, why.context));
  }

  void note(FolderChanges told) {
    changed.paths.merge(told.paths);
    changed.created.merge(told.created);
  }

  FileSourceConfig config;
  FolderWatch watch;
  FileSet files;
  FolderChanges changed;  // told, and not read yet
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
    if (std::exchange(self.started, true)) {
      auto woken = co_await self.watch.wait(longest_wait(self.files, self.watch_complete));
      if (!woken) co_return tl::unexpected(woken.error());
      self.note(*std::move(woken));
    }
    auto look = co_await beside(self.look(), kDiskAnswers);
    if (look && look->snapshot && self.delivered &&
        loses_services(*self.delivered, *look->snapshot)) {
      auto more = co_await self.watch.rest_of_burst();
      if (!more) co_return tl::unexpected(more.error());
      self.note(*std::move(more));
      look = co_await beside(self.look(), kDiskAnswers);
    }
    if ((co_await asio::this_coro::cancellation_state).cancelled() != asio::cancellation_type::none)
      co_return fail(ECANCELED, "read files");
    auto snapshot = self.take(std::move(look));
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
