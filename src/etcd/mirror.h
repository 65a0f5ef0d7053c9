// Which keys there are by what a watch has told so far. v2 says of a directory only that it has gone,
// and a watch that lost an event does not say so: both need to know what was there. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "etcd/types.h"

namespace lb::etcd {

class Mirror {
 public:
  // What is below `prefix` is exactly this. Ends an audit.
  void replace(const std::string& prefix, const Listing& listing);
  // Notes the event, and returns it as events of single keys: one, or of a directory as many as it had.
  std::vector<Event> apply(Event event);

  // A listing taken beside the watch at some moment; apply() notes from now on what comes after it.
  void audit_from(Listing listing, std::string prefix);
  // To be called when the watch has had time to deliver what the listing shows. A key that the watch
  // should have told of and has not, or "".
  [[nodiscard]] std::string end_audit();
  [[nodiscard]] bool auditing() const { return !audited_prefix_.empty(); }

 private:
  struct Known {
    std::int64_t revision = 0;
    std::int64_t lease = 0;
    std::size_t value = 0;  // hashed
  };
  using Keys = std::map<std::string, Known>;

  static Known known(const KeyValue& kv);
  void erase_below(const std::string& prefix);

  Keys keys_;
  Listing audited_;
  std::string audited_prefix_;
  std::set<std::string> touched_;  // since audit_from()
};

}  // namespace lb::etcd
