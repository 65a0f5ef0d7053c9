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
using Clock = std::chrono::steady_clock;

// A server opens its listeners before its connections, and the kernel lists descriptors in order:
// of a proxy with 100,000 connections the first are enough.
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

constexpr auto kUnknown = "another process";  // of another pid namespace, or gone by now

// nullopt: it has taken too long.
std::optional<std::string> find_process(const std::string& proc, std::uint64_t inode,
                                        Clock::time_point deadline) {
  const std::string link = fmt::format("socket:[{}]", inode);
  for (const int pid : pids(proc)) {
    if (Clock::now() >= deadline) return std::nullopt;
    const std::string folder = fmt::format("{}/{}", proc, pid);
    if (!has_socket(folder + "/fd", link)) continue;
    std::string name = read_file(folder + "/comm").value_or("?");
    if (!name.empty() && name.back() == '\n') name.pop_back();
    return fmt::format("{} (pid {})", name, pid);
  }
  return kUnknown;
}

}  // namespace

std::string ProcessNames::of(std::uint64_t inode) {
  const auto [it, unseen] = names_.try_emplace(inode, kUnknown);
  if (!unseen) return it->second;
  if (auto name = find_process(proc_, inode, Clock::now() + limit_))
    it->second = *std::move(name);
  else
    late_.push_back(inode);
  return it->second;
}

std::optional<std::uint64_t> ProcessNames::take_late() {
  if (late_.empty()) return std::nullopt;
  const std::uint64_t inode = late_.back();
  late_.pop_back();
  return inode;
}

std::string ProcessNames::find(const std::string& proc, std::uint64_t inode) {
  return find_process(proc, inode, Clock::time_point::max()).value_or(kUnknown);
}

void ProcessNames::set(std::uint64_t inode, std::string name) {
  if (const auto it = names_.find(inode); it != names_.end()) it->second = std::move(name);
}

void ProcessNames::keep_only(const std::vector<Listener>& listeners) {
  std::set<std::uint64_t> inodes;
  for (const Listener& l : listeners) inodes.insert(l.inode);
  std::erase_if(names_, [&](const auto& entry) { return !inodes.contains(entry.first); });
}

}  // namespace lb
