// The fleet as this lbd sees it: the listeners that it serves as an updater, the updaters that it
// listens to, and the drains that hold for all. Stands between the engine and relay/.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>

#include "api/control.h"
#include "daemon/config.h"
#include "daemon/engine.h"
#include "daemon/order_progress.h"
#include "daemon/saved_problems.h"
#include "relay/fleet.h"
#include "relay/relay_source.h"
#include "relay/server.h"

namespace lb {

class Fleet {
 public:
  // Loads the orders; a file that cannot be used is noted in `problems`. `changed` makes the loop take another
  // turn soon.
  [[nodiscard]] static std::unique_ptr<Fleet> open(const std::string& state_dir, std::string node,
                                                   std::function<void()> changed,
                                                   SavedProblems& problems);

  // Whose orders are taken, as the configuration says it; again after a reload.
  void set_order_keys(const Config& config);
  // Becomes an updater. Errors name the address or the file. Without a key to sign with it serves all the
  // same, and says so in problems().
  [[nodiscard]] Result<> serve(asio::io_context& io, relay::ServerConfig config,
                               std::string version);
  void stop();
  // Whether orders hold for this lbd's own connections: an updater alone has none.
  void set_applies(bool applies);

  // Before a turn of the engine: what has to be drained; true: that is another list, which may be long.
  // After it: what has come of that, and the state for the listeners; true: look() has something to tell.
  [[nodiscard]] bool before_turn(Engine& engine);
  [[nodiscard]] bool after_turn(Engine& engine);
  // Now and then: counts, how far the drains are, what has ended everywhere.
  asio::awaitable<void> look(Engine& engine);
  // However often after_turn() asks for it: a look is as dear as there are orders and services.
  static constexpr std::chrono::milliseconds kPause{100};
  // How soon look() is worth while.
  [[nodiscard]] std::chrono::milliseconds pace() const;

  // An order came from outside.
  void orders_changed();
  [[nodiscard]] FleetOrders& orders() { return orders_; }
  [[nodiscard]] const std::string& node() const { return node_; }

  // --- for operators. ENOTSUP: this lbd serves no listeners.
  [[nodiscard]] Result<std::vector<relay::ListenerView>> listeners() const;
  [[nodiscard]] Result<relay::FleetProgress> drain(Engine& engine, const DrainTarget& what);
  [[nodiscard]] Result<relay::FleetProgress> undrain(Engine& engine, const DrainTarget& what);
  [[nodiscard]] Result<relay::FleetProgress> progress(Engine& engine,
                                                      const DrainTarget& what) const;
  [[nodiscard]] std::vector<OrderKeys::View> order_keys() const { return orders_.keys().all(); }
  // What OrderKeys has of the same name. The key that it is about.
  [[nodiscard]] Result<std::string> trust(const std::string& what, bool forget);
  [[nodiscard]] std::vector<std::string> warnings() const;
  // What keeps the fleet's drains from being given or taken here.
  [[nodiscard]] std::vector<std::string> problems() const;
  // What listeners are given now; sequence 0: nothing yet.
  [[nodiscard]] relay::Position server_position() const {
    return server_ ? server_->position() : relay::Position{};
  }

 private:
  Fleet(FleetOrders orders, std::string state_dir, std::string node, std::function<void()> changed)
      : orders_(std::move(orders)),
        state_dir_(std::move(state_dir)),
        node_(std::move(node)),
        changed_(std::move(changed)) {}

  [[nodiscard]] Result<> check_serves() const;
  [[nodiscard]] Result<> give(FleetOrder order);
  [[nodiscard]] bool vouched_for(const FleetOrder& order) const;
  [[nodiscard]] std::string key_file() const { return state_dir_ + "/order.key"; }
  void use_signer(Result<OrderSigner> signer);
  asio::awaitable<void> look_for_signer();
  void keep_orders(SysTime now);
  [[nodiscard]] relay::FleetProgress progress_of(Engine& engine, const FleetOrder& order) const;
  [[nodiscard]] std::vector<Drain> drains() const;
  void settle(Engine& engine, const std::vector<Drain>& drains);
  void end(const std::set<std::string>& ids, SysTime now);
  void publish(const Engine& engine);
  asio::awaitable<void> tell_reports(Engine& engine);
  asio::awaitable<void> tell_counts(Engine& engine);
  void end_where_all_have_ended();

  FleetOrders orders_;
  std::string state_dir_, node_;
  std::string no_signer_;  // why this updater has no key
  std::function<void()> changed_;
  bool applies_ = true;
  std::unique_ptr<relay::Server> server_;
  SteadyTime served_since_{};
  std::vector<ServicePtr> published_;
  bool has_published_ = false;
  std::uint64_t seen_version_ = 0;
  bool started_ = false;
  std::vector<Drain> in_force_;  // as the engine has them
  OrderProgress progress_{orders_};
  bool unsettled_ = false;  // the last grace period could not be had
  bool applying_ = false;   // what is in force is not in the kernel yet
  std::vector<relay::OrderReport::Item> reported_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// The relay sources among them.
[[nodiscard]] std::vector<RelaySource*> relay_sources(const SourceSlots& slots);

}  // namespace lb
