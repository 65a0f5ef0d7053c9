// Marathoner's picture, whole: three Marathons, three updaters, four listeners, and apps that talk
// through 127.0.0.1 on each host while everything is killed in turn.
#include "netns/marathoner/fixture.h"

#include <fmt/format.h>

namespace lb::test {
namespace {

class Diagram : public MarathonerNetns {
 protected:
  void SetUp() override {
    MarathonerNetns::SetUp();
    if (IsSkipped()) return;
    start_marathons(3);
    marathon().add_app({.id = "/web", .ports = {10001}});
    marathon().add_app({.id = "/shop", .ports = {10002}});
    for (int i = 0; i < 3; ++i) launch("/web", 31001);
    for (int i = 0; i < 2; ++i) launch("/shop", 31002);
    start_updaters(3);
    start_listeners(4);
    ASSERT_TRUE(all_have("web", 3));
    ASSERT_TRUE(all_have("shop", 2));
    for (const auto& host : listeners_) {
      clients_.push_back(std::make_unique<SteadyClient>(*host, "127.0.0.1:10001", 3));
      clients_.push_back(std::make_unique<SteadyClient>(*host, "127.0.0.1:10002", 2));
    }
    under_load("the start");
  }

  // All apps have connected some more since the last call, and nothing has failed.
  void under_load(const std::string& after) {
    std::vector<int> before;
    for (const auto& client : clients_) before.push_back(client->tally().made);
    for (std::size_t i = 0; i < clients_.size(); ++i) {
      EXPECT_TRUE(eventually([&] { return clients_[i]->tally().made > before[i] + 20; }, 20s))
          << after << ": client " << i << " does not get on";
      const auto tally = clients_[i]->tally();
      EXPECT_EQ(tally.failed + tally.broken, 0) << after << ": " << tally.first_failure;
    }
  }

  std::vector<std::unique_ptr<SteadyClient>> clients_;
};

TEST_F(Diagram, NothingIsLostWhoeverDiesInWhateverOrder) {
  marathons_[0].process->kill();
  under_load("the leading Marathon died");
  marathon(1).wait_for_leader();
  updater(0).kill();
  under_load("an updater died");
  for (std::size_t i = 1; i < 3; ++i) marathons_[i].process->kill();
  under_load("all Marathons died");
  listener(0).kill();
  under_load("a listener died");
  for (std::size_t i = 1; i < 3; ++i) updater(i).kill();
  under_load("all updaters died");
  ASSERT_TRUE(start_listener(0));
  under_load("a listener came back to nobody");
  for (std::size_t i = 1; i < 4; ++i) listener(i).kill();
  under_load("three listeners died");
  for (std::size_t i = 0; i < 3; ++i) ASSERT_TRUE(start_updater(i));
  for (std::size_t i = 1; i < 4; ++i) ASSERT_TRUE(start_listener(i));
  under_load("updaters came back without a Marathon");
  for (std::size_t i = 0; i < 3; ++i) start_marathon(i);
  under_load("Marathon came back");
  // And it all works again: a new task is used, an old one is not.
  const std::string fresh = launch("/web", 31001).address;
  EXPECT_TRUE(all_have("web", 4, 30s));
  kill_in_marathon(tasks_[0]->address);
  EXPECT_TRUE(all_have("web", 3, 30s));
  under_load("a task came and another went");
  for (const auto& client : clients_) {
    const auto tally = client->stop();
    EXPECT_EQ(tally.failed + tally.broken, 0) << tally.first_failure;
  }
}

TEST_F(Diagram, AKilledTaskKeepsItsConnectionsAndGetsNoNewOnes) {
  const int before = tasks_[0]->server->accepted();
  marathon().call(fmt::format(R"({{"do":"kill","task":"{}","ms":60000}})", tasks_[0]->id));
  ASSERT_TRUE(eventually(
      [&] { return listener(2).backend("web", tasks_[0]->address).state == "draining"; }));
  ASSERT_TRUE(all_have("web", 2));
  under_load("a task is being killed");
  const int then = tasks_[0]->server->accepted();
  EXPECT_GT(then, 0);
  EXPECT_GE(then, before);
  under_load("it gets nothing new");
  EXPECT_EQ(tasks_[0]->server->accepted(), then);
}

TEST_F(Diagram, ATaskThatDiesIsGoneEverywhereAtOnce) {
  const std::string dead = tasks_[2]->address;
  kill_in_marathon(dead);
  ASSERT_TRUE(eventually(
      [&] {
        return std::all_of(listeners_.begin(), listeners_.end(), [&](const auto& host) {
          return host->lbd().backend("web", dead).effective_weight == 0;
        });
      },
      2s));
  under_load("a task died");
}

}  // namespace
}  // namespace lb::test
