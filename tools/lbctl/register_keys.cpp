#include "tools/lbctl/register_keys.h"

#include <charconv>
#include <map>

#include <fmt/format.h>

#include "base/text.h"
#include "sources/merlion_schema.h"

namespace lb::lbctl {
namespace {

constexpr std::string_view kAddress = "listen-address";
constexpr std::string_view kLastSeen = "last-seen-at";
constexpr std::string_view kDisabled = "disabled";

const std::string* find(const std::vector<etcd::KeyValue>& there, const std::string& key) {
  for (const etcd::KeyValue& kv : there)
    if (kv.key == key) return &kv.value;
  return nullptr;
}

// One publisher's words on one backend.
struct Published {
  std::optional<std::uint64_t> connections;
  bool disabled = false;
};

void note(Published& out, std::string_view key, const std::string& value) {
  if (key == kDisabled) out.disabled = parse_disabled(value);
  if (key != "active-connections") return;
  std::uint64_t count = 0;
  const auto [end, ec] = std::from_chars(value.data(), value.data() + value.size(), count);
  if (ec == std::errc{} && end == value.data() + value.size()) out.connections = count;
}

// "hosts/node1/backends/web1/weight" to "node1" and "weight"; a flat "backends/web1/weight" to "" and
// "weight". Null: about something else.
struct Subject {
  std::string_view host, key;
};
std::optional<Subject> subject_of(std::string_view path, std::string_view name) {
  constexpr std::string_view kHosts = "hosts/";
  Subject out;
  if (path.starts_with(kHosts)) {
    path.remove_prefix(kHosts.size());
    const auto slash = path.find('/');
    if (slash == std::string_view::npos) return std::nullopt;
    out.host = path.substr(0, slash);
    path.remove_prefix(slash + 1);
  }
  const std::string folder = fmt::format("backends/{}/", name);
  if (!path.starts_with(folder)) return std::nullopt;
  out.key = path.substr(folder.size());
  return out;
}

}  // namespace

WritePlan plan_writes(const BackendKeys& keys, const std::vector<etcd::KeyValue>& there, Goal goal,
                      SysTime now) {
  WritePlan out;
  const std::string* address = find(there, keys.key(kAddress));
  const bool others = address != nullptr && *address != keys.address;
  if (others) out.other_address = printable(*address);
  if (others && goal != Goal::Announced) return out;
  if (goal == Goal::Gone) {
    out.remove_folder = !there.empty();
  } else if (goal == Goal::Disabled) {
    if (address != nullptr) out.writes.push_back({keys.key(kDisabled), "true"});
  } else {
    if (address == nullptr || others) out.writes.push_back({keys.key(kAddress), keys.address});
    out.writes.push_back({keys.key(kLastSeen), last_seen_at(now)});
    if (goal == Goal::Announced && find(there, keys.key(kDisabled)) != nullptr)
      out.writes.push_back({keys.key(kDisabled), std::nullopt});
  }
  return out;
}

std::string last_seen_at(SysTime now) {
  return format_iso8601(now).substr(0, std::string_view("2026-01-31T12:00:00").size()) + "+00:00";
}

PublishedLeft read_published(const std::vector<etcd::KeyValue>& there,
                             const std::string& state_prefix, const std::string& name) {
  const std::string range = state_prefix + "/";
  std::map<std::string, Published> publishers;
  for (const etcd::KeyValue& kv : there) {
    if (!kv.key.starts_with(range)) continue;
    const auto subject = subject_of(std::string_view(kv.key).substr(range.size()), name);
    if (subject) note(publishers[std::string(subject->host)], subject->key, kv.value);
  }
  std::erase_if(publishers, [](const auto& entry) { return !entry.second.connections; });
  PublishedLeft out;
  for (const auto& [host, published] : publishers) {
    ++out.publishers;
    if (!published.disabled) ++out.still_choosing;
    if (!host.empty() || publishers.size() == 1) out.connections += *published.connections;
  }
  return out;
}

}  // namespace lb::lbctl
