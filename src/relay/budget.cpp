#include "relay/budget.h"

#include <algorithm>

namespace lb::relay {

std::vector<Budget::Id> Budget::hold(Id holder, std::size_t size) {
  std::vector<Id> out;
  if (const auto known = parts_.find(holder); known != parts_.end()) {
    total_ -= known->second;
    parts_.erase(known);
  }
  if (size <= free_) return out;
  parts_.emplace(holder, size);
  total_ += size;
  while (total_ > most_) {
    const auto largest =
        std::max_element(parts_.begin(), parts_.end(),
                         [](const auto& a, const auto& b) { return a.second < b.second; });
    out.push_back(largest->first);
    total_ -= largest->second;
    parts_.erase(largest);
  }
  return out;
}

}  // namespace lb::relay
