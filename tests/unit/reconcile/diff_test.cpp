#include "reconcile/diff.h"

#include <gtest/gtest.h>

#include <random>

#include "support/desired_builder.h"
#include "support/fake_dataplane.h"

namespace lb {
namespace {

AppliedState random_state(std::mt19937& random) {
  AppliedState out;
  for (unsigned i = 0; i < 12; ++i) {
    if (random() % 3 == 0) continue;
    ProgrammedService s;
    s.key = {Protocol::Tcp, IpAddress::v4(0x7f000001), static_cast<Port>(8000 + i)};
    s.balance = random() % 2 == 0 ? Balance::LeastConn : Balance::Random;
    if (random() % 4 != 0) s.addresses = {s.key.address};
    for (Port p = 0; p < random() % 4; ++p)
      s.backends.push_back({{IpAddress::v4(0x0a000001), static_cast<Port>(9000 + p)},
                            static_cast<std::uint32_t>(random() % 3)});
    out.emplace(s.key, s);
  }
  return out;
}

// Does what the plan says, as the reconciler does; false when something failed.
bool apply(const Plan& plan, const AppliedState& want, Dataplane& dataplane) {
  bool ok = true;
  for (const ServiceKey& k : plan.remove) ok = dataplane.remove(k).has_value() && ok;
  for (const ServiceKey& k : plan.release) ok = dataplane.upsert(want.at(k)).has_value() && ok;
  for (const ServiceKey& k : plan.upsert) ok = dataplane.upsert(want.at(k)).has_value() && ok;
  return ok;
}

TEST(Diff, OfEqualStatesIsEmpty) {
  std::mt19937 random(1);
  for (int i = 0; i < 200; ++i) {
    const AppliedState x = random_state(random);
    EXPECT_TRUE(diff(x, x).empty());
  }
}

TEST(Diff, AppliedLeadsToWhatIsWanted) {
  std::mt19937 random(2);
  for (int i = 0; i < 200; ++i) {
    const AppliedState have = random_state(random);
    const AppliedState want = random_state(random);
    FakeDataplane dataplane;
    for (const auto& [k, s] : have) dataplane.plant(s);
    EXPECT_TRUE(apply(diff(want, have), want, dataplane));
    EXPECT_EQ(dataplane.services(), want);
  }
}

TEST(Diff, ConvergesAfterAFailureAtAnyIndex) {
  std::mt19937 random(3);
  for (int i = 0; i < 50; ++i) {
    const AppliedState have = random_state(random);
    const AppliedState want = random_state(random);
    const Plan plan = diff(want, have);
    const std::size_t calls = plan.remove.size() + plan.release.size() + plan.upsert.size();
    for (std::size_t failing = 0; failing < calls; ++failing) {
      FakeDataplane dataplane;
      for (const auto& [k, s] : have) dataplane.plant(s);
      dataplane.failing_calls = {failing};
      EXPECT_FALSE(apply(plan, want, dataplane));
      EXPECT_TRUE(apply(diff(want, dataplane.services()), want, dataplane));
      EXPECT_EQ(dataplane.services(), want);
    }
  }
}

TEST(Diff, GivesAddressesUpBeforeTheyAreTaken) {
  const ServiceKey v4 = key("127.0.0.1:80");
  const ServiceKey v6 = key("[::1]:80");
  const AppliedState have{{v4, {v4, {ip("::1"), ip("127.0.0.1")}, Balance::LeastConn, {}}}};
  const AppliedState want{{v4, {v4, {ip("127.0.0.1")}, Balance::LeastConn, {}}},
                          {v6, {v6, {ip("::1")}, Balance::LeastConn, {}}}};
  EXPECT_EQ(diff(want, have), (Plan{.remove = {}, .release = {v4}, .upsert = {v6}}));
}

TEST(ToProgrammed, KeepsTheProportionsOfWeightsAlone) {
  const DesiredService web =
      service("127.0.0.1:80",
              {backend("10.0.0.1:1", 50), backend("10.0.0.2:1", 100), backend("10.0.0.3:1", 0)});
  const ProgrammedService programmed = to_programmed(web, {ip("127.0.0.1")});
  EXPECT_EQ(programmed.backends,
            (std::vector<ProgrammedBackend>{
                {addr("10.0.0.1:1"), 1}, {addr("10.0.0.2:1"), 2}, {addr("10.0.0.3:1"), 0}}));
  EXPECT_EQ(to_programmed(service("127.0.0.1:80"), {}).backends.size(), 0U);
}

TEST(ToProgrammed, ReducesWeightsThatAreAllEvenToo) {
  const DesiredService web =
      service("127.0.0.1:80", {backend("10.0.0.1:1", 2), backend("10.0.0.2:1", 4)});
  const ProgrammedService programmed = to_programmed(web, {});
  EXPECT_EQ(programmed.backends,
            (std::vector<ProgrammedBackend>{{addr("10.0.0.1:1"), 1}, {addr("10.0.0.2:1"), 2}}));
}

TEST(ToProgrammed, LeavesOutWhatOnlyLingers) {
  DesiredService web = service("127.0.0.1:80", {backend("10.0.0.1:1"), backend("10.0.0.2:1", 0)});
  web.backends[1].reason = Reason::Lingering;
  EXPECT_EQ(to_programmed(web, {}).backends.size(), 1U);
}

TEST(ChangedKeys, AreThoseThatDiffer) {
  const DesiredState before =
      state({service("127.0.0.1:1"), service("127.0.0.1:2"), service("127.0.0.1:3")});
  DesiredState after = before;
  after.erase(key("127.0.0.1:1"));
  after[key("127.0.0.1:2")] =
      std::make_shared<DesiredService>(service("127.0.0.1:2", {backend("10.0.0.1:1")}));
  after[key("127.0.0.1:3")] = std::make_shared<DesiredService>(service("127.0.0.1:3"));  // equal
  after[key("127.0.0.1:4")] = std::make_shared<DesiredService>(service("127.0.0.1:4"));
  EXPECT_EQ(changed_keys(before, after),
            (std::vector{key("127.0.0.1:1"), key("127.0.0.1:2"), key("127.0.0.1:4")}));
}

}  // namespace
}  // namespace lb
