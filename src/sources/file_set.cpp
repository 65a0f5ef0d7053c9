#include "sources/file_set.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <utility>

#include <fmt/format.h>

#include "base/being_written.h"
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

// Other stores of names may be servers that do not answer.
std::optional<Uid> find_in_passwd(std::string_view name) { return find_uid(name); }

bool loses_backends(const std::vector<ServicePtr>& before, const std::vector<Service>& after) {
  std::set<std::pair<ServiceKey, Address>> there;
  for (const Service& service : after)
    for (const Backend& backend : service.backends) there.emplace(service.key, backend.address);
  return std::any_of(before.begin(), before.end(), [&](const ServicePtr& service) {
    return std::any_of(service->backends.begin(), service->backends.end(), [&](const Backend& b) {
      return !there.contains({service->key, b.address});
    });
  });
}

}  // namespace

FileSet::Stamp FileSet::stamp_of(const struct stat& info) {
  return {info.st_dev, info.st_ino, info.st_size, nanoseconds(info.st_mtim),
          nanoseconds(info.st_ctim)};
}

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
    auto known = saved_.find(path);
    // After a change of the path of the source: the file of the same name.
    if (known == saved_.end())
      known = std::find_if(saved_.begin(), saved_.end(), [&](const auto& entry) {
        return fs::path(entry.first).filename() == fs::path(path).filename();
      });
    if (known != saved_.end()) {
      it->second.good.services = std::move(known->second);
      it->second.good_known = true;
      saved_.erase(known);
    }
  }
  return it->second;
}

void FileSet::wait(File& f, TimePoint until, TimePoint now) {
  if (!f.look_at) f.waits_since = now;
  f.look_at = until;
}

void FileSet::read_file_if_changed(const Look& look) {
  File& f = file(look.path);
  struct stat info {};
  if (::stat(look.path.c_str(), &info) != 0) {  // a link that points nowhere, for the moment
    f.read = false;
    f.look_at.reset();
    f.error = fail(errno, fmt::format("read {}", look.path)).value().message();
    return;
  }
  const Stamp stamp = stamp_of(info);
  if (f.read && f.stamp == stamp && !look.force && !f.look_at) return;
  if (look.force || !f.look_at || f.seen != stamp) f.changed_at = look.now;
  f.seen = stamp;
  read_file(look, f, stamp);
}

void FileSet::read_file(const Look& look, File& f, const Stamp& stamp) {
  const auto quiet = look.now - f.changed_at;
  if (quiet < kStalled && is_being_written(look.path))
    return wait(f, f.changed_at + kStalled, look.now);
  auto text = lb::read_file(look.path);
  auto services =
      text ? parse_services_file(*text, look.path, find_in_passwd) : tl::unexpected(text.error());
  const bool in_place =
      !f.read || look.created || (f.stamp.device == stamp.device && f.stamp.inode == stamp.inode);
  if (services && in_place && quiet < kSettle && loses_backends(f.good.services, *services))
    return wait(f, f.changed_at + kSettle, look.now);
  // The stamp is older than the content: a write in between makes us read once more, never less.
  f.stamp = stamp;
  f.read = true;
  f.look_at.reset();
  f.error = services ? "" : services.error().message();
  if (!services) return;
  f.good.services = share_unchanged(std::move(*services), f.good.services);
  f.good_known = true;
}

Result<Snapshot> FileSet::read(const FolderChanges& changed, TimePoint now) {
  LB_TRY(const std::vector<std::string> paths, list());
  const std::set<std::string> present(paths.begin(), paths.end());
  std::erase_if(files_, [&](const auto& entry) { return !present.contains(entry.first); });
  Snapshot out;
  out.as_of = sys_now();
  std::vector<const ServicesFile*> good;
  for (const std::string& path : present) {  // sorted by name
    read_file_if_changed({.path = path,
                          .now = now,
                          .force = changed.paths.contains(path),
                          .created = changed.created.contains(path)});
    const File& f = files_.at(path);
    good.push_back(&f.good);
    if (f.look_at && now - f.waits_since >= kStalled)
      out.warnings.push_back(
          fmt::format("{} is being written all the time; what it last said stays in force", path));
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

std::optional<FileSet::TimePoint> FileSet::next_look() const {
  std::optional<TimePoint> next;
  for (const auto& [path, f] : files_)
    if (f.look_at && (!next || *f.look_at < *next)) next = f.look_at;
  return next;
}

bool FileSet::complete() const {
  return std::none_of(files_.begin(), files_.end(), [](const auto& entry) {
    return entry.second.look_at && !entry.second.good_known;
  });
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
