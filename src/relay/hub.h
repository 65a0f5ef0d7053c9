// What the sessions of one server share.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>

#include "relay/feed.h"
#include "relay/fleet.h"
#include "relay/line.h"
#include "relay/server.h"

namespace lb::relay {

class Session;

// Sessions hold it; once `stopped`, nothing in it that belongs to somebody else is touched.
class Hub {
 public:
  Hub(asio::io_context& context, FleetOrders& known, std::string host, std::string lbd,
      std::function<void()> on_change);

  // Adopts, and tells everybody. Whatever cannot be saved is logged, and is not in force here.
  void adopt(const std::vector<FleetOrder>& adopted);
  // Looks for orders that are new in `orders`, and wakes the sessions.
  void orders_changed();
  // Null when there is none above `serial`, which becomes the newest.
  [[nodiscard]] Line orders_after(std::uint64_t& serial);
  [[nodiscard]] const std::vector<FleetOrder>& all_orders(std::uint64_t& serial) const;
  [[nodiscard]] Line ping();  // encoded once per change
  void marks_changed() { ping_.reset(); }

  void wake_all();
  // Logged once per host and reason, until it says a good hello.
  void complain(const std::string& host, const std::string& reason);
  void welcome(const std::string& host) { complaints_.erase(host); }

  // Remembers who has gone, for 10 minutes.
  void join(const std::shared_ptr<Session>& session);
  void leave(const std::shared_ptr<Session>& session);
  [[nodiscard]] std::vector<ListenerView> views() const;

  asio::io_context& io;
  std::string node;
  std::string version;
  StateFeed feed;
  std::set<std::shared_ptr<Session>> sessions;  // from accept on
  std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();
  bool stopped = false;

 private:
  struct Gone {
    ListenerView view;
    std::chrono::steady_clock::time_point since;
  };
  using Who = std::pair<std::string, std::string>;  // node, host

  FleetOrders& orders_;
  std::function<void()> changed_;
  std::vector<FleetOrder> told_;        // what orders_changed() has found so far
  std::vector<std::uint64_t> serials_;  // when, beside it
  std::uint64_t serial_ = 0;
  std::map<std::uint64_t, Line> order_lines_;  // by the serial that they follow; of serial_
  Line ping_;
  std::map<std::string, std::set<std::string>> complaints_;
  std::map<Who, Gone> gone_;
};

// How far `order` is, by what listeners have reported. `settled`: those that exist have had the time to
// come.
[[nodiscard]] FleetProgress progress_of(const FleetOrder& order,
                                        const std::vector<ListenerView>& listeners, bool settled);

// "10.0.0.7" of "10.0.0.7:41234"
[[nodiscard]] std::string host_of(const std::string& peer);

}  // namespace lb::relay
