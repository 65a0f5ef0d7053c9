// Whole files in and out, and the lock of a folder.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"

namespace lb {

// Regular files only, so that a FIFO or a terminal in the place of one does not hold us. A file on a
// disk or server that hangs still does: what is not in /proc is read beside the loop.
// Reads at most `limit` bytes; a larger file is EFBIG, so that nobody can make us eat memory.
[[nodiscard]] Result<std::string> read_file(const std::string& path,
                                            std::size_t limit = std::size_t{64} << 20);

// The same for what lbd has written itself: a link in its place is ELOOP.
[[nodiscard]] Result<std::string> read_own_file(const std::string& path,
                                                std::size_t limit = std::size_t{64} << 20);

// Writes beside the target, syncs, renames: a reader sees the old content or the new one, also
// after a power cut. `mode`: of the file.
[[nodiscard]] Result<> write_file_atomically(const std::string& path, std::string_view content,
                                             unsigned mode = 0640);

// mkdir -p with the given mode for what is created.
[[nodiscard]] Result<> make_folder(const std::string& path, unsigned mode = 0750);

// An flock on FOLDER/lbd.lock that lives as long as this object; a dead owner never blocks. On
// EWOULDBLOCK the context names the owner's pid, read from the lock file.
class FolderLock {
 public:
  [[nodiscard]] static Result<FolderLock> take(const std::string& folder);

 private:
  explicit FolderLock(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace lb
