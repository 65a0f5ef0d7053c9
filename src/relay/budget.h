// Something that there is only so much of for all connections, memory above all. Who has the largest part
// gives it up when it becomes too much: many small ones lose nothing to one who takes all. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

namespace lb::relay {

class Budget {
 public:
  using Id = std::uint64_t;

  // A part of at most `free` counts for nothing.
  Budget(std::size_t most, std::size_t free) : most_(most), free_(free) {}

  // `holder` has so much now. Who loses what they have, and have nothing from now on; `holder` may be
  // among them.
  [[nodiscard]] std::vector<Id> hold(Id holder, std::size_t size);
  void release(Id holder) { (void)hold(holder, 0); }
  [[nodiscard]] std::size_t total() const { return total_; }

 private:
  std::size_t most_;
  std::size_t free_;
  std::size_t total_ = 0;
  std::map<Id, std::size_t> parts_;  // above free_
};

}  // namespace lb::relay
