// How soon a change in etcd meets the first connection.
#include <iostream>
#include <map>
#include <thread>

#include "netns/etcd/measure.h"
#include "netns/merlion/fixture.h"
#include "support/patience.h"

namespace lb::test {
namespace {

using Clock = std::chrono::steady_clock;

class EtcdLatency : public MerlionNetns {
 protected:
  [[nodiscard]] EtcdOptions etcd_options() const override { return {.members = 3}; }

  static std::string address(int i) { return fmt::format("127.0.0.1:{}", 7100 + i % 4); }
  static std::string name(int i) { return fmt::format("n{}", i); }

  // Backend i is added beside i - 1, which is removed when i has been met. Of two backends the least
  // loaded gets the connection, so that a new one is met by the first or second try; those tries are
  // part of the time. The writer asks each member in turn, while lbd watches one of them.
  void change(int i) {
    const std::string wanted = fmt::format("r{}", i % 4);
    keys_->prefer(static_cast<std::size_t>(i) % etcd_->size());
    touch(name(i));
    const auto asked = Clock::now();
    keys_->put(key(name(i), "listen-address"), address(i));
    puts_.push_back(milliseconds_since(asked));
    const auto replied = Clock::now();
    while (ask(kListen) != wanted) {
      ASSERT_LT(Clock::now() - replied, std::chrono::seconds(5)) << "change " << i;
      // Else the client takes a CPU from those it waits for.
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
    took_.push_back(milliseconds_since(replied));
    drop(name(i - 1));
    const std::map<std::string, int> only{{wanted, 8}};
    ASSERT_TRUE(eventually([&] { return ask_often(kListen, 8) == only; }));
  }

  std::vector<double> took_, puts_;
};

TEST_P(EtcdLatency, FromThePutsReplyToTheFirstConnectionIn30Milliseconds) {
  constexpr int kChanges = 200;
  constexpr auto kBar = std::chrono::milliseconds(30);
  std::vector<std::unique_ptr<Server>> ring;
  for (int i = 0; i < 4; ++i)
    ring.push_back(std::make_unique<Server>(address(i), fmt::format("r{}", i)));
  configure();
  add(name(0), address(0));
  ASSERT_NO_FATAL_FAILURE(start());
  for (int i = 1; i <= kChanges; ++i) ASSERT_NO_FATAL_FAILURE(change(i));
  std::cout << fmt::format("{} changes, put's reply to first connection: {}; the puts: {}\n",
                           kChanges, spread(took_), spread(puts_));
  EXPECT_LE(quantile(took_, 0.99), static_cast<double>(promised(kBar).count()));
}

INSTANTIATE_TEST_SUITE_P(Etcd, EtcdLatency, testing::ValuesIn(kStores), store_name);

}  // namespace
}  // namespace lb::test
