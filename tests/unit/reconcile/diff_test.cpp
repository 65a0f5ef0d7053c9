#include "reconcile/diff.h"

#include <gtest/gtest.h>

#include "support/desired_builder.h"

namespace lb {
namespace {

TEST(NextStep, GivesAddressesUpBeforeTheyAreTaken) {
  const ServiceKey v4 = key("127.0.0.1:80");
  const ProgrammedService have{v4, {ip("::1"), ip("127.0.0.1")}, Balance::LeastConn, {}};
  const ProgrammedService want{v4, {ip("127.0.0.1")}, Balance::LeastConn, {}};
  EXPECT_EQ(next_step(&want, &have), Step::Release);
  EXPECT_EQ(next_step(&want, &want), std::nullopt);
  EXPECT_EQ(next_step(&have, &want), Step::Upsert);
  EXPECT_EQ(next_step(&have, nullptr), Step::Upsert);
  EXPECT_EQ(next_step(nullptr, &have), Step::Remove);
  EXPECT_EQ(next_step(nullptr, nullptr), std::nullopt);
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
