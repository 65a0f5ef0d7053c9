// The files behind a file source: which there are, which have changed, what each last said that was
// good. Reads, but does not wait.
#pragma once

#include <sys/stat.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/service.h"
#include "sources/services_file.h"

namespace lb {

class FileSet {
 public:
  // `saved`: services of an earlier run. They stand in for a file that is broken at start, and are
  // shared with the first snapshot where nothing changed.
  FileSet(std::string path, const std::vector<ServicePtr>& saved);

  // Reads what has changed since the last call; files named in `changed` are read in any case,
  // since a second write within the clock's granularity leaves size and times as they were.
  // An error: nothing could be read, all stays as it is.
  [[nodiscard]] Result<Snapshot> read(const std::set<std::string>& changed);

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
  struct File {
    ServicesFile good;  // the last good content
    Stamp stamp;
    bool read = false;  // stamp is that of a file we have looked into
    std::string error;  // empty, or why `good` is not the present content
  };

  [[nodiscard]] Result<std::vector<std::string>> list();
  void read_file_if_changed(const std::string& path, bool force);
  File& file(const std::string& path);

  std::string path_;
  bool is_folder_ = false;
  std::map<std::string, File> files_;
  std::map<std::string, std::vector<ServicePtr>> saved_;  // by file
  std::size_t service_count_ = 0;
};

}  // namespace lb
