// Which backend a connect gets: weights, methods, dead local backends, drains, atomic switches.
#include <atomic>

#include <gmock/gmock.h>

#include "fixture.h"

namespace lb::test {
namespace {

class Choice : public DataplaneNetns {
 protected:
  // One after the other, each closed before the next.
  static std::map<std::string, int> ask_many(int n, std::string_view to = kService) {
    std::map<std::string, int> answers;
    for (int i = 0; i < n; ++i) ++answers[ask(to)];
    return answers;
  }
  void start(int n) {
    for (int i = 1; i <= n; ++i)
      servers_.push_back(
          std::make_unique<Server>("127.0.0.1:" + std::to_string(7000 + i), std::to_string(i)));
  }
  static std::vector<Weighted> backends(const std::vector<std::uint32_t>& weights) {
    std::vector<Weighted> out;
    for (std::size_t i = 0; i < weights.size(); ++i)
      out.push_back({"127.0.0.1:" + std::to_string(7001 + i), weights[i]});
    return out;
  }
  std::vector<std::unique_ptr<Server>> servers_;
};

TEST_F(Choice, LeastConnectionsIsExactWithOpenConnections) {
  start(3);
  publish(kService, backends({1, 1, 1}));
  std::vector<UniqueFd> open;
  for (int i = 0; i < 300; ++i) open.push_back(connect_to(kService));
  for (const auto* backend : {"127.0.0.1:7001", "127.0.0.1:7002", "127.0.0.1:7003"})
    EXPECT_EQ(active(kService, backend), 100) << backend;
}

TEST_F(Choice, LeastConnectionsHonoursWeightsUnderLoadAndWhenIdle) {
  start(2);
  publish(kService, backends({300, 100}));
  std::vector<UniqueFd> open;
  for (int i = 0; i < 400; ++i) open.push_back(connect_to(kService));
  EXPECT_NEAR(active(kService, "127.0.0.1:7001"), 300, 2);
  open.clear();
  EXPECT_TRUE(eventually([&] { return active(kService, "127.0.0.1:7001") == 0; }));
  std::map<std::string, int> answers;
  for (int i = 0; i < 800; ++i) {
    ++answers[ask(kService)];
    while (active(kService, "127.0.0.1:7001") + active(kService, "127.0.0.1:7002") > 0)
      std::this_thread::yield();  // idle again: the server has seen the client's FIN
  }
  EXPECT_NEAR(answers["1"], 600, 60);
}

TEST_F(Choice, RandomDrawsByWeight) {
  start(3);
  publish(kService, backends({1, 2, 5}), Balance::Random);
  auto answers = ask_many(1600);
  EXPECT_NEAR(answers["1"], 200, 70);
  EXPECT_NEAR(answers["2"], 400, 90);
  EXPECT_NEAR(answers["3"], 1000, 110);
}

TEST_F(Choice, RoundRobinIsASequence) {
  start(3);
  publish(kService, backends({2, 1, 1}), Balance::RoundRobin);
  auto answers = ask_many(40);
  EXPECT_EQ(answers["1"], 20);
  EXPECT_EQ(answers["2"], 10);
  EXPECT_EQ(answers["3"], 10);
}

TEST_F(Choice, TwoChoicesSpreadOpenConnections) {
  start(3);
  publish(kService, backends({1, 1, 1}), Balance::P2c);
  std::vector<UniqueFd> open;
  for (int i = 0; i < 300; ++i) open.push_back(connect_to(kService));
  for (const auto* backend : {"127.0.0.1:7001", "127.0.0.1:7002", "127.0.0.1:7003"})
    EXPECT_NEAR(active(kService, backend), 100, 10) << backend;
}

TEST_F(Choice, ManyBackendsAreChosenByTwoDraws) {
  start(40);
  publish(kService, backends(std::vector<std::uint32_t>(40, 1)));
  std::vector<UniqueFd> open;
  for (int i = 0; i < 400; ++i) open.push_back(connect_to(kService));
  for (int i = 1; i <= 40; ++i)
    EXPECT_NEAR(active(kService, "127.0.0.1:" + std::to_string(7000 + i)), 10, 7);
}

TEST_F(Choice, SourceHashKeepsAUserOnOneBackend) {
  start(3);
  publish(kService, backends({1, 1, 1}), Balance::SourceHash);
  EXPECT_EQ(ask_many(20).size(), 1u);
  std::set<std::string> users;
  for (uid_t uid = 1000; uid < 1040; ++uid) {
    ASSERT_EQ(::seteuid(uid), 0);
    ASSERT_EQ(::seteuid(0), 0);
    // The real uid decides: it is the one that no program changes for itself.
    ASSERT_EQ(::setresuid(uid, 0, 0), 0);
    const auto answers = ask_many(3);
    EXPECT_EQ(answers.size(), 1u);
    users.insert(answers.begin()->first);
  }
  ASSERT_EQ(::setresuid(0, 0, 0), 0);
  EXPECT_EQ(users.size(), 3u);
}

TEST_F(Choice, DeadLocalBackendIsPassedOver) {
  start(1);  // 7002 has no listener
  for (const auto method : {Balance::LeastConn, Balance::P2c, Balance::Random, Balance::RoundRobin,
                            Balance::SourceHash}) {
    publish(kService, backends({1, 1}), method);
    EXPECT_EQ(ask_many(200)["1"], 200) << to_string(method);
  }
  EXPECT_EQ(observe(kService, "127.0.0.1:7002")->failed.refused, 0u);
}

TEST_F(Choice, OneOfEightAliveIsFoundByAnyMethod) {
  servers_.push_back(std::make_unique<Server>("127.0.0.1:7005", "5"));
  for (const auto method : {Balance::LeastConn, Balance::P2c, Balance::Random, Balance::RoundRobin,
                            Balance::SourceHash}) {
    publish(kService, backends(std::vector<std::uint32_t>(8, 1)), method);
    EXPECT_EQ(ask_many(100)["5"], 100) << to_string(method);
  }
}

TEST_F(Choice, NoneAliveFailsOnTheFirstChoiceAndIsSeen) {
  publish(kService, backends({1, 1}));
  EXPECT_EQ(ask(kService), "errno 111");
  const auto refused = observe(kService, "127.0.0.1:7001")->failed.refused +
                       observe(kService, "127.0.0.1:7002")->failed.refused;
  EXPECT_EQ(refused, 1u);
}

TEST_F(Choice, DrainedBackendIsChosenNoMoreOnceSettled) {
  start(2);
  publish(kService, backends({1, 1}));
  UniqueFd kept;
  while (!kept || read_all_now(kept) != "1") kept = connect_to(kService);
  std::atomic<bool> stop = false;
  std::atomic<int> failures = 0;
  std::thread load([&] {
    while (!stop) failures += ask(kService).starts_with("errno");
  });
  for (int round = 0; round < 20; ++round) {
    publish(kService, backends({0, 1}));
    settle();
    const int chosen = total(kService, "127.0.0.1:7001");
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // load must not reach it meanwhile
    EXPECT_EQ(total(kService, "127.0.0.1:7001"), chosen);
    EXPECT_GE(active(kService, "127.0.0.1:7001"), 1);
    publish(kService, backends({1, 1}));
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  stop = true;
  load.join();
  EXPECT_EQ(failures, 0);
}

TEST_F(Choice, SwitchingSetsUnderLoadNeverFailsAConnect) {
  start(4);
  std::atomic<bool> stop = false;
  int made = 0;
  std::map<std::string, int> failures;  // of the thread, until it has ended
  publish(kService, backends({1, 1, 1}));
  std::thread load([&] {
    for (; !stop; ++made)
      if (const std::string answer = ask(kService); answer.starts_with("errno")) ++failures[answer];
  });
  const std::vector<Balance> methods{Balance::LeastConn, Balance::P2c, Balance::Random,
                                     Balance::RoundRobin, Balance::SourceHash};
  for (unsigned i = 0; i < 2000; ++i) {
    std::vector<std::uint32_t> weights{1 + i % 3, i % 2, i % 5, 1};
    publish(kService, backends(weights), methods[i % methods.size()]);
    if (i % 100 == 0) {
      ASSERT_TRUE(dataplane_->collect());
    }
  }
  stop = true;
  load.join();
  EXPECT_THAT(failures, testing::IsEmpty()) << "of " << made;
  for (int i = 1; i <= 4; ++i)
    EXPECT_TRUE(
        eventually([&] { return active(kService, "127.0.0.1:" + std::to_string(7000 + i)) <= 0; }));
}

}  // namespace
}  // namespace lb::test
