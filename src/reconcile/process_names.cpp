// From a socket's inode to the process that has it, by the links in /proc/PID/fd.
#include "reconcile/process_names.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>
#include <string_view>

#include <fmt/format.h>

#include "base/file.h"
#include "base/text.h"
#include "base/unique_fd.h"

namespace lb {
namespace {

using Clock = std::chrono::steady_clock;

// A server opens its listeners before its connections, and the kernel lists descriptors in order:
// of a proxy with 100,000 connections the first are enough.
constexpr int kDescriptors = 1024;

// Of another pid namespace, not found in time, or gone by now.
constexpr std::string_view kUnknown = "another process";

struct CloseDirectory {
  void operator()(DIR* dir) const { ::closedir(dir); }
};
using Directory = std::unique_ptr<DIR, CloseDirectory>;

template <class Number>
std::optional<Number> whole_number(std::string_view text) {
  Number number = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (ec != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// Those of the sockets' own users first, so that the processes of others cannot use up the time; then by age: workers share the
// listener of their master, which is older and has, as a rule, the lower pid.
std::vector<int> pids_to_ask(const std::string& proc, const std::map<std::uint64_t, Uid>& sockets) {
  std::vector<std::pair<bool, int>> found;
  const Directory dir(::opendir(proc.c_str()));
  while (const dirent* entry = dir ? ::readdir(dir.get()) : nullptr) {
    const auto pid = whole_number<int>(static_cast<const char*>(entry->d_name));
    if (!pid) continue;
    struct stat about {};
    const bool known =
        ::fstatat(::dirfd(dir.get()), static_cast<const char*>(entry->d_name), &about, 0) == 0;
    const bool own = known && std::any_of(sockets.begin(), sockets.end(),
                                          [&](const auto& s) { return s.second == about.st_uid; });
    found.emplace_back(!own, *pid);
  }
  std::sort(found.begin(), found.end());
  std::vector<int> pids;
  for (const auto& [other, pid] : found) pids.push_back(pid);
  return pids;
}

// "socket:[12345]"
std::optional<std::uint64_t> socket_of(int folder, const char* name) {
  static constexpr std::string_view kPrefix = "socket:[";
  std::array<char, 64> link{};
  const ssize_t size = ::readlinkat(folder, name, link.data(), link.size());
  if (size <= 0) return std::nullopt;
  std::string_view text(link.data(), static_cast<std::size_t>(size));
  if (!text.starts_with(kPrefix) || !text.ends_with(']')) return std::nullopt;
  text.remove_prefix(kPrefix.size());
  text.remove_suffix(1);
  return whole_number<std::uint64_t>(text);
}

// Those of the sockets that the process has.
std::vector<std::uint64_t> sockets_of(const std::string& folder,
                                      const std::map<std::uint64_t, Uid>& sockets) {
  std::vector<std::uint64_t> found;
  const Directory dir(::opendir((folder + "/fd").c_str()));
  int seen = 0;
  while (const dirent* entry = dir && seen < kDescriptors ? ::readdir(dir.get()) : nullptr) {
    ++seen;
    const auto inode = socket_of(::dirfd(dir.get()), static_cast<const char*>(entry->d_name));
    if (inode && sockets.contains(*inode)) found.push_back(*inode);
  }
  return found;
}

std::string describe_process(const std::string& folder, int pid) {
  std::string name = read_file(folder + "/comm", 256).value_or("?");
  if (!name.empty() && name.back() == '\n') name.pop_back();
  return fmt::format("{} (pid {})", printable(name), pid);
}

}  // namespace

SocketNames find_processes(const std::string& proc, const std::map<std::uint64_t, Uid>& sockets,
                           std::chrono::milliseconds limit) {
  const auto deadline = Clock::now() + limit;
  std::map<std::uint64_t, std::string> processes;
  for (const int pid : pids_to_ask(proc, sockets)) {
    if (processes.size() == sockets.size() || Clock::now() >= deadline) break;
    const std::string folder = fmt::format("{}/{}", proc, pid);
    for (const std::uint64_t inode : sockets_of(folder, sockets))
      if (!processes.contains(inode)) processes.emplace(inode, describe_process(folder, pid));
  }
  std::map<Uid, std::string> users;
  SocketNames out;
  for (const auto& [inode, uid] : sockets) {
    const auto [user, fresh] = users.try_emplace(uid);
    if (fresh) user->second = name_user(uid);
    const auto process = processes.find(inode);
    out.emplace(inode,
                fmt::format("{} of {}",
                            process == processes.end() ? std::string(kUnknown) : process->second,
                            user->second));
  }
  return out;
}

std::string ProcessNames::of(const Listener& listener) {
  if (const auto it = names_.find(listener.inode); it != names_.end()) return it->second;
  wanted_.try_emplace(listener.inode, Wanted{{listener.protocol, listener.port}, listener.uid});
  return fmt::format("{} of uid {}", kUnknown, listener.uid);
}

std::map<std::uint64_t, Uid> ProcessNames::take_wanted(Time now) {
  std::map<std::uint64_t, Uid> out;
  if (walking_ || now < rest_until_) return out;
  std::map<PortId, Time> asked;
  for (const auto& [inode, wanted] : wanted_) {
    const auto last = asked_.find(wanted.port);
    if (last != asked_.end() && now < last->second + kAgain) continue;
    out.emplace(inode, wanted.uid);
    asked.insert_or_assign(wanted.port, now);
  }
  for (const auto& [port, time] : asked) asked_.insert_or_assign(port, time);
  for (const auto& [inode, uid] : out) wanted_.erase(inode);
  walking_ = !out.empty();
  return out;
}

void ProcessNames::found(SocketNames names, Time began, Time now) {
  walking_ = false;
  rest_until_ = now + kRest * (now - began);
  for (const auto& [inode, name] : names) wanted_.erase(inode);
  names_.merge(std::move(names));
}

void ProcessNames::keep_only(const std::vector<Listener>& listeners, Time now) {
  std::set<std::uint64_t> inodes;
  for (const Listener& l : listeners) inodes.insert(l.inode);
  std::erase_if(names_, [&](const auto& entry) { return !inodes.contains(entry.first); });
  std::erase_if(wanted_, [&](const auto& entry) { return !inodes.contains(entry.first); });
  std::erase_if(asked_, [&](const auto& entry) { return entry.second + kAgain <= now; });
}

}  // namespace lb
