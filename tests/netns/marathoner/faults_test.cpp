// Every way in which Marathon can fail, under load: no connect fails, no backend is lost, and the next
// change arrives once the fault is over.
#include "netns/marathoner/fixture.h"

#include <fmt/format.h>

#include <thread>

namespace lb::test {
namespace {

class Faults : public MarathonerNetns {
 protected:
  void SetUp() override {
    MarathonerNetns::SetUp();
    if (IsSkipped()) return;
    start_marathons(2);
    marathon().add_app({.id = "/web", .ports = {10001}, .health_checks = 1});
    for (int i = 0; i < 4; ++i) {
      launch("/web", 31001);
      marathon().set_health(tasks_.back()->id, true);
    }
    start_updaters(1);
    start_listeners(1);
    ASSERT_TRUE(all_have("web", 4));
    client_ = std::make_unique<SteadyClient>(*listeners_[0], "127.0.0.1:10001", 3);
    ASSERT_TRUE(eventually([&] { return client_->tally().made > 20; }, 20s));
  }

  void nothing_is_lost(const std::string& during) {
    const auto tally = client_->tally();
    EXPECT_EQ(tally.failed + tally.broken, 0) << during << ": " << tally.first_failure;
    int in_use = 0;
    for (const auto& b : listener(0).service("web").backends) in_use += b.effective_weight > 0;
    EXPECT_EQ(in_use, 4) << during;
  }
  // The updater has asked in vain, or has seen through it.
  void for_some_readings(const std::string& during) {
    for (int i = 0; i < 3; ++i) {
      std::this_thread::sleep_for(500ms);
      nothing_is_lost(during);
    }
  }
  // A change of one task gets through: weight 0 there, and back.
  void follows_again(const std::string& after) {
    marathon().set_health(tasks_[3]->id, false);
    EXPECT_TRUE(all_have("web", 3, 30s)) << after;
    marathon().set_health(tasks_[3]->id, true);
    EXPECT_TRUE(all_have("web", 4, 30s)) << after;
  }

  std::unique_ptr<SteadyClient> client_;
};

TEST_F(Faults, OfAnswersCostNothing) {
  for (const char* kind :
       {"slow", "drip", "500", "503", "json_error_200", "json_error_502", "bad_gateway",
        "unauthorized", "truncated", "truncated_chunked", "hang", "reset", "garbage", "html",
        "empty", "empty_body", "redirect_loop", "big"}) {
    for (auto& node : marathons_) node.control->fault(kind);
    for_some_readings(kind);
    for (auto& node : marathons_) node.control->fault("none");
    follows_again(kind);
  }
  EXPECT_EQ(client_->stop().failed, 0);
}

// Every Marathon has forgotten everything, and no operator asked for that: for longer than `confirm`. When
// the operator says at the updater that it is true, the listeners do not hold it again.
TEST_F(Faults, OfAStoreThatIsEmptyCostNothingUntilTheOperatorBelievesIt) {
  marathon().add_app({.id = "/api", .ports = {10002}});
  launch("/api", 31002);
  ASSERT_TRUE(all_have("api", 1));
  for (const char* kind : {"wiped", "empty"}) {
    for (auto& node : marathons_) node.control->fault(kind);
    for (int i = 0; i < 8; ++i) for_some_readings(kind);
    const std::string status = updater(0).json({"status"});
    EXPECT_EQ(json_at(status, "/held/0/missing"), "5") << status;
    EXPECT_EQ(json_at(status, "/problems/0/name"), json_at(status, "/held/0/source")) << status;
    EXPECT_EQ(json_size(listener(0).json({"status"}), "/held"), 0) << "it has been told of nothing";
    for (auto& node : marathons_) node.control->fault("none");
    follows_again(kind);
    EXPECT_EQ(json_size(updater(0).json({"status"}), "/problems"), 0);
  }
  EXPECT_EQ(client_->stop().failed, 0);
  for (auto& node : marathons_) node.control->fault("wiped");
  ASSERT_TRUE(
      eventually([&] { return json_size(updater(0).json({"status"}), "/held") == 1; }, 20s));
  const std::string source = json_at(updater(0).json({"status"}), "/held/0/source");
  EXPECT_EQ(updater(0).ctl({"resync", "--accept", source}).code, 0);
  EXPECT_TRUE(all_have("web", 0, 3s));
  EXPECT_TRUE(all_have("api", 0, 3s));
}

TEST_F(Faults, OfTheEventStreamCostNothing) {
  for (const char* how : {"stall", "half_close", "close", "reset"}) {
    for (auto& node : marathons_) node.control->streams(how);
    for_some_readings(how);
    follows_again(how);
    for (auto& node : marathons_) node.control->streams("resume");
  }
}

TEST_F(Faults, OfTheLeaderCostNothing) {
  // All results of health checks are lost with it.
  marathon(0).elect(2);
  for_some_readings("another leader");
  marathon(1).resign(3s);
  for_some_readings("no leader");
  marathon(0).wait_for_leader();
  for_some_readings("a leader again");
  for (const auto& task : tasks_) marathon().set_health(task->id, true);
  follows_again("an election");
  EXPECT_EQ(client_->stop().failed, 0);
}

}  // namespace
}  // namespace lb::test
