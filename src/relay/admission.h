// Which connections an updater keeps when there are too many. Of those that have said no hello the oldest
// goes, of the address that has most of them: a listener says hello at once, and silence is free for
// anyone. Of listeners the newest goes, of an address that has more than the one that comes. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>

namespace lb::relay {

class Admission {
 public:
  using Id = std::uint64_t;  // ascending: the order in which they came

  struct Limits {
    std::size_t strangers;
    std::size_t strangers_per_address;
    std::size_t listeners;
  };
  explicit Admission(Limits limits) : limits_(limits) {}

  // A new connection. Which other one has to go.
  [[nodiscard]] std::optional<Id> arrive(Id id, const std::string& address);
  // It has said hello. Which one has to go, maybe itself.
  [[nodiscard]] std::optional<Id> greet(Id id);
  void leave(Id id);

  [[nodiscard]] std::size_t strangers() const { return strangers_.size; }
  [[nodiscard]] std::size_t listeners() const { return listeners_.size; }

 private:
  struct Group {
    std::map<std::string, std::set<Id>> by_address;
    std::size_t size = 0;

    void add(Id id, const std::string& address);
    void remove(Id id, const std::string& address);
    [[nodiscard]] const std::set<Id>& largest() const;  // with the oldest, of equal ones
  };
  struct Place {
    std::string address;
    bool greeted = false;
  };

  Limits limits_;
  Group strangers_, listeners_;
  std::map<Id, Place> places_;
};

// Addresses of one owner are one: of IPv6 the network of 64 bits. `ip` as text.
[[nodiscard]] std::string owner_of(const std::string& ip);

}  // namespace lb::relay
