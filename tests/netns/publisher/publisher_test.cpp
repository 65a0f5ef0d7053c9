// Several lbds that publish their states into one real etcd, by both APIs. Their lease is short, so that
// one can be seen to run out.
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <string>

#include <fmt/format.h>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>

#include "sources/merlion_publisher.h"
#include "support/etcd_cluster.h"
#include "support/etcd_keys.h"
#include "support/sandbox.h"

namespace lb {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;
using test::EtcdStore;
using Values = std::map<std::string, std::string>;

constexpr auto kTtl = 3s;

MerlionBackendState healthy() {
  MerlionBackendState out;
  out.last_seen = SysTime(1s);
  out.weight = 100;
  return out;
}

MerlionBackendState exited() {
  MerlionBackendState out = healthy();
  out.unavailable = true;
  out.exited_at = SysTime(2s);
  out.exit_reason = "Cannot connect to localhost/127.0.0.1:80";
  return out;
}

const Values kHealthy{{"last-seen-at", "1000"}, {"unavailable", "false"}, {"weight", "100"}};
const Values kExited{{"last-seen-at", "1000"},
                     {"unavailable", "true"},
                     {"exited-at", "2000"},
                     {"exit-reason", "Cannot connect to localhost/127.0.0.1:80"},
                     {"weight", "100"}};

class PublisherNetns : public testing::TestWithParam<EtcdStore> {
 protected:
  // One lbd, which ends as with SIGKILL: it takes nothing back.
  struct Lbd {
    MerlionPublisher::Wanted wanted;
    std::unique_ptr<MerlionPublisher> publisher;
    asio::cancellation_signal cancel;
    bool runs = true;
  };

  void SetUp() override {
    for (const std::string& why : {test::Sandbox::obstacle(), test::EtcdCluster::obstacle()})
      if (!why.empty()) GTEST_SKIP() << why;
    sandbox_ = std::make_unique<test::Sandbox>();
    test::bring_up_loopback();
    etcd_ = std::make_unique<test::EtcdCluster>(sandbox_->folder());
    keys_ = std::make_unique<test::EtcdKeys>(*etcd_, GetParam());
    etcd::Access access;
    access.endpoints = etcd_->urls();
    cluster_ = std::make_unique<etcd::Cluster>(io_, access);
  }
  void TearDown() override {
    while (!lbds_.empty()) kill(lbds_.begin()->first);
  }

  [[nodiscard]] static etcd::ApiVersion version() {
    return GetParam() == EtcdStore::V2 ? etcd::ApiVersion::V2 : etcd::ApiVersion::V3;
  }
  Lbd& start(const std::string& host, MerlionState state = {{"a", healthy()}}) {
    auto& lbd = *(lbds_[host] = std::make_unique<Lbd>());
    lbd.wanted = {"/state", version(), std::move(state)};
    MerlionPublisher::Etcd access;
    access.api = [this](etcd::ApiVersion v) -> etcd::Api& { return cluster_->api(v); };
    access.endpoints = etcd_->urls();
    access.ttl = kTtl;
    lbd.publisher = std::make_unique<MerlionPublisher>(io_, access, host, clocks_,
                                                       [&lbd] { return lbd.wanted; });
    asio::co_spawn(io_, lbd.publisher->run(),
                   asio::bind_cancellation_slot(
                       lbd.cancel.slot(), [&lbd](const std::exception_ptr&) { lbd.runs = false; }));
    return lbd;
  }
  void kill(const std::string& host) {
    Lbd& lbd = *lbds_.at(host);
    lbd.cancel.emit(asio::cancellation_type::terminal);
    while (lbd.runs) io_.run_one();
    lbds_.erase(host);
  }

  [[nodiscard]] Values below(const std::string& folder) {
    Values out;
    for (const auto& [key, value] : keys_->list(folder)) out[key.substr(folder.size() + 1)] = value;
    return out;
  }
  Values flat() { return below("/state/backends/a"); }
  Values own(const std::string& host) { return below("/state/hosts/" + host + "/backends/a"); }
  std::string holder() { return keys_->get("/state/publisher").value_or(""); }

  // The daemons go on meanwhile.
  bool becomes(const std::function<bool()>& condition, std::chrono::seconds patience = 30s) {
    const auto end = steady_clock::now() + patience;
    while (!condition()) {
      if (steady_clock::now() > end) return false;
      io_.restart();
      io_.run_for(20ms);
    }
    return true;
  }

