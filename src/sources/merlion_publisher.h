// Keeps the states of one Merlion prefix in etcd, under a lease, so that they go when lbd does.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include "base/event.h"
#include "etcd/cluster.h"
#include "etcd/retry.h"
#include "sources/clocks.h"
#include "sources/merlion_publication.h"
#include "sources/merlion_state.h"

namespace lb {

class MerlionPublisher {
 public:
  using SteadyTime = std::chrono::steady_clock::time_point;

  struct Wanted {
    // Without trailing slashes. Empty: nothing is published, and what was is withdrawn.
    std::string prefix;
    etcd::ApiVersion api = etcd::ApiVersion::V3;
    MerlionState state;
  };
  struct Etcd {
    std::function<etcd::Api&(etcd::ApiVersion)> api;
    std::vector<std::string> endpoints;
    std::chrono::seconds ttl{60};  // for so long the keys outlive lbd
  };

  // `wanted` is asked from the loop whenever something has to be looked at; `host` is the name under
  // which this lbd writes.
  MerlionPublisher(asio::io_context& io, etcd::Cluster& cluster, std::string host,
                   const Clocks& clocks, std::function<Wanted()> wanted);
  MerlionPublisher(asio::io_context& io, Etcd etcd, std::string host, const Clocks& clocks,
                   std::function<Wanted()> wanted);

  asio::awaitable<void> run();  // until cancelled
  // Something may be different: it is looked at soon, however often this is called.
  void changed() { changed_.notify(); }
  [[nodiscard]] const std::string& error() const { return error_; }  // "" when all is written
  [[nodiscard]] bool found_full() const { return found_full_; }      // the error: etcd has no space

  // The parts of run(): one look, not before the one time, at the latest at the other.
  asio::awaitable<void> look();
  [[nodiscard]] SteadyTime not_before() const { return not_before_; }
  [[nodiscard]] SteadyTime due() const { return due_; }
  [[nodiscard]] bool holds_claim() const { return publication_ && publication_->holds_claim(); }

 private:
  asio::awaitable<Result<>> step(std::string endpoint);
  asio::awaitable<Result<>> leave(std::string endpoint);
  void plan(const Result<>& result);
  double random();
  [[nodiscard]] SteadyTime on_loop(SteadyTime time) const;

  asio::io_context& io_;
  Etcd etcd_;
  std::string host_;
  const Clocks& clocks_;
  std::function<Wanted()> wanted_;
  Event changed_;
  std::string error_;
  bool found_full_ = false;
  std::unique_ptr<MerlionPublication> publication_;  // null: nothing is written anywhere
  etcd::Retry retry_;
  std::minstd_rand random_;
  std::size_t failed_withdrawals_ = 0;
  SteadyTime::duration cost_{};  // of looking without writing
  SteadyTime not_before_{};
  SteadyTime due_{};
};

}  // namespace lb
