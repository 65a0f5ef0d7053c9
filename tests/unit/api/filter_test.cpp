#include "api/filter.h"

#include <gmock/gmock.h>

#include "support/fake_control.h"

namespace lb {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// "web:2 dns:0": the services that are left and how many backends each shows.
std::string kept(std::string_view filter) {
  test::FakeControl control;
  std::string out;
  for (const ServiceView& view : filter_services(control.services, filter)) {
    EXPECT_EQ(view.service->backends.size(), view.counts.size());
    out += view.service->name + ":" + std::to_string(view.counts.size()) + " ";
  }
  return out;
}

TEST(Filter, EmptyKeepsEverything) { EXPECT_EQ(kept(""), "web:2 dns:0 "); }
TEST(Filter, NameKeepsTheWholeServiceInAnyCase) { EXPECT_EQ(kept("WEB"), "web:2 "); }
TEST(Filter, AddressAndProtocolNameAService) {
  EXPECT_EQ(kept("127.0.0.1:8080"), "web:2 ");
  EXPECT_EQ(kept("udp://"), "dns:0 ");
}
TEST(Filter, ConditionNamesAService) { EXPECT_EQ(kept("no-backends"), "dns:0 "); }
TEST(Filter, SourceNamesAService) { EXPECT_EQ(kept("etcd"), "dns:0 "); }
TEST(Filter, HostKeepsOnlyItsBackends) { EXPECT_EQ(kept("node2"), "web:1 "); }
TEST(Filter, StateKeepsOnlyItsBackends) { EXPECT_EQ(kept("draining"), "web:1 "); }
TEST(Filter, NothingMatches) { EXPECT_EQ(kept("nowhere"), ""); }

TEST(Filter, CountsFollowTheirBackends) {
  test::FakeControl control;
  const auto views = filter_services(control.services, "node2");
  EXPECT_EQ(views.at(0).counts.at(0).total_connections, 80U);
}

TEST(Nearest, FindsASlipOfTheKeyboard) {
  EXPECT_THAT(nearest("10.0.0.3:80", {"10.0.0.1:80", "10.0.0.2:81", "192.168.7.4:9000"}),
              ElementsAre("10.0.0.1:80", "10.0.0.2:81"));
}
TEST(Nearest, FindsTheAddressOfAHostWithoutPort) {
  EXPECT_THAT(nearest("10.0.0.1", {"10.0.0.1:80", "db7"}), ElementsAre("10.0.0.1:80"));
}
TEST(Nearest, OffersThreeAtMostAndNoneTwice) {
  EXPECT_THAT(nearest("node9", {"node1", "node1", "node2", "node3", "node4"}),
              ElementsAre("node1", "node2", "node3"));
}
TEST(Nearest, SaysNothingRatherThanNonsense) {
  EXPECT_THAT(nearest("database", {"10.0.0.1:80", "web"}), IsEmpty());
  EXPECT_THAT(nearest(std::string(100'000, 'a'), {"a"}), IsEmpty());
  EXPECT_THAT(nearest("", {"web1", "10.0.0.1:80"}), IsEmpty());
}

TEST(DrainTargets, AreAddressesAndHosts) {
  test::FakeControl control;
  EXPECT_THAT(drain_targets(control.services),
              ElementsAre("10.0.0.1:9001", "node1", "10.0.0.2:9001", "node2"));
}

}  // namespace
}  // namespace lb
