// From a socket's inode to the process that has it, by the links in /proc/PID/fd.
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <vector>

#include <fmt/format.h>

#include "base/file.h"
#include "reconcile/listeners.h"

namespace lb {
namespace {

namespace fs = std::filesystem;

// A server opens its listeners before its connections, and the kernel lists descriptors in order:
// a proxy with 100,000 connections must not hold up the loop.
constexpr int kDescriptors = 1024;

std::optional<int> to_pid(const std::string& name) {
  int pid = 0;
  const auto [end, ec] = std::from_chars(name.data(), name.data() + name.size(), pid);
  if (ec != std::errc{} || end != name.data() + name.size()) return std::nullopt;
  return pid;
}

std::vector<int> pids(const std::string& proc) {
  std::vector<int> found;
  std::error_code ec;
  for (fs::directory_iterator it(proc, ec), end; !ec && it != end; it.increment(ec))
    if (const auto pid = to_pid(it->path().filename().string())) found.push_back(*pid);
  // Workers share the listener of their master, which is older and has, as a rule, the lower pid.
  std::sort(found.begin(), found.end());
  return found;
}

bool has_socket(const fs::path& folder, const std::string& link) {
  std::error_code ec;
  int seen = 0;
  for (fs::directory_iterator it(folder, fs::directory_options::skip_permission_denied, ec), end;
       !ec && it != end && seen < kDescriptors; it.increment(ec), ++seen) {
    std::error_code gone;
    if (fs::read_symlink(it->path(), gone) == link && !gone) return true;
  }
  return false;
}

std::string find_process(const std::string& proc, std::uint64_t inode) {
  const std::string link = fmt::format("socket:[{}]", inode);
  for (const int pid : pids(proc)) {
    const std::string folder = fmt::format("{}/{}", proc, pid);
    if (!has_socket(folder + "/fd", link)) continue;
    std::string name = read_file(folder + "/comm").value_or("?");
    if (!name.empty() && name.back() == '\n') name.pop_back();
    return fmt::format("{} (pid {})", name, pid);
  }
  return "another process";  // of another pid namespace, or gone by now
}

}  // namespace

std::string ProcessNames::of(std::uint64_t inode) {
  auto it = names_.find(inode);
  if (it == names_.end()) it = names_.emplace(inode, find_process(proc_, inode)).first;
  return it->second;
}

void ProcessNames::keep_only(const std::vector<Listener>& listeners) {
  std::set<std::uint64_t> inodes;
  for (const Listener& l : listeners) inodes.insert(l.inode);
  std::erase_if(names_, [&](const auto& entry) { return !inodes.contains(entry.first); });
}

}  // namespace lb
