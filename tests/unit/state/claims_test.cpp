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
    view_ = resolve_claims(sources_, resolved_ ? &view_ : nullptr, host_);
    resolved_ = true;
    return view_;
  }

  Snapshot snapshots_[2];
  std::vector<SourceInput> sources_;
  View view_;
  HostView host_;
  bool resolved_ = false;
};

// A source as the defaults have it where the host publishes at `publish`.
std::shared_ptr<const Reach> reach(bool of_host, std::vector<OwnEndpoint> endpoints = {}) {
  Reach out;
  out.of_host = of_host;
  out.claims = of_host ? AddressRanges::this_host() : AddressRanges::loopback();
  out.endpoints = std::move(endpoints);
  return std::make_shared<const Reach>(std::move(out));
}
IpAddress ip_of(std::string_view text) { return IpAddress::parse(text).value(); }
std::string refusal(const View& view, std::size_t i = 0) { return view.services.at(i).why; }

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

TEST_F(Claims, AnAddressThatTheSourceMayNotHaveIsRefusedAndSaysWhichLineAllowsIt) {
  const ServicePtr database = offered("10.20.30.40:5432", {listed("10.0.0.1:80")}, "database");
  sources_[0].reach = reach(false);
  host_ = {{ip_of("10.0.0.9"), ip_of("127.0.0.1")}, true};
  deliver(0, {kWebA, database});
  deliver(1, {});
  EXPECT_EQ(owners(resolve()), "database@a(refused) web-a@a");
  EXPECT_EQ(refusal(view_),
            "10.20.30.40, which is not this host's, is not among the addresses of source a (::1, "
            "127.0.0.0/8): addresses = [\"::1\", \"10.20.30.40\", \"127.0.0.0/8\"] in its "
            "[[source]] would allow it");
  Reach wider = *sources_[0].reach;
  wider.claims.add(ip_of("10.20.30.40"));
  sources_[0].reach = std::make_shared<const Reach>(wider);
  EXPECT_EQ(owners(resolve()), "database@a web-a@a");
}

TEST_F(Claims, AFileMayHaveTheAddressesThatTheHostHasNow) {
  const ServicePtr web = offered("10.0.0.9:80", {listed("10.0.0.1:80")}, "web");
  sources_[0].reach = reach(true);
  deliver(0, {web});
  deliver(1, {});
  EXPECT_EQ(owners(resolve()), "web@a") << "not known yet: not doubted";
  host_ = {{ip_of("10.0.0.9"), ip_of("127.0.0.1")}, true};
  EXPECT_EQ(owners(resolve()), "web@a");
  host_ = {{ip_of("127.0.0.1")}, true};
  EXPECT_EQ(owners(resolve()), "web@a(refused)") << "the address has gone";
  host_ = {{ip_of("10.0.0.9"), ip_of("127.0.0.1")}, true};
  EXPECT_EQ(owners(resolve()), "web@a") << "and has come back";
}

TEST_F(Claims, OthersAreNotTrustedBeforeTheAddressesOfTheHostAreKnown) {
  Reach host_only;
  host_only.of_host = false;
  host_only.claims = AddressRanges::this_host();
  sources_[0].reach = std::make_shared<const Reach>(host_only);
  deliver(0, {offered("10.0.0.9:80", {listed("10.0.0.1:80")}, "web"), kWebA});
  deliver(1, {});
  EXPECT_EQ(owners(resolve()), "web@a(refused) web-a@a") << "loopback is always the host's";
}

TEST_F(Claims, WildcardsAreNeverRefused) {
  sources_[0].reach = reach(false, {{*Address::parse("127.0.0.1:80"), "the etcd endpoint x"}});
  host_.known = true;
  deliver(0, {offered("0.0.0.0:80", {}, "four"), offered("[::]:80", {}, "six")});
  deliver(1, {});
  EXPECT_EQ(owners(resolve()), "six@a four@a");
}

TEST_F(Claims, AVirtualAddressOfOneSourceDoesNotKeepAnothersRightfulClaim) {
  const ServicePtr mine = offered("10.0.0.9:80", {listed("10.0.0.2:80")}, "mine");
  const ServicePtr theirs = offered("10.0.0.9:80", {listed("10.0.0.3:80")}, "theirs");
  sources_[0].reach = reach(false);
  sources_[1].reach = reach(true);
  host_ = {{ip_of("10.0.0.9")}, true};
  deliver(1, {mine});
  EXPECT_EQ(owners(resolve()), "mine@b") << "who may not have it is not waited for";
  deliver(0, {theirs});
  EXPECT_EQ(owners(resolve()), "mine@b");
  EXPECT_EQ(view_.losers.at(0).source, "a");
}

TEST_F(Claims, WhatLbdItselfDialsIsNobodysService) {
  sources_[0].reach = sources_[1].reach =
      reach(true, {{*Address::parse("127.0.0.1:80"), "the updater 127.0.0.1:80"}});
  deliver(0, {kWebA, kUdp});
  deliver(1, {kWebB, kOther});
  EXPECT_EQ(owners(resolve()), "web-a@a(refused) other@b web-udp@a");
  EXPECT_EQ(refusal(view_), "lbd itself connects there: it is the updater 127.0.0.1:80");
}

TEST_F(Claims, WithoutSourcesThereIsNothingAndItIsComplete) {
  sources_.clear();
  EXPECT_EQ(owners(resolve()), "");
  EXPECT_TRUE(view_.complete);
}

}  // namespace
}  // namespace lb
