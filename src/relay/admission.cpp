#include "relay/admission.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <tuple>

#include "model/address.h"

namespace lb::relay {

void Admission::Group::add(Id id, const std::string& address) {
  by_address[address].insert(id);
  ++size;
}

void Admission::Group::remove(Id id, const std::string& address) {
  const auto at = by_address.find(address);
  if (at == by_address.end() || at->second.erase(id) == 0) return;
  --size;
  if (at->second.empty()) by_address.erase(at);
}

const std::set<Admission::Id>& Admission::Group::largest() const {
  return std::max_element(by_address.begin(), by_address.end(),
                          [](const auto& a, const auto& b) {
                            const auto& [x, y] = std::tie(a.second, b.second);
                            if (x.size() != y.size()) return x.size() < y.size();
                            return *x.begin() > *y.begin();
                          })
      ->second;
}

std::optional<Admission::Id> Admission::arrive(Id id, const std::string& address) {
  places_[id] = {address, false};
  strangers_.add(id, address);
  std::optional<Id> out;
  const auto& same = strangers_.by_address.at(address);
  if (same.size() > limits_.strangers_per_address)
    out = *same.begin();
  else if (strangers_.size > limits_.strangers)
    out = *strangers_.largest().begin();
  if (out) leave(*out);
  return out;
}

std::optional<Admission::Id> Admission::greet(Id id) {
  const auto at = places_.find(id);
  if (at == places_.end() || at->second.greeted) return std::nullopt;
  Place& place = at->second;
  place.greeted = true;
  strangers_.remove(id, place.address);
  listeners_.add(id, place.address);
  if (listeners_.size <= limits_.listeners) return std::nullopt;
  const auto& largest = listeners_.largest();
  const bool fair = largest.size() > listeners_.by_address.at(place.address).size();
  const Id out = fair ? *largest.rbegin() : id;
  leave(out);
  return out;
}

void Admission::leave(Id id) {
  const auto at = places_.find(id);
  if (at == places_.end()) return;
  (at->second.greeted ? listeners_ : strangers_).remove(id, at->second.address);
  places_.erase(at);
}

std::string owner_of(const std::string& ip) {
  const auto address = IpAddress::parse(ip.substr(0, ip.find('%')));
  if (!address) return ip;
  if (address->is_v4()) return address->to_string();
  std::array<std::uint8_t, 16> network = address->bytes();
  std::fill(network.begin() + 8, network.end(), std::uint8_t{0});
  return IpAddress::v6(network).to_string() + "/64";
}

}  // namespace lb::relay
