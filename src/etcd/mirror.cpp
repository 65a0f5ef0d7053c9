#include "etcd/mirror.h"

#include <functional>
#include <utility>

namespace lb::etcd {

Mirror::Known Mirror::known(const KeyValue& kv) {
  return {kv.mod_revision, kv.lease, std::hash<std::string>{}(kv.value)};
}

void Mirror::erase_below(const std::string& prefix) {
  const auto first = keys_.lower_bound(prefix);
  auto last = first;
  while (last != keys_.end() && last->first.starts_with(prefix)) ++last;
  keys_.erase(first, last);
}

void Mirror::replace(const std::string& prefix, const Listing& listing) {
  erase_below(prefix);
  audited_prefix_.clear();
  for (const KeyValue& kv : listing.kvs) keys_[kv.key] = known(kv);
}

std::vector<Event> Mirror::apply(Event event) {
  std::vector<Event> out;
  if (!event.is_delete) {
    keys_[event.kv.key] = known(event.kv);
    out.push_back(std::move(event));
  } else if (!event.is_directory) {
    keys_.erase(event.kv.key);
    out.push_back(std::move(event));
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
    listed[kv.key] = known(kv);
    const auto told_of = keys_.find(kv.key);
    // v2 moves the revision of a key whose TTL is refreshed, and rightly tells nobody.
    const bool refreshed =
        told_of != keys_.end() && kv.lease != 0 && told_of->second.value == listed[kv.key].value;
    const bool told = told_of != keys_.end() && told_of->second.revision >= kv.mod_revision;
    if (!told && !refreshed && !touched_.contains(kv.key)) return kv.key;
  }
  for (auto it = keys_.lower_bound(prefix); it != keys_.end() && it->first.starts_with(prefix);
       ++it)
    if (!listed.contains(it->first) && it->second.revision <= listing.header.revision &&
        !touched_.contains(it->first))
      return it->first;
  return {};
}

}  // namespace lb::etcd
