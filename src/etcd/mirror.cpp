#include "etcd/mirror.h"

#include <utility>

namespace lb::etcd {

void Mirror::erase_below(const std::string& prefix) {
  const auto first = keys_.lower_bound(prefix);
  auto last = first;
  while (last != keys_.end() && last->first.starts_with(prefix)) ++last;
  keys_.erase(first, last);
}

void Mirror::replace(const std::string& prefix, const Listing& listing) {
  erase_below(prefix);
  audited_prefix_.clear();
  for (const KeyValue& kv : listing.kvs) keys_[kv.key] = {kv.mod_revision, kv.lease};
}

std::vector<Event> Mirror::apply(const Event& event) {
  std::vector<Event> out;
  if (!event.is_delete) {
    keys_[event.kv.key] = {event.kv.mod_revision, event.kv.lease};
    out.push_back(event);
  } else if (!event.is_directory) {
    keys_.erase(event.kv.key);
    out.push_back(event);
  } else {
    const std::string below = event.kv.key + "/";
    for (auto it = keys_.lower_bound(below); it != keys_.end() && it->first.starts_with(below);) {
      Event one = event;
      one.is_directory = false;
      one.kv.key = it->first;
      out.push_back(std::move(one));
      it = keys_.erase(it);
    }
  }
  if (auditing())
    for (const Event& one : out) touched_.insert(one.kv.key);
  return out;
}

void Mirror::audit_from(Listing listing, std::string prefix) {
  audited_ = std::move(listing);
  audited_prefix_ = std::move(prefix);
  touched_.clear();
}

std::string Mirror::end_audit() {
  const Listing listing = std::exchange(audited_, {});
  const std::string prefix = std::exchange(audited_prefix_, {});
  Keys listed;
  for (const KeyValue& kv : listing.kvs) {
    listed[kv.key] = {kv.mod_revision, 0};
    const auto known = keys_.find(kv.key);
    const bool told = known != keys_.end() && known->second.revision >= kv.mod_revision;
    if (!told && !touched_.contains(kv.key)) return kv.key;
  }
  for (auto it = keys_.lower_bound(prefix); it != keys_.end() && it->first.starts_with(prefix); ++it)
    if (!listed.contains(it->first) && it->second.revision <= listing.header.revision &&
        !touched_.contains(it->first))
      return it->first;
  return {};
}

}  // namespace lb::etcd
