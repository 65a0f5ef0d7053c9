// One or more lbds that publish into a FakeEtcd, at a time that stands still until a test lets it pass.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/spawn.h"
#include "sources/merlion_publisher.h"
#include "unit/sources/fake_etcd.h"

namespace lb {

using namespace std::chrono_literals;
using etcd::ApiVersion;
using Values = std::map<std::string, std::string>;
using Names = std::vector<std::string>;

inline MerlionBackendState healthy() {
  MerlionBackendState out;
  out.last_seen = SysTime(1s);
  out.weight = 100;
  return out;
}

inline MerlionBackendState exited() {
  MerlionBackendState out = healthy();
  out.unavailable = true;
  out.exited_at = SysTime(2s);
  out.exit_reason = "refused";
  return out;
}

inline const Values kHealthy{{"last-seen-at", "1000"}, {"unavailable", "false"}, {"weight", "100"}};

class MerlionPublisherTest : public testing::TestWithParam<ApiVersion> {
 protected:
  // One lbd. Its time is the time of all.
  struct Lbd {
    MerlionPublisher::Wanted wanted;
    std::unique_ptr<MerlionPublisher> publisher;
    MerlionPublisher* operator->() const { return publisher.get(); }
  };

  std::unique_ptr<Lbd> lbd(const std::string& host, Names endpoints = {"e1"}) {
    auto out = std::make_unique<Lbd>();
    out->wanted = {"/s", GetParam(), {{"a", healthy()}}};
    MerlionPublisher::Etcd access;
    access.api = [this](ApiVersion v) -> etcd::Api& { return v == ApiVersion::V2 ? v2_ : v3_; };
    access.endpoints = std::move(endpoints);
    out->publisher = std::make_unique<MerlionPublisher>(io_, access, host, clocks_,
                                                        [lbd = out.get()] { return lbd->wanted; });
    return out;
  }
  void look(const Lbd& lbd) {
    bool done = false;
    spawn(io_, "look", [&]() -> asio::awaitable<void> {
      co_await lbd->look();
      done = true;
    });
    io_.restart();
    io_.run();
    ASSERT_TRUE(done);
  }
  // All looks that are due within this time, of all lbds in turn.
  void pass(std::chrono::milliseconds time, const std::vector<const Lbd*>& lbds) {
    const auto end = now_ + time;
    for (int looks = 0; looks < 100'000; ++looks) {
      const auto next = *std::min_element(
          lbds.begin(), lbds.end(), [](auto* a, auto* b) { return (*a)->due() < (*b)->due(); });
      if ((*next)->due() > end) {
        now_ = end;
        return;
      }
      now_ = std::max(now_, (*next)->due());
      look(*next);
    }
    FAIL() << "it never rests";
  }
  // Until nothing is left to be done at this moment.
  void settle(const Lbd& lbd) {
    look(lbd);
    pass(0ms, {&lbd});
  }
  Values own(const std::string& host, const std::string& name = "a") const {
    return store_.values("/s/hosts/" + host + "/backends/" + name + "/");
  }
  Values flat(const std::string& name = "a") const {
    return store_.values("/s/backends/" + name + "/");
  }
  std::string holder() const { return store_.values("/s/publisher")[""]; }
  void lose_all_leases() {
    store_.leases.clear();
    for (auto& [key, entry] : store_.entries) entry.ends = now_;
    store_.expire(now_);
  }

  std::chrono::steady_clock::time_point now_{1'000h};
  Clocks clocks_{[] { return SysTime(5s); }, [this] { return now_; }};
  test::FakeStore store_;
  test::FakeEtcd v3_{store_, ApiVersion::V3, now_};
  test::FakeEtcd v2_{store_, ApiVersion::V2, now_};
  asio::io_context io_{1};
};

}  // namespace lb
