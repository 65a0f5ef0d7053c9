#include "relay/departed.h"

#include <algorithm>

#include "base/limits.h"
#include "relay/admission.h"

namespace lb::relay {

void Departed::add(ListenerView view, const std::string& host, TimePoint now) {
  forget(now);
  returned(view.node, host);
  view.counts = {};
  std::erase_if(view.orders, [](const auto& item) { return item.connections == 0; });
  if (reports_ + view.orders.size() > limits::kGoneReports) view.orders = {};
  view.orders.shrink_to_fit();
  const Number number = next_++;
  const std::string owner = owner_of(host);
  reports_ += view.orders.size();
  by_who_[{view.node, host}] = number;
  auto& same = by_owner_[owner];
  same.insert(number);
  const Who who{view.node, host};
  gone_.emplace(number, Gone{std::move(view), who, owner, now});
  if (same.size() > limits::kGonePerAddress) return remove(*same.begin());
  if (gone_.size() <= limits::kGone) return;
  const auto most = std::max_element(
      by_owner_.begin(), by_owner_.end(),
      [](const auto& a, const auto& b) { return a.second.size() < b.second.size(); });
  remove(*most->second.begin());
}

void Departed::returned(const std::string& node, const std::string& host) {
  if (const auto known = by_who_.find({node, host}); known != by_who_.end()) remove(known->second);
}

void Departed::forget(TimePoint now) {
  while (!gone_.empty() && now - gone_.begin()->second.since > kRemembered)
    remove(gone_.begin()->first);
}

void Departed::remove(Number number) {
  const auto at = gone_.find(number);
  const Gone& gone = at->second;
  reports_ -= gone.view.orders.size();
  by_who_.erase(gone.who);
  const auto same = by_owner_.find(gone.owner);
  same->second.erase(number);
  if (same->second.empty()) by_owner_.erase(same);
  gone_.erase(at);
}

}  // namespace lb::relay
