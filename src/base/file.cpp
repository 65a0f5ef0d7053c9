#include "base/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>

#include <fmt/format.h>

namespace lb {
namespace {

Result<> write_all(int fd, std::string_view content, const std::string& path) {
  while (!content.empty()) {
    const ssize_t n = ::write(fd, content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(errno, fmt::format("write {}", path));
    content.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

// What else there is may never come to an end, or deliver nothing for ever.
Result<> check_regular(int fd, const std::string& path) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return fail(errno, fmt::format("stat {}", path));
  if (S_ISDIR(info.st_mode)) return fail(EISDIR, fmt::format("read {}", path));
  if (!S_ISREG(info.st_mode)) return fail(fmt::format("read {}: it is no regular file", path));
  return {};
}

}  // namespace

namespace {

Result<std::string> read_regular(const std::string& path, std::size_t limit, int flags) {
  // Without O_NONBLOCK the opening of a FIFO waits for its writer, and that of a terminal for a line.
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | flags));
  if (!fd) return fail(errno, fmt::format("open {}", path));
  LB_CHECK(check_regular(fd.get(), path));
  std::string out;
  char buffer[16384];
  for (;;) {
    const ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(errno, fmt::format("read {}", path));
    if (n == 0) return out;
    out.append(buffer, static_cast<std::size_t>(n));
    if (out.size() > limit) return fail(EFBIG, fmt::format("read {}", path));
  }
}

// What stands there already is half a file of an lbd that had our pid, or was put there by another hand: neither is written to.
UniqueFd create_fresh(const std::string& path, unsigned mode) {
  constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
  UniqueFd fd(::open(path.c_str(), kFlags, mode));
  if (fd || errno != EEXIST || ::unlink(path.c_str()) != 0) return fd;
  return UniqueFd(::open(path.c_str(), kFlags, mode));
}

}  // namespace

Result<std::string> read_file(const std::string& path, std::size_t limit) {
  return read_regular(path, limit, 0);
}

Result<std::string> read_own_file(const std::string& path, std::size_t limit) {
  return read_regular(path, limit, O_NOFOLLOW);
}

Result<> write_file_atomically(const std::string& path, std::string_view content, unsigned mode) {
  const std::string temporary = fmt::format("{}.new.{}", path, ::getpid());
  UniqueFd fd = create_fresh(temporary, mode);
  if (!fd) return fail(errno, fmt::format("create {}", temporary));
  auto written = write_all(fd.get(), content, temporary);
  if (written && ::fsync(fd.get()) != 0) written = fail(errno, fmt::format("sync {}", temporary));
  if (written && ::rename(temporary.c_str(), path.c_str()) != 0)
    written = fail(errno, fmt::format("rename {} to {}", temporary, path));
  if (!written) {
    ::unlink(temporary.c_str());
    return written;
  }
  // The rename itself must survive a power cut; a file system without directory sync is not ours
  // to judge, hence no error.
  UniqueFd dir(::open(std::filesystem::path(path).parent_path().c_str(),
                      O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (dir) ::fsync(dir.get());
  return {};
}

Result<> make_folder(const std::string& path, unsigned mode) {
  std::error_code unseen;  // what may not be looked at is no folder of ours
  std::string so_far;
  for (const auto& part : std::filesystem::path(path)) {
    so_far = (std::filesystem::path(so_far) / part).string();
    if (::mkdir(so_far.c_str(), mode) != 0 && errno != EEXIST) {
      // EROFS or EACCES on a parent that exists already is no obstacle.
      const int err = errno;
      if (!std::filesystem::is_directory(so_far, unseen))
        return fail(err, fmt::format("mkdir {}", so_far));
    }
  }
  if (!std::filesystem::is_directory(path, unseen))
    return fail(ENOTDIR, fmt::format("mkdir {}", path));
  return {};
}

Result<FolderLock> FolderLock::take(const std::string& folder) {
  const std::string path = folder + "/lbd.lock";
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0640));
  const bool writable = static_cast<bool>(fd);
  // A disk that is full or read-only: the file that is there, or the folder, can be locked all the same.
  if (!fd) fd = UniqueFd(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) fd = UniqueFd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fail(errno, fmt::format("open {}", path));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    const int err = errno;
    const auto owner = read_file(path, 64);
    return fail(err, fmt::format("{} is in use by the lbd with pid {}", folder,
                                 owner && !owner->empty() ? *owner : std::string("unknown")));
  }
  // The pid is for people who meet the lock: one that cannot be written is no reason not to start.
  if (writable && ::ftruncate(fd.get(), 0) == 0)
    (void)write_all(fd.get(), fmt::format("{}", ::getpid()), path);
  return FolderLock(std::move(fd));
}

}  // namespace lb
