#include "base/own_folder.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include <fmt/format.h>

#include "base/file.h"

namespace lb {
namespace {

namespace fs = std::filesystem;

// In a user namespace the owners of what is outside are shown as this one, which is then no user that could do anything here.
constexpr Uid kOverflowUid = 65'534;

bool is_in_user_namespace() {
  const auto map = read_file("/proc/self/uid_map", 4096);
  return map && map->find("4294967295") == std::string::npos;
}

bool is_trusted(Uid owner) {
  return owner == 0 || owner == ::geteuid() || (owner == kOverflowUid && is_in_user_namespace());
}

tl::unexpected<Error> refuse(const std::string& path, const std::string& what,
                             const std::string& cure) {
  return fail(
      fmt::format("{} {}: lbd believes what is in it, so none but root and the user of lbd "
                  "may write there. {}",
                  path, what, cure));
}

// One folder or link. `last`: the folder itself, where a sticky bit does not help.
Result<> check_part(const std::string& path, std::optional<Gid> group, bool last) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) return fail(errno, fmt::format("stat {}", path));
  if (!is_trusted(info.st_uid))
    return refuse(path, fmt::format("belongs to {}", name_user(info.st_uid)),
                  fmt::format("See what is in it, then `chown root {}` or remove it", path));
  if (S_ISLNK(info.st_mode) || (!last && (info.st_mode & S_ISVTX) != 0)) return {};
  if (last && !S_ISDIR(info.st_mode)) return fail(ENOTDIR, path);
  if ((info.st_mode & S_IWOTH) != 0)
    return refuse(path, "can be written by everybody", fmt::format("Run `chmod o-w {}`", path));
  const bool known = info.st_gid == 0 || info.st_gid == ::getegid() || info.st_gid == group;
  if ((info.st_mode & S_IWGRP) != 0 && !known)
    return refuse(path, fmt::format("can be written by the group {}", info.st_gid),
                  fmt::format("Run `chmod g-w {}`", path));
  return {};
}

Result<> check_parts(const fs::path& path, std::optional<Gid> group) {
  fs::path so_far;
  for (const fs::path& part : path) {
    so_far /= part;
    LB_CHECK(check_part(so_far.string(), group, so_far == path));
  }
  return {};
}

}  // namespace

Result<> check_own_folder(const std::string& path, std::optional<Gid> group) {
  std::error_code ec;
  fs::path whole = fs::absolute(path, ec).lexically_normal();
  if (!whole.has_filename()) whole = whole.parent_path();
  const fs::path real = fs::canonical(whole, ec);
  if (ec) return fail(ec, fmt::format("find {}", path));
  LB_CHECK(check_parts(whole, group));
  return real == whole ? Result<>() : check_parts(real, group);
}

}  // namespace lb
