// Follows one Merlion prefix through the life and death of etcd members: list, watch from the next
// revision, and again from the start whenever anything is odd. Keeps a MerlionView up to date.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include "base/event.h"
#include "etcd/cluster.h"
#include "etcd/mirror.h"
#include "etcd/retry.h"
#include "sources/clocks.h"
#include "sources/etcd_position.h"
#include "sources/merlion_view.h"

namespace lb {

class EtcdFollower {
 public:
  // What all followers of a source share; owned by the source, outlives them.
  struct Shared {
    asio::io_context& io;
    etcd::Cluster& cluster;
    const Clocks& clocks;
    std::function<void()> changed;  // the view, the connection or the next look
  };

  EtcdFollower(Shared shared, MerlionView view, std::optional<EtcdPosition> remembered);

  asio::awaitable<void> run();  // until cancelled
  // Asks etcd, whenever something would expire, whether it has anything to say about that; until
  // cancelled. Beside run().
  asio::awaitable<void> run_confirmations();
  void want_confirmation() { confirm_.notify(); }

  [[nodiscard]] MerlionView& view() { return view_; }
  [[nodiscard]] const MerlionView& view() const { return view_; }
  [[nodiscard]] bool has_synced() const { return has_synced_; }
  [[nodiscard]] bool watching() const { return watching_; }
  [[nodiscard]] const std::string& error() const { return error_; }  // "" while watching
  // etcd's own words for why it takes no writes, "" while it does.
  [[nodiscard]] const std::string& full() const { return full_; }
  // Keys that lbd does not need, whose values were too much to fetch.
  [[nodiscard]] std::size_t unread() const { return unread_; }
  // Every endpoint was asked in vain since the start, or since it was last watching.
  [[nodiscard]] bool none_answers() const { return failures_ >= endpoints().size(); }
  [[nodiscard]] const EtcdPosition& position() const { return position_; }
  [[nodiscard]] const std::string& endpoint() const { return endpoints()[retry_.endpoint()]; }

 private:
  [[nodiscard]] const std::vector<std::string>& endpoints() const {
    return shared_.cluster.access().endpoints;
  }
  [[nodiscard]] etcd::Api& api() const { return shared_.cluster.api(position_.api); }
  [[nodiscard]] bool trusts(const etcd::Header& header) const;

  // Success means: start again at once, there is something new to list.
  asio::awaitable<Result<>> follow(std::string endpoint);
  asio::awaitable<Result<bool>> choose_api(std::string endpoint);  // false: has no keys yet
  asio::awaitable<Result<std::vector<etcd::WatchRequest>>> sync(std::string endpoint);
  asio::awaitable<Result<>> read(etcd::Watch& watch, std::string endpoint, bool found);
  asio::awaitable<Result<>> probe(std::string endpoint);
  asio::awaitable<void> confirm(std::string endpoint);
  // In the silence between two batches; true: another API has the keys now.
  asio::awaitable<Result<bool>> check(std::string endpoint, bool found);
  asio::awaitable<Result<>> audit(std::string endpoint);
  void plan_audit(std::chrono::steady_clock::time_point began);
  void take(etcd::Batch batch);

  Shared shared_;
  MerlionView view_;
  EtcdPosition position_;
  std::optional<EtcdPosition> trusted_;  // before the list that is under way
  etcd::Mirror mirror_;
  etcd::Retry retry_;
  std::minstd_rand random_;
  std::chrono::steady_clock::time_point next_probe_{};
  std::chrono::steady_clock::time_point next_audit_{};
  std::chrono::steady_clock::duration audit_pause_{};
  std::size_t failures_ = 0;
  Event confirm_;
  std::string full_;
  std::size_t unread_ = 0;
  bool has_synced_ = false;
  bool watching_ = false;
  std::string error_;
};

}  // namespace lb
