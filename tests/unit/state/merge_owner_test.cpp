// Backends with a uid: what is said of who holds their ports.
#include <gmock/gmock.h>

#include "unit/state/merge_fixture.h"

namespace lb {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class MergeOwner : public Merge {
 protected:
  static Backend owned(std::string_view address) {
    Backend b = listed(address);
    b.uid = 1001;
    return b;
  }
  void find_owner(std::string_view backend, std::string text) {
    owners_[{kWeb, Address::parse(backend).value()}] = std::move(text);
  }
  const ServicePtr both_owned_ =
      offered("127.0.0.1:80", {owned("127.0.0.1:8001"), owned("127.0.0.1:8002")});
  const ServicePtr one_owned_ =
      offered("127.0.0.1:80", {owned("127.0.0.1:8001"), listed("127.0.0.1:8002")});
};

TEST_F(MergeOwner, PortThatAnotherUserHoldsGetsNothing) {
  find_owner("127.0.0.1:8001", "port is held by uid 1005");
  turn({one_owned_}, at(10));
  EXPECT_THAT(rows(), ElementsAre("127.0.0.1:8001 down/owner 0", "127.0.0.1:8002 active 100"));
  EXPECT_EQ(web().backends[0].text, "port is held by uid 1005");
  EXPECT_EQ(web().backends[0].since, at(10));
  EXPECT_EQ(web().condition, Condition::Ok);
  EXPECT_TRUE(result_.memo[0].owned);
  again(at(20));
  EXPECT_EQ(web().backends[0].since, at(10));
  find_owner("127.0.0.1:8001", "");
  again(at(30));
  EXPECT_THAT(rows(), ElementsAre("127.0.0.1:8001 active 100", "127.0.0.1:8002 active 100"));
  EXPECT_EQ(web().backends[0].text, "");
}

TEST_F(MergeOwner, PortOfWhichNothingIsKnownGetsNothing) {
  turn({both_owned_}, at(10));
  EXPECT_THAT(rows(), ElementsAre("127.0.0.1:8001 down/owner 0", "127.0.0.1:8002 down/owner 0"));
  EXPECT_THAT(web().backends[0].text, HasSubstr("not known yet"));
}

TEST_F(MergeOwner, ThereIsNoLastResortAndNoFailOpen) {
  find_owner("127.0.0.1:8001", "port is held by uid 1005");
  find_owner("127.0.0.1:8002", "port is held by uid 1005");
  find_down("127.0.0.1:8001", at(5));
  find_down("127.0.0.1:8002", at(5));
  turn({with_check(both_owned_)}, at(10));
  EXPECT_THAT(rows(), ElementsAre("127.0.0.1:8001 down/owner 0", "127.0.0.1:8002 down/owner 0"));
  EXPECT_EQ(web().condition, Condition::NoBackends);
  EXPECT_THAT(web().text, HasSubstr("2 whose port its user does not hold"));
  find_owner("127.0.0.1:8001", "");
  again(at(20));
  EXPECT_EQ(web().condition, Condition::FailOpen);
  EXPECT_THAT(rows(),
              ElementsAre("127.0.0.1:8001 down/probe-failed 100", "127.0.0.1:8002 down/owner 0"));
}

TEST_F(MergeOwner, OneThatIsLeavingIsNoLastResortEither) {
  find_owner("127.0.0.1:8001", "");
  find_owner("127.0.0.1:8002", "");
  turn({both_owned_}, at(10));
  turn({offered("127.0.0.1:80", {owned("127.0.0.1:8002")})}, at(20));
  find_owner("127.0.0.1:8002", "port is held by uid 1005");
  again(at(30));
  EXPECT_THAT(rows(), ElementsAre("127.0.0.1:8001 draining/source departed 100",
                                  "127.0.0.1:8002 down/owner 0"));
  find_owner("127.0.0.1:8001", "port is held by uid 1005");
  again(at(40));
  EXPECT_THAT(rows(), ElementsAre("127.0.0.1:8001 draining/owner departed 0",
                                  "127.0.0.1:8002 down/owner 0"));
  EXPECT_EQ(web().backends[0].text, "port is held by uid 1005");
  EXPECT_EQ(web().condition, Condition::NoBackends);
}

TEST_F(MergeOwner, DrainsAndWeightZeroAreShownAsTheyAre) {
  ASSERT_TRUE(drains_.add(drain_of("127.0.0.1:8001", at(5))));
  Backend zero = owned("127.0.0.1:8002");
  zero.weight = 0;
  turn({offered("127.0.0.1:80", {owned("127.0.0.1:8001"), zero})}, at(10));
  EXPECT_THAT(rows(), ElementsAre("127.0.0.1:8001 draining/operator 0",
                                  "127.0.0.1:8002 draining/weight 0"));
}

TEST_F(MergeOwner, BackendsWithoutAUidAreNotAffected) {
  find_owner("10.0.0.1:80", "port is held by uid 1005");
  turn({two_}, at(10));
  EXPECT_THAT(rows(), ElementsAre("10.0.0.1:80 active 100", "10.0.0.2:80 active 7"));
  EXPECT_FALSE(result_.memo[0].owned);
}

}  // namespace
}  // namespace lb
