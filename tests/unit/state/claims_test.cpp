#include "state/claims.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/snapshot_builder.h"

namespace lb {
namespace {

using testing::ElementsAre;

const ServicePtr kWebA = offered("127.0.0.1:80", {listed("10.0.0.1:80")}, "web-a");
const ServicePtr kWebB = offered("127.0.0.1:80", {listed("10.0.0.2:80")}, "web-b");
const ServicePtr kOther = offered("127.0.0.1:81", {listed("10.0.0.3:80")}, "other");
const ServicePtr kUdp = offered("udp://127.0.0.1:80", {listed("10.0.0.4:80")}, "web-udp");

// "web-a@a web-b@b": who owns what.
std::string owners(const View& view) {
  std::string out;
  for (const OwnedService& owned : view.services) {
    out += out.empty() ? "" : " ";
    out += owned.service->name + "@" + view.sources[owned.source].name;
    if (owned.refused) out += "(refused)";
  }
  return out;
}

class Claims : public testing::Test {
 protected:
  Claims() : sources_{{"a", nullptr, {}, false}, {"b", nullptr, {}, false}} {}

  void deliver(std::size_t source, std::vector<ServicePtr> services) {
    snapshots_[source] = snapshot(std::move(services));
    sources_[source].snapshot = &snapshots_[source];
  }
  const View& resolve() {
    view_ = resolve_claims(sources_, resolved_ ? &view_ : nullptr);
    resolved_ = true;
    return view_;
  }

  Snapshot snapshots_[2];
  std::vector<SourceInput> sources_;
  View view_;
  bool resolved_ = false;
};

TEST_F(Claims, WithoutARivalEachSourceOwnsWhatItNames) {
  deliver(0, {kWebA});
  deliver(1, {kOther});
  EXPECT_EQ(owners(resolve()), "web-a@a other@b");
  EXPECT_TRUE(view_.losers.empty());
  EXPECT_TRUE(view_.complete);
}

TEST_F(Claims, FirstSourceOfTheConfigurationWinsWhole) {
  deliver(1, {kWebB});
  deliver(0, {kWebA});
  EXPECT_EQ(owners(resolve()), "web-a@a");
  EXPECT_THAT(
      view_.losers,
      ElementsAre(Claim{"b", kWebB->key, "web-b", "a",
                        "tcp://127.0.0.1:80 belongs to source a, which claims it as web-a"}));
}

TEST_F(Claims, LoserTakesOverWhenTheWinnerDropsTheService) {
  deliver(0, {kWebA});
  deliver(1, {kWebB});
  resolve();
  deliver(0, {});
  EXPECT_EQ(owners(resolve()), "web-b@b");
  EXPECT_TRUE(view_.losers.empty());
}

TEST_F(Claims, WinnerThatListsNoBackendsStillWins) {
  deliver(0, {offered("127.0.0.1:80", {}, "web-a")});
  deliver(1, {kWebB});
  EXPECT_EQ(owners(resolve()), "web-a@a");
}

TEST_F(Claims, CountSeparatelyForEachProtocol) {
  deliver(0, {kWebA});
  deliver(1, {kUdp});
  EXPECT_EQ(owners(resolve()), "web-a@a web-udp@b");
}

TEST_F(Claims, NothingIsDecidedBeforeTheFirstSourceHasDelivered) {
  deliver(1, {kWebB});
  EXPECT_EQ(owners(resolve()), "");
  EXPECT_FALSE(view_.complete);
  EXPECT_THAT(view_.losers, ElementsAre(Claim{"b", kWebB->key, "web-b", "",
                                              "source a goes first and has not delivered yet"}));
  deliver(0, {});
  EXPECT_EQ(owners(resolve()), "web-b@b");
}

TEST_F(Claims, LaterSourcesAreNotWaitedFor) {
  deliver(0, {kWebA});
  EXPECT_EQ(owners(resolve()), "web-a@a");
  EXPECT_FALSE(view_.complete);
}

TEST_F(Claims, SourceThatGaveUpIsNotWaitedFor) {
  sources_[0].gave_up = true;
  deliver(1, {kWebB});
  EXPECT_EQ(owners(resolve()), "web-b@b");
  EXPECT_FALSE(view_.complete);
  deliver(0, {kWebA});
  EXPECT_EQ(owners(resolve()), "web-a@a");
}

TEST_F(Claims, PreviousOwnerStaysWhileUndecided) {
  deliver(0, {});
  deliver(1, {kWebB});
  resolve();
  // The configuration was read again: a new source is first, and has said nothing yet.
  sources_[0] = {"new", nullptr, {}, false};
  EXPECT_EQ(owners(resolve()), "web-b@b");
}

TEST_F(Claims, FormerSourceWaitsForNone) {
  deliver(1, {kWebB});
  sources_[1].former = true;
  EXPECT_EQ(owners(resolve()), "web-b@b");
  deliver(0, {kWebA});
  EXPECT_EQ(owners(resolve()), "web-a@a");
}

TEST_F(Claims, SourceThatMayNotHaveThePortIsNotWaitedFor) {
  sources_[0].ports = PortRanges::parse("1024-65535").value();
  deliver(1, {kWebB});
  EXPECT_EQ(owners(resolve()), "web-b@b");
}

TEST_F(Claims, PortOutsideTheRangeIsListedAsRefused) {
  sources_[0].ports = PortRanges::parse("81").value();
  deliver(0, {kWebA, kOther});
  deliver(1, {});
  EXPECT_EQ(owners(resolve()), "web-a@a(refused) other@a");
}

TEST_F(Claims, RefusedClaimIsVoidBesideARightfulOne) {
  sources_[0].ports = PortRanges::parse("8080-9000").value();
  deliver(0, {kWebA});
  deliver(1, {kWebB});
  EXPECT_EQ(owners(resolve()), "web-b@b");
  EXPECT_THAT(view_.losers, ElementsAre(Claim{"a", kWebA->key, "web-a", "b",
                                              "port 80 is not among the ports of source a "
                                              "(8080-9000)"}));
}

TEST_F(Claims, WithoutSourcesThereIsNothingAndItIsComplete) {
  sources_.clear();
  EXPECT_EQ(owners(resolve()), "");
  EXPECT_TRUE(view_.complete);
}

}  // namespace
}  // namespace lb
