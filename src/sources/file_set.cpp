#include "sources/file_set.h"

#include <cerrno>
#include <filesystem>

#include <fmt/format.h>

#include "base/file.h"

namespace lb {
namespace {

namespace fs = std::filesystem;

long long nanoseconds(const timespec& t) { return t.tv_sec * 1'000'000'000LL + t.tv_nsec; }

// Made absolute and without a trailing slash, so that a name has one spelling in messages, in the
// saved snapshot and in what inotify tells.
std::string normal_path(const std::string& path) {
  std::error_code ec;
  fs::path out = fs::absolute(path, ec).lexically_normal();
  if (!out.has_filename() && out.has_parent_path() && out != out.root_path())
    out = out.parent_path();
  return out.string();
}

}  // namespace

FileSet::FileSet(std::string path, const std::vector<ServicePtr>& saved)
    : path_(normal_path(path)) {
  for (const ServicePtr& service : saved) saved_[service->origin].push_back(service);
}

Result<std::vector<std::string>> FileSet::list() {
  struct stat info {};
  if (::stat(path_.c_str(), &info) != 0) {
    const int err = errno;
    return fail(err, fmt::format("services from {} (the last good ones stay; create the path or "
                                 "correct `path` of the source)",
                                 path_));
  }
  is_folder_ = S_ISDIR(info.st_mode);
  if (!is_folder_) return std::vector<std::string>{path_};
  std::error_code ec;
  fs::directory_iterator it(path_, ec);
  std::vector<std::string> out;
  for (; !ec && it != fs::directory_iterator(); it.increment(ec)) {
    const fs::path& entry = it->path();
    // Hidden files are an editor's or a half-done copy.
    if (entry.extension() != ".toml" || entry.filename().native().front() == '.') continue;
    std::error_code unknown;
    if (!it->is_directory(unknown)) out.push_back(entry.string());
  }
  if (ec) return fail(ec, fmt::format("read folder {} (the last good services stay)", path_));
  return out;
}

FileSet::File& FileSet::file(const std::string& path) {
  const auto [it, fresh] = files_.try_emplace(path);
  if (fresh) {
    it->second.good.path = path;
    if (const auto saved = saved_.extract(path)) it->second.good.services = saved.mapped();
  }
  return it->second;
}

void FileSet::read_file_if_changed(const std::string& path, bool force) {
  File& f = file(path);
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) {  // a link that points nowhere, for the moment
    f.read = false;
    f.error = fail(errno, fmt::format("read {}", path)).value().message();
    return;
  }
  const Stamp stamp{info.st_dev, info.st_ino, info.st_size, nanoseconds(info.st_mtim),
                    nanoseconds(info.st_ctim)};
  if (f.read && f.stamp == stamp && !force) return;
  // The stamp is older than the content: a write in between makes us read once more, never less.
  f.stamp = stamp;
  f.read = true;
  auto text = lb::read_file(path);
  if (!text) {
    f.error = text.error().message();
    return;
  }
  auto services = parse_services_file(*text, path);
  if (!services) {
    f.error = services.error().message();
    return;
  }
  f.error.clear();
  f.good.services = share_unchanged(std::move(*services), f.good.services);
}

Result<Snapshot> FileSet::read(const std::set<std::string>& changed) {
  LB_TRY(const std::vector<std::string> paths, list());
  const std::set<std::string> present(paths.begin(), paths.end());
  std::erase_if(files_, [&](const auto& entry) { return !present.contains(entry.first); });
  Snapshot out;
  out.as_of = sys_now();
  std::vector<const ServicesFile*> good;
  for (const std::string& path : present) {  // sorted by name
    read_file_if_changed(path, changed.contains(path));
    const File& f = files_.at(path);
    good.push_back(&f.good);
    if (f.error.empty()) continue;
    if (!is_folder_) return fail(f.error + "; the last good services stay");
    out.warnings.push_back(f.error + "; what this file last said stays in force");
    // Nothing good is known of it, and what it said in an earlier run may be all that is wrong.
    if (f.good.services.empty()) out.absence = Absence::Guarded;
  }
  MergedServices merged = merge_services_files(good);
  out.services = std::move(merged.services);
  out.warnings.insert(out.warnings.end(), merged.warnings.begin(), merged.warnings.end());
  service_count_ = out.services.size();
  return out;
}

std::set<std::string> FileSet::folders() const {
  std::set<std::string> out;
  std::error_code ec;
  // Where the path itself can appear, vanish or be replaced.
  fs::path parent = fs::path(path_).parent_path();
  while (!fs::is_directory(parent, ec) && parent != parent.root_path())
    parent = parent.parent_path();
  out.insert(parent.string());
  if (is_folder_) out.insert(path_);
  const auto add_target = [&](const std::string& path) {
    const fs::path target = fs::weakly_canonical(path, ec);
    if (!ec && target != path) out.insert(target.parent_path().string());
  };
  add_target(path_);
  for (const auto& [path, file] : files_)
    if (fs::is_symlink(path, ec)) add_target(path);
  return out;
}

std::string FileSet::position() const {
  return fmt::format("{}, {} files, {} services", path_, files_.size(), service_count_);
}

}  // namespace lb
