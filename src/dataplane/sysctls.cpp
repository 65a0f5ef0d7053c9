#include "dataplane/sysctls.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/foreign_json.h"
#include "base/text.h"
#include "base/unique_fd.h"
#include "dataplane/this_boot.h"

namespace lb {
namespace {

using nlohmann::json;

std::string trimmed(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

// Not atomically: these are no files, a write is one call of the kernel's.
Result<> write_setting(const std::string& path, const std::string& value) {
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return fail(errno, "open " + path);
  if (::write(fd.get(), value.data(), value.size()) < 0)
    return fail(errno, "write " + value + " to " + path);
  return {};
}

}  // namespace

Result<Sysctls> Sysctls::open(std::filesystem::path file, std::filesystem::path root) {
  Sysctls out;
  out.file_ = std::move(file);
  out.root_ = std::move(root);
  auto content = read_own_file(out.file_);
  if (!content) {
    if (content.error().code == std::errc::no_such_file_or_directory) return out;
    return tl::unexpected(content.error());
  }
  const json saved = parse_json(*content).value_or(json());
  try {
    // Of an earlier boot, or of another network namespace: the kernel has forgotten it, too.
    if (!saved.is_object() || saved.value("here", "") != this_boot()) return out;
    const auto settings = saved.value("settings", json::object());
    for (const auto& [name, change] : settings.items())
      out.changes_[name] = {change.value("before", ""), change.value("ours", "")};
  } catch (const json::exception& error) {
    return fail(fmt::format("{} is no record of settings: {}", out.file_.string(),
                            printable(error.what(), 200)));
  }
  return out;
}

Result<std::string> Sysctls::get(const std::string& name) const {
  LB_TRY(std::string value, read_file(root_ / name));
  return trimmed(std::move(value));
}

Result<bool> Sysctls::set(const std::string& name, const std::string& value) {
  LB_TRY(const std::string now, get(name));
  if (now == value) return false;
  const auto [it, first] = changes_.try_emplace(name, Change{now, value});
  it->second.ours = value;
  LB_CHECK(save());
  LB_CHECK(write_setting(root_ / name, value));
  return !first;
}

std::optional<std::string> Sysctls::before(const std::string& name) const {
  const auto it = changes_.find(name);
  if (it == changes_.end()) return std::nullopt;
  return it->second.before;
}

Result<> Sysctls::restore() {
  for (const auto& [name, change] : changes_) {
    const auto now = get(name);
    if (!now || *now != change.ours) continue;
    LB_CHECK(write_setting(root_ / name, change.before));
  }
  changes_.clear();
  std::error_code ec;
  std::filesystem::remove(file_, ec);
  if (ec) return fail(ec, "remove " + file_.string());
  return {};
}

Result<> Sysctls::save() const {
  json settings = json::object();
  for (const auto& [name, change] : changes_)
    settings[name] = {{"before", change.before}, {"ours", change.ours}};
  return write_file_atomically(file_, json{{"here", this_boot()}, {"settings", settings}}.dump(1));
}

}  // namespace lb
