// The listener's side: the state comes from one updater, chosen at random; with every other one there
// is a control connection.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>

#include "relay/connection.h"
#include "relay/fleet.h"
#include "relay/message.h"
#include "sources/clocks.h"
#include "sources/source.h"

namespace lb {

struct RelaySourceConfig {
  std::vector<HostPort> updaters;
  relay::TlsFiles tls;
  bool require_tls = false;
  IpAddress publish = IpAddress::v4(0x7f000001);
  // An older state than the one in force is taken only after the newer updater has been gone so long.
  std::chrono::milliseconds confirm{10'000};
  bool observes = false;  // programs nothing (a logger): no drain of the fleet waits for it

  bool operator==(const RelaySourceConfig&) const = default;
};

// One updater, for `lbctl sources` and the logger.
struct UpdaterView {
  std::string updater;  // as configured
  bool connected = false;
  bool feeds = false;
  bool ok = false;  // its sources are well
  std::string error;
};

class RelaySource final : public Source {
 public:
  // `orders` is shared with the daemon and outlives this; `orders_changed` is called when one was
  // adopted from an updater.
  RelaySource(asio::io_context& io, RelaySourceConfig config, std::optional<Snapshot> saved,
              FleetOrders& orders, std::function<void()> orders_changed, std::string node,
              std::string version, Clocks clocks);
  ~RelaySource() override;

  asio::awaitable<Result<Snapshot>> next() override;
  [[nodiscard]] SourceStatus status() const override;
  // Acknowledges to the updater.
  void applied() override;

  // Counts of all services, told with the next ping if they have changed.
  void set_counts(std::vector<relay::Counts::Item> counts);
  // Told at once if they have changed.
  void set_order_report(std::vector<relay::OrderReport::Item> items);
  // Tells the updaters of orders that came by another way.
  void orders_changed();
  [[nodiscard]] std::vector<UpdaterView> updaters() const;  // in the order of the configuration

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace lb
