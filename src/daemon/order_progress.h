// How far the fleet's drains are here: what a listener reports to its updaters, and an updater that balances
// as well counts with theirs.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <boost/asio/awaitable.hpp>

#include "base/result.h"
#include "daemon/engine.h"
#include "model/desired.h"
#include "relay/fleet.h"
#include "relay/message.h"
#include "state/drain.h"

namespace lb {

namespace asio = boost::asio;

// An order as the engine takes it.
[[nodiscard]] Result<Drain> drain_of(const FleetOrder& order);
// The backends that `drain` means now, whatever else covers them.
[[nodiscard]] std::vector<std::pair<ServiceKey, const Backend*>> covered_by(
    const Drain& drain, const DesiredState& state);

class OrderProgress {
 public:
  using Item = relay::OrderReport::Item;

  // Outlives it.
  explicit OrderProgress(const FleetOrders& orders) : orders_(orders) {}

  // Sorted ids. Their drains are in the kernel, and a grace period is over: no new connection goes there.
  void add_programmed(const std::vector<std::string>& ids);
  // Those that are not among `ids` are in force no more.
  void keep_programmed(const std::vector<std::string>& ids);

  // Of one order that is known, at once.
  [[nodiscard]] Item of(Engine& engine, const FleetOrders::Known& known) const;
  // Of all drains that are known or refused, sorted by id; the engine has those in force among its own.
  // In slices: there may be 10,000 of them. `engine` outlives the coroutine.
  [[nodiscard]] asio::awaitable<std::vector<Item>> of_all(Engine& engine) const;

 private:
  [[nodiscard]] Item first_of(const FleetOrders::Known& known) const;
  [[nodiscard]] std::vector<Item> without_counts() const;

  const FleetOrders& orders_;
  std::vector<std::string> programmed_;  // sorted
};

// Nothing more is to come of it: a fleet without others than these need not be looked at often.
[[nodiscard]] bool is_done(const relay::OrderReport::Item& item);

}  // namespace lb
