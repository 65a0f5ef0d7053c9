#include "state/lost_drains.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/snapshot_builder.h"

namespace lb {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

ObservedBackend observed(std::string_view address, bool drained) {
  ObservedBackend out;
  out.address = Address::parse(address).value();
  out.listed = true;
  out.weight = drained ? 0 : 1;
  out.drained = drained;
  return out;
}

ObservedService service(std::string_view key, std::vector<ObservedBackend> backends) {
  return {.key = ServiceKey::parse(key).value(), .addresses = {}, .backends = std::move(backends)};
}

std::vector<std::string> found(const Observed& kernel, const Drains& known = {},
                               bool guess = true) {
  View view;
  view.services.push_back({offered("127.0.0.1:80", {listed("10.0.0.1:80")}, "web"), 0, false});
  std::vector<std::string> out;
  for (const Drain& drain : lost_drains(kernel, view, known, guess, SysTime{}))
    out.push_back(to_string(drain.target) + drain.service.value_or(""));
  return out;
}

TEST(LostDrains, AreThoseThatTheKernelKnows) {
  EXPECT_THAT(found({{service("127.0.0.1:80",
                              {observed("10.0.0.1:80", true), observed("10.0.0.2:80", false)})}}),
              ElementsAre("10.0.0.1:80"));
}

TEST(LostDrains, OfSomeServicesAreOrdersForThese) {
  EXPECT_THAT(found({{service("127.0.0.1:80", {observed("10.0.0.1:80", true)}),
                      service("127.0.0.1:81", {observed("10.0.0.1:80", false)})}}),
              ElementsAre("10.0.0.1:80tcp://127.0.0.1:80"));
}

TEST(LostDrains, AreNotThoseOfTheFleet) {
  Drains known;
  known.set_fleet({{.target = Address::parse("10.0.0.1:80").value(),
                    .service = {},
                    .since = {},
                    .terminate_at = {},
                    .ids = {},
                    .fleet = "order"}});
  EXPECT_THAT(found({{service("127.0.0.1:80", {observed("10.0.0.1:80", true)})}}, known),
              IsEmpty());
}

// It ends with that order, and not with one of its own that is left over.
TEST(LostDrains, AreNotThoseOfAHostThatNoSourceHasNamedYet) {
  Drains known;
  ASSERT_TRUE(
      known.add({.target = "10.0.0.1", .service = {}, .since = {}, .terminate_at = {}, .ids = {}}));
  EXPECT_THAT(found({{service("127.0.0.1:99",
                              {observed("10.0.0.1:80", true), observed("10.0.0.2:80", true)})}},
                    known),
              ElementsAre("10.0.0.2:80"));
}

TEST(LostDrains, MayBeWhatAnOlderLbdDidNotExplain) {
  ObservedBackend out = observed("10.0.0.1:80", false);
  out.weight = 0;
  out.unexplained = true;
  ObservedBackend in = observed("10.0.0.2:80", false);
  in.unexplained = true;
  const Observed kernel{{service("127.0.0.1:80", {out, in})}};
  EXPECT_THAT(found(kernel), ElementsAre("10.0.0.1:80"));
  EXPECT_THAT(found(kernel, {}, false), IsEmpty()) << "there never was a file";
}

TEST(LostDrains, AreNotOfBackendsThatHaveLeft) {
  ObservedBackend left = observed("10.0.0.1:80", true);
  left.listed = false;
  EXPECT_THAT(found({{service("127.0.0.1:80", {left})}}), IsEmpty());
}

}  // namespace
}  // namespace lb
