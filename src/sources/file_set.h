// The files behind a file source: which there are, which have changed, what each last said that was
// good. Reads, but does not wait.
//
// A file that another process has open for writing is read when that is done, or when nothing has
// changed in it for kStalled. One that was changed in place and lost backends is believed when it has
// not changed for kSettle: a writer may open it for each line. One that was moved into place is whole.
#pragma once

#include <sys/stat.h>

#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/service.h"
#include "sources/folder_changes.h"
#include "sources/services_file.h"

namespace lb {

class FileSet {
 public:
  using Clock = std::chrono::steady_clock;
  using TimePoint = Clock::time_point;
  static constexpr std::chrono::milliseconds kSettle{1'000};
  static constexpr std::chrono::milliseconds kStalled{5'000};

  // `saved`: services of an earlier run. They stand in for a file that is broken at start, and are
  // shared with the first snapshot where nothing changed.
  FileSet(std::string path, const std::vector<ServicePtr>& saved);

  // Reads what has changed since the last call; files named in `changed` are read in any case,
  // since a second write within the clock's granularity leaves size and times as they were.
  // An error: nothing could be read, all stays as it is.
  [[nodiscard]] Result<Snapshot> read(const FolderChanges& changed, TimePoint now = Clock::now());

  // When a file that is not whole yet should be looked at again.
  [[nodiscard]] std::optional<TimePoint> next_look() const;
  // False while the first content of a file is still being written.
  [[nodiscard]] bool complete() const;

  // The folders where a change can show: that of the path, those of what links point to, and the
  // nearest one that exists.
  [[nodiscard]] std::set<std::string> folders() const;

  [[nodiscard]] std::string position() const;  // "/etc/lbd/services.d, 3 files, 12 services"

 private:
  // What tells two versions of a file apart without reading them.
  struct Stamp {
    dev_t device = 0;
    ino_t inode = 0;
    off_t size = 0;
    long long modified_ns = 0;
    long long changed_ns = 0;
    bool operator==(const Stamp&) const = default;
  };
  static Stamp stamp_of(const struct stat& info);
  struct File {
    ServicesFile good;  // the last good content
    Stamp stamp;
    bool read = false;  // stamp is that of a file we have looked into
    std::string error;  // empty, or why `good` is not the present content
    // While it is not whole: what was seen of it, when that last changed, and when to look again.
    Stamp seen;
    TimePoint changed_at{}, waits_since{};
    std::optional<TimePoint> look_at;
    bool good_known = false;  // `good` is what the file, or an earlier run, has said
  };
  struct Look {  // one file, now
    const std::string& path;
    TimePoint now;
    bool force = false, created = false;
  };

  [[nodiscard]] Result<std::vector<std::string>> list();
  void read_file_if_changed(const Look& look);
  void read_file(const Look& look, File& file, const Stamp& stamp);
  static void wait(File& file, TimePoint until, TimePoint now);
  File& file(const std::string& path);

  std::string path_;
  bool is_folder_ = false;
  std::map<std::string, File> files_;
  std::map<std::string, std::vector<ServicePtr>> saved_;  // by file
  std::size_t service_count_ = 0;
};

}  // namespace lb
