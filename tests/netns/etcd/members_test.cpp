// Members of etcd that die, freeze or are cut off while keys change: lbd finds another one, no client
// notices, and nothing is lost.
#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <set>

#include "netns/etcd/measure.h"
#include "netns/merlion/fixture.h"

namespace lb::test {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

// v2 shares with v3 all that decides here, hence few rounds. LB_ETCD_ROUNDS=20 for a longer look.
int rounds(EtcdStore store) {
  if (const char* wanted = std::getenv("LB_ETCD_ROUNDS")) return std::max(1, std::atoi(wanted));
  return store == EtcdStore::V3 ? 4 : 3;
}

class EtcdMembers : public MerlionNetns {
 protected:
  [[nodiscard]] EtcdOptions etcd_options() const override { return {.members = 3}; }

  void SetUp() override {
    MerlionNetns::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    for (int i = 0; i < 4; ++i)
      ring_.push_back(std::make_unique<Server>(address(i), fmt::format("r{}", i)));
    configure();
    add("always", kOne);
    add(name(0), address(0));
    ASSERT_NO_FATAL_FAILURE(start());
    load_ = std::make_unique<Load>(kListen, 2ms);
  }
  void TearDown() override {
    load_.reset();
    ring_.clear();
    MerlionNetns::TearDown();
  }

  static std::string address(int i) { return fmt::format("127.0.0.1:{}", 7100 + i % 4); }
  static std::string name(int i) { return fmt::format("n{}", i); }

  // Which member lbd watches, as `lbctl sources` tells.
  [[nodiscard]] std::size_t watched() const {
    const std::string position = source("position");
    for (std::size_t i = 0; i < etcd_->size(); ++i)
      if (position.find(etcd_->url(i)) != std::string::npos) return i;
    ADD_FAILURE() << "no member in '" << position << "'";
    return 0;
  }
  [[nodiscard]] std::set<std::string> in_use() const {
    std::set<std::string> out;
    for (const ListedBackend& b : lbd_->service("site").backends)
      if (b.state == "active") out.insert(b.id + " " + b.address);
    return out;
  }

  template <class Hurt, class Mend>
  void play(const Hurt& hurt, const Mend& mend) {
    for (int i = 1; i <= rounds(GetParam()); ++i) {
      ASSERT_TRUE(eventually([&] { return source("state") == "ok"; }, 15s)) << source("error");
      const std::size_t member = watched();
      hurt(member, i);
      add(name(i), address(i));
      drop(name(i - 1));
      keys_->put(key("always", "disabled"), "no");
      const std::set<std::string> wanted{fmt::format("always {}", kOne),
                                         name(i) + " " + address(i)};
      const auto begin = Clock::now();
      ASSERT_TRUE(eventually([&] { return in_use() == wanted; }, 15s))
          << "round " << i << ", member " << member << ": " << source("position") << " "
          << source("error");
      took_.push_back(milliseconds_since(begin));
      mend(member, i);
      ASSERT_TRUE(etcd_->settle());
      // What a member that was away tells when it is back changes nothing.
      EXPECT_EQ(in_use(), wanted) << "round " << i;
    }
    std::cout << fmt::format("{} rounds, from the change to its effect: {}; {} connects\n",
                             took_.size(), spread(took_), load_->made());
    EXPECT_EQ(load_->failed(), 0);
  }

  std::vector<std::unique_ptr<Server>> ring_;
  std::unique_ptr<Load> load_;
  std::vector<double> took_;
};

TEST_P(EtcdMembers, TheWatchedOneIsKilled) {
  play([&](std::size_t m, int) { etcd_->kill(m); }, [&](std::size_t m, int) { etcd_->restart(m); });
}

TEST_P(EtcdMembers, TheWatchedOneFreezes) {
  play([&](std::size_t m, int) { etcd_->freeze(m); }, [&](std::size_t m, int) { etcd_->thaw(m); });
}

// In turn from the other members, which lets lbd still reach it, and from everybody, as when the host
// or its network is gone.
TEST_P(EtcdMembers, TheWatchedOneIsPartitioned) {
  play(
      [&](std::size_t m, int round) {
        if (round % 2 == 0)
          etcd_->partition_from_all(m);
        else
          etcd_->partition_from_peers(m);
      },
      [&](std::size_t m, int) { etcd_->heal(m); });
}

INSTANTIATE_TEST_SUITE_P(Etcd, EtcdMembers, testing::ValuesIn(kStores), store_name);

}  // namespace
}  // namespace lb::test