  asio::io_context io_{1};
  Clocks clocks_;
  std::unique_ptr<test::Sandbox> sandbox_;
  std::unique_ptr<test::EtcdCluster> etcd_;
  std::unique_ptr<test::EtcdKeys> keys_;
  std::unique_ptr<etcd::Cluster> cluster_;
  std::map<std::string, std::unique_ptr<Lbd>> lbds_;
};

INSTANTIATE_TEST_SUITE_P(Store, PublisherNetns, testing::Values(EtcdStore::V3, EtcdStore::V2),
                         [](const auto& param) { return to_string(param.param); });

TEST_P(PublisherNetns, OneOfTwoWritesMerlionsKeysUntilItDies) {
  start("h1");
  ASSERT_TRUE(becomes([&] { return holder() == "h1" && flat() == kHealthy; }));
  Lbd& two = start("h2", {{"a", exited()}});
  ASSERT_TRUE(becomes([&] { return own("h2") == kExited && own("h1") == kHealthy; }));
  // For longer than a lease lives: it is kept, and the claim with it.
  const auto end = steady_clock::now() + 2 * kTtl;
  ASSERT_TRUE(becomes([&] { return steady_clock::now() > end || flat() != kHealthy; }));
  EXPECT_EQ(flat(), kHealthy);
  EXPECT_EQ(own("h1"), kHealthy);
  EXPECT_EQ(holder(), "h1");
  EXPECT_FALSE(two.publisher->holds_claim());

  kill("h1");
  ASSERT_TRUE(becomes([&] { return holder() == "h2" && flat() == kExited; }));
  ASSERT_TRUE(becomes([&] { return own("h1").empty(); }));
  EXPECT_EQ(own("h2"), kExited);
  EXPECT_TRUE(two.publisher->holds_claim());
  EXPECT_EQ(two.publisher->error(), "");
}

TEST_P(PublisherNetns, ARestartTakesItsKeysUpWithoutAGap) {
  start("h1", {{"a", exited()}});
  ASSERT_TRUE(becomes([&] { return flat() == kExited; }));
  kill("h1");
  start("h1");
  ASSERT_TRUE(becomes([&] { return flat() == kHealthy; }, std::chrono::seconds(kTtl)));
  const auto end = steady_clock::now() + 2 * kTtl;
  ASSERT_TRUE(becomes([&] { return steady_clock::now() > end || flat() != kHealthy; }));
  EXPECT_EQ(flat(), kHealthy);
  EXPECT_EQ(own("h1"), kHealthy);
}

TEST_P(PublisherNetns, ChangesRemovalsAndANewPrefixArrive) {
  Lbd& lbd = start("h1", {{"a", exited()}, {"b", healthy()}});
  ASSERT_TRUE(becomes([&] { return flat() == kExited; }));
  lbd.wanted.state = {{"a", healthy()}};
  lbd.publisher->changed();
  ASSERT_TRUE(becomes([&] { return flat() == kHealthy && below("/state/backends/b").empty(); }));
  lbd.wanted.prefix = "/elsewhere";
  lbd.publisher->changed();
  ASSERT_TRUE(becomes([&] { return below("/elsewhere/backends/a") == kHealthy; }));
  EXPECT_EQ(below("/state"), Values{});
  lbd.wanted.prefix.clear();
  lbd.publisher->changed();
  ASSERT_TRUE(becomes([&] { return below("/elsewhere").empty(); }));
}

TEST_P(PublisherNetns, AnEtcdThatComesBackEmptyIsFilledAgain) {
  Lbd& lbd = start("h1");
  ASSERT_TRUE(becomes([&] { return flat() == kHealthy; }));
  etcd_->kill_all();
  ASSERT_TRUE(becomes([&] { return !lbd.publisher->error().empty(); }));
  EXPECT_NE(lbd.publisher->error().find(etcd_->url(0)), std::string::npos)
      << lbd.publisher->error();
  etcd_->wipe_all();
  etcd_->restart_all();
  lbd.wanted.state = {{"a", exited()}};
  ASSERT_TRUE(becomes([&] { return flat() == kExited && own("h1") == kExited; }));
  EXPECT_TRUE(becomes([&] { return lbd.publisher->error().empty(); }));
}

TEST_P(PublisherNetns, AThousandKeysAreWrittenInOneGo) {
  MerlionState state;
  for (int i = 0; i < 167; ++i) state[fmt::format("backend-{}", i)] = healthy();
  const std::size_t count = 2 * kHealthy.size() * state.size() + 1;
  const auto began = steady_clock::now();
  Lbd& lbd = start("h1", std::move(state));
  ASSERT_TRUE(becomes([&] { return below("/state").size() == count; }));
  RecordProperty("milliseconds", static_cast<int>((steady_clock::now() - began) / 1ms));
  const auto quiet = steady_clock::now() + 300ms;
  ASSERT_TRUE(becomes([&] { return steady_clock::now() > quiet; }));
  lbd.wanted.state["backend-7"] = exited();
  const auto changed = steady_clock::now();
  lbd.publisher->changed();
  ASSERT_TRUE(becomes([&] {
    return keys_->get("/state/backends/backend-7/exited-at") == std::optional<std::string>("2000");
  }));
  RecordProperty("news_milliseconds", static_cast<int>((steady_clock::now() - changed) / 1ms));
}

}  // namespace
}  // namespace lb
