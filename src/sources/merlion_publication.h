// Writes the states of one Merlion prefix into one of etcd's stores: below this host's own folder, and
// below Merlion's flat one while this lbd holds the claim to it. All under one lease. Whom to ask,
// when to try again and what to write is the publisher's part. Layout: docs/OPERATIONS.md.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>

#include "etcd/api.h"
#include "sources/clocks.h"
#include "sources/merlion_state.h"

namespace lb {

namespace asio = boost::asio;

class MerlionPublication {
 public:
  using SteadyTime = std::chrono::steady_clock::time_point;

  struct Where {
    std::string prefix;  // without trailing slashes
    std::string host;
    std::chrono::seconds ttl{60};
  };
  // `random` gives numbers in [0, 1).
  MerlionPublication(etcd::Api& api, Where where, const Clocks& clocks,
                     std::function<double()> random);

  [[nodiscard]] const std::string& prefix() const { return where_.prefix; }
  [[nodiscard]] etcd::ApiVersion version() const { return api_.version(); }
  [[nodiscard]] bool holds_claim() const { return holds_claim_; }

  // What is to be in etcd. Nothing is asked yet.
  void want(MerlionState state);
  // Brings etcd closer to that, in some hundred writes at most; due() says when to go on. ENOENT: the
  // lease was lost, the next call begins anew.
  asio::awaitable<Result<>> advance(std::string endpoint);
  [[nodiscard]] SteadyTime due() const;
  [[nodiscard]] bool unfinished() const;
  [[nodiscard]] std::size_t last_writes() const { return last_writes_; }  // of the last advance()
  // Removes all that was written.
  asio::awaitable<Result<>> withdraw(std::string endpoint);

 private:
  using Job = std::function<asio::awaitable<Result<>>()>;
  struct Jobs {
    std::vector<Job> list;
    std::size_t next = 0;
    Result<> result;
  };
  static asio::awaitable<void> work(Jobs& jobs);
  static asio::awaitable<void> work(Jobs& jobs, std::size_t workers);
  static asio::awaitable<Result<>> run(std::vector<Job> list);

  asio::awaitable<Result<>> begin(std::string endpoint);
  asio::awaitable<Result<>> keep_alive(std::string endpoint);
  asio::awaitable<Result<>> claim(std::string endpoint);
  asio::awaitable<Result<std::optional<etcd::KeyValue>>> read_claim(std::string endpoint);
  asio::awaitable<Result<>> audit(std::string endpoint);
  asio::awaitable<Result<>> load(MerlionFolder& folder, std::string endpoint);
  asio::awaitable<Result<>> write(std::string endpoint);
  asio::awaitable<Result<>> perform(MerlionFolder& folder, MerlionWrite write,
                                    std::string endpoint);
  void forget();
  [[nodiscard]] std::string claim_key() const { return where_.prefix + "/publisher"; }
  [[nodiscard]] std::int64_t lease_of_keys() const;
  [[nodiscard]] std::vector<MerlionFolder*> folders();

  etcd::Api& api_;
  Where where_;
  const Clocks& clocks_;
  std::function<double()> random_;
  MerlionPacing pacing_;
  MerlionFolder own_;
  MerlionFolder flat_;  // empty unless holds_claim_
  std::optional<etcd::Lease> lease_;
  SteadyTime lease_ends_{};  // at the earliest
  SteadyTime next_keep_alive_{};
  SteadyTime next_claim_{};
  SteadyTime next_audit_{};
  bool holds_claim_ = false;
  bool loaded_ = false;  // own_ knows what is there
  // The claim may be there, made by this host: before a restart, or by a request whose answer was lost.
  bool may_have_claimed_ = true;
  std::size_t last_writes_ = 0;
};

}  // namespace lb
