// One address as a backend of several services: counts per service and backend, names per connection.
#include "fixture.h"

namespace lb::test {
namespace {

constexpr auto kFirst = "127.0.0.1:5001";
constexpr auto kSecond = "127.0.0.1:5002";

class Shared : public DataplaneNetns {
 protected:
  void SetUp() override {
    DataplaneNetns::SetUp();
    if (!IsSkipped()) server_.emplace(kBackend, "hello");
  }
  void expect_counts(int first, int second) {
    EXPECT_EQ(active(kFirst, kBackend), first);
    EXPECT_EQ(active(kSecond, kBackend), second);
  }
  bool collected(const std::function<bool()>& condition) {
    return eventually([&] { return dataplane_->collect() && condition(); });
  }
  std::optional<Server> server_;
};

TEST_F(Shared, ExclusiveThenSharedThenExclusiveWithOpenConnections) {
  publish(kFirst, {{kBackend}});
  UniqueFd before = connect_to(kFirst);
  publish(kSecond, {{kBackend}});
  UniqueFd first = connect_to(kFirst);
  UniqueFd second = connect_to(kSecond);
  expect_counts(2, 1);
  EXPECT_EQ(peer_of(before), kFirst);
  EXPECT_EQ(peer_of(first), kFirst);
  EXPECT_EQ(peer_of(second), kSecond);

  publish(kSecond, {});  // the second leaves while its connection is open
  expect_counts(2, 1);
  second.reset();
  EXPECT_TRUE(collected([&] { return active(kSecond, kBackend) == -1; }));
  UniqueFd after = connect_to(kFirst);
  expect_counts(3, -1);
  before.reset();
  first.reset();
  EXPECT_TRUE(eventually([&] { return active(kFirst, kBackend) == 1; }));
  EXPECT_EQ(peer_of(after), kFirst);
  after.reset();
  EXPECT_TRUE(eventually([&] { return active(kFirst, kBackend) == 0; }));
}

TEST_F(Shared, FirstOwnerLeavesAndTheOtherTakesOver) {
  publish(kFirst, {{kBackend}});
  publish(kSecond, {{kBackend}});
  UniqueFd first = connect_to(kFirst);
  UniqueFd second = connect_to(kSecond);
  publish(kFirst, {});
  ASSERT_TRUE(dataplane_->collect());
  expect_counts(1, 1);
  first.reset();
  EXPECT_TRUE(collected([&] { return active(kFirst, kBackend) == -1; }));
  // The second service owns the line now; its open connection is still counted, once.
  EXPECT_EQ(active(kSecond, kBackend), 1);
  EXPECT_EQ(total(kSecond, kBackend), 1);
  EXPECT_EQ(peer_of(second), kSecond);
  UniqueFd another = connect_to(kSecond);
  EXPECT_EQ(active(kSecond, kBackend), 2);
  EXPECT_EQ(peer_of(another), kSecond);
  EXPECT_EQ(total(kSecond, kBackend), 2);
  second.reset();
  EXPECT_TRUE(eventually([&] { return active(kSecond, kBackend) == 1; }));
  another.reset();
  EXPECT_TRUE(eventually([&] { return active(kSecond, kBackend) == 0; }));
}

TEST_F(Shared, SurvivesARestartInEveryPhase) {
  publish(kFirst, {{kBackend}});
  UniqueFd before = connect_to(kFirst);
  publish(kSecond, {{kBackend}});
  UniqueFd second = connect_to(kSecond);
  open();
  expect_counts(1, 1);
  EXPECT_EQ(peer_of(second), kSecond);
  publish(kFirst, {});
  before.reset();
  EXPECT_TRUE(collected([&] { return active(kFirst, kBackend) == -1; }));
  open();
  EXPECT_EQ(active(kSecond, kBackend), 1);
  second.reset();
  EXPECT_TRUE(eventually([&] { return active(kSecond, kBackend) == 0; }));
}

TEST_F(Shared, LeastConnectionsLooksAtTheAddressNotAtTheService) {
  const Server other("127.0.0.1:7002", "other");
  publish(kFirst, {{kBackend}});
  std::vector<UniqueFd> load;
  for (int i = 0; i < 10; ++i) load.push_back(connect_to(kFirst));
  publish(kSecond, {{kBackend}, {"127.0.0.1:7002"}});
  for (int i = 0; i < 10; ++i) load.push_back(connect_to(kSecond));
  EXPECT_EQ(active(kSecond, "127.0.0.1:7002"), 10);
}

}  // namespace
}  // namespace lb::test
