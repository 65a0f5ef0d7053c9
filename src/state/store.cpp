#include "state/store.h"

#include <cstdint>
#include <filesystem>
#include <vector>

#include <fmt/format.h>

#include "base/file.h"
#include "state/json_codec.h"
#include "state/saved_file.h"

namespace lb {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSuffix = ".json";
// NAME_MAX is 255; ".json", ".new.PID" and ".broken" must fit behind it.
constexpr std::size_t kLongestName = 200;

bool is_plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_' || c == '.';
}

// FNV-1a: std::hash may differ between two builds, and the file must be found again.
std::uint64_t stable_hash(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

}  // namespace

std::string escape_file_name(std::string_view name) {
  std::string out;
  for (const char c : name) {
    // A leading dot would hide the file, and ".." would leave the folder.
    if (is_plain(c) && !(c == '.' && out.empty()))
      out += c;
    else
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  if (out.size() > kLongestName)
    out = fmt::format("{}%{:016x}", out.substr(0, kLongestName - 17), stable_hash(name));
  return out;
}

std::string SnapshotStore::path_of(const std::string& source) const {
  return fmt::format("{}/{}{}", folder_, escape_file_name(source), kSuffix);
}

Result<std::optional<Snapshot>> SnapshotStore::load(const std::string& source) const {
  std::optional<Snapshot> out;
  LB_CHECK(load_saved(path_of(source), [&](std::string_view text) -> Result<> {
    LB_TRY(out, decode_snapshot(text));
    return {};
  }));
  return out;
}

Result<> SnapshotStore::save(const std::string& source, const Snapshot& snapshot) const {
  LB_CHECK(make_folder(folder_));
  return write_file_atomically(path_of(source), encode_snapshot(snapshot));
}

Result<> SnapshotStore::rename(const std::string& from, const std::string& to) const {
  std::error_code ec;
  if (fs::exists(path_of(to), ec) || !fs::exists(path_of(from), ec)) return {};
  fs::rename(path_of(from), path_of(to), ec);
  if (ec) return fail(ec, fmt::format("rename {} to {}", path_of(from), path_of(to)));
  return {};
}

Result<> SnapshotStore::keep_only(const std::set<std::string>& sources) const {
  std::set<std::string> wanted;
  for (const std::string& source : sources) wanted.insert(path_of(source));
  std::error_code ec;
  std::vector<fs::path> others;
  for (fs::directory_iterator it(folder_, ec); !ec && it != fs::directory_iterator();
       it.increment(ec))
    if (it->path().extension() == kSuffix && !wanted.contains(it->path().string()))
      others.push_back(it->path());
  if (ec && ec != std::errc::no_such_file_or_directory)
    return fail(ec, fmt::format("read folder {}", folder_));
  for (const fs::path& other : others)
    if (!fs::remove(other, ec) && ec) return fail(ec, fmt::format("remove {}", other.string()));
  return {};
}

}  // namespace lb
