// Follows one Merlion prefix through the life and death of etcd members: range, watch from the next
// revision, and again from the start whenever anything is odd. Keeps a MerlionView up to date.
#pragma once

#include <functional>
#include <random>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include "sources/clocks.h"
#include "sources/etcd_client.h"
#include "sources/etcd_retry.h"
#include "sources/merlion_view.h"

namespace lb {

class EtcdFollower {
 public:
  // What all followers of a source share; owned by the source, outlives them.
  struct Shared {
    asio::io_context& io;
    etcd::Client& client;
    const std::vector<std::string>& endpoints;
    const Clocks& clocks;
    std::function<void()> changed;  // the view, the connection or the next look
  };

  // `remembered`: the last that is known of the cluster; zeros when nothing is.
  EtcdFollower(Shared shared, MerlionView view, etcd::Header remembered)
      : shared_(std::move(shared)),
        view_(std::move(view)),
        position_(remembered),
        retry_(shared_.endpoints.size()),
        random_(std::random_device{}()) {}

  asio::awaitable<void> run();  // until cancelled

  [[nodiscard]] MerlionView& view() { return view_; }
  [[nodiscard]] bool has_synced() const { return has_synced_; }
  [[nodiscard]] bool watching() const { return watching_; }
  [[nodiscard]] const std::string& error() const { return error_; }  // "" while watching
  [[nodiscard]] etcd::Header position() const { return position_; }
  [[nodiscard]] const std::string& endpoint() const { return shared_.endpoints[retry_.endpoint()]; }

 private:
  // Success means: start again at once, there is something new to range.
  asio::awaitable<Result<>> follow(std::string endpoint);
  asio::awaitable<Result<std::vector<etcd::WatchRequest>>> sync(std::string endpoint);
  asio::awaitable<Result<>> await_created(etcd::Watch& watch,
                                          std::vector<etcd::WatchRequest> asked);
  Result<> take(const etcd::WatchMessage& message);

  Shared shared_;
  MerlionView view_;
  etcd::Header position_;
  etcd::Retry retry_;
  std::minstd_rand random_;
  bool has_synced_ = false;
  bool watching_ = false;
  std::string error_;
};

}  // namespace lb
