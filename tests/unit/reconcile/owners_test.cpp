#include "reconcile/owners.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <sstream>

#include <spdlog/logger.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include "support/desired_builder.h"

namespace lb {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;
using Kind = Holder::Kind;

constexpr Uid kPostgres = 1001, kIntruder = 1005;

Listener socket_of(std::string_view at, Uid uid, bool v6only = false) {
  const ServiceKey k = key(at);
  return {k.protocol, k.port, k.address, v6only, 7, uid};
}

WantedOwner wanted_of(std::string_view service, std::string_view backend, Uid uid = kPostgres) {
  return {key(service), addr(backend), uid, "web", "/etc/lbd/web.toml"};
}

const HostView kThisHost{{ip("10.0.0.1"), ip("127.0.0.1"), ip("fd00::1")}, true};

struct HolderCase {
  std::string name;
  std::string service, backend;
  std::vector<Listener> listeners;
  Holder holder;
};
class FindHolder : public testing::TestWithParam<HolderCase> {};

TEST_P(FindHolder, WhoseSocketsWouldTakeTheConnection) {
  const auto& c = GetParam();
  std::vector<Listener> listeners = c.listeners;
  std::sort(listeners.begin(), listeners.end());
  EXPECT_EQ(find_holder(wanted_of(c.service, c.backend), listeners, kThisHost), c.holder);
}

INSTANTIATE_TEST_SUITE_P(
    Cases, FindHolder,
    testing::Values(
        HolderCase{"own",
                   "127.0.0.1:80",
                   "127.0.0.1:9000",
                   {socket_of("127.0.0.1:9000", kPostgres)},
                   {Kind::Own}},
        HolderCase{"nothing", "127.0.0.1:80", "127.0.0.1:9000", {}, {Kind::Nothing}},
        HolderCase{"another_user",
                   "127.0.0.1:80",
                   "127.0.0.1:9000",
                   {socket_of("127.0.0.1:9000", kIntruder)},
                   {Kind::Other, kIntruder}},
        HolderCase{"root_is_another_user",
                   "127.0.0.1:80",
                   "127.0.0.1:9000",
                   {socket_of("127.0.0.1:9000", 0)},
                   {Kind::Other, 0}},
        HolderCase{"shared_by_two_of_its_user",
                   "127.0.0.1:80",
                   "127.0.0.1:9000",
                   {socket_of("127.0.0.1:9000", kPostgres), socket_of("0.0.0.0:9000", kPostgres)},
                   {Kind::Own}},
        HolderCase{"shared_with_another_user",
                   "127.0.0.1:80",
                   "127.0.0.1:9000",
                   {socket_of("127.0.0.1:9000", kPostgres), socket_of("127.0.0.1:9000", kIntruder)},
                   {Kind::Other, kIntruder}},
        HolderCase{"wildcard_of_another_user_beside_its_own",
                   "127.0.0.1:80",
                   "127.0.0.1:9000",
                   {socket_of("127.0.0.1:9000", kPostgres), socket_of("[::]:9000", kIntruder)},
                   {Kind::Other, kIntruder}},
        HolderCase{"any_v4",
                   "127.0.0.1:80",
                   "127.0.0.1:9000",
                   {socket_of("0.0.0.0:9000", kPostgres)},
                   {Kind::Own}},
        HolderCase{"any_v6_takes_v4",
                   "127.0.0.1:80",
                   "127.0.0.1:9000",
                   {socket_of("[::]:9000", kIntruder)},
                   {Kind::Other, kIntruder}},
        HolderCase{"v6only_takes_no_v4",
                   "127.0.0.1:80",
                   "127.0.0.1:9000",
                   {socket_of("[::]:9000", kIntruder, true)},
                   {Kind::Nothing}},
        HolderCase{"v6_backend",
                   "127.0.0.1:80",
                   "[::1]:9000",
                   {socket_of("0.0.0.0:9000", kIntruder), socket_of("[::]:9000", kPostgres, true)},
                   {Kind::Own}},
        HolderCase{"other_port_and_other_address",
                   "127.0.0.1:80",
                   "127.0.0.1:9000",
                   {socket_of("127.0.0.1:9001", kIntruder), socket_of("127.0.0.2:9000", kIntruder)},
                   {Kind::Nothing}},
        HolderCase{"address_of_the_host",
                   "127.0.0.1:80",
                   "10.0.0.1:9000",
                   {socket_of("10.0.0.1:9000", kPostgres), socket_of("127.0.0.1:9000", kIntruder)},
                   {Kind::Own}},
        HolderCase{"address_of_another_host",
                   "127.0.0.1:80",
                   "10.0.0.2:9000",
                   {socket_of("0.0.0.0:9000", kPostgres)},
                   {Kind::Elsewhere}},
        HolderCase{
            "tcp_is_not_udp",
            "udp://127.0.0.1:53",
            "127.0.0.1:9000",
            {socket_of("127.0.0.1:9000", kIntruder), socket_of("udp://127.0.0.1:9000", kPostgres)},
            {Kind::Own}}),
    [](const auto& c) { return c.param.name; });

TEST(FindHolderOf, AnAddressWhileThoseOfTheHostAreNotKnown) {
  const std::vector<Listener> all{socket_of("0.0.0.0:9000", kPostgres)};
  EXPECT_EQ(find_holder(wanted_of("127.0.0.1:80", "10.0.0.1:9000"), all, {}).kind, Kind::Unknown);
  EXPECT_EQ(find_holder(wanted_of("127.0.0.1:80", "127.0.0.1:9000"), all, {}).kind, Kind::Own);
}

class OwnersTest : public testing::Test {
 protected:
  OwnersTest() {
    auto sink = std::make_shared<spdlog::sinks::ostream_sink_st>(log_);
    sink->set_pattern("%l %v");
    before_ = spdlog::default_logger();
    spdlog::set_default_logger(std::make_shared<spdlog::logger>("owners", std::move(sink)));
  }
  ~OwnersTest() override { spdlog::set_default_logger(before_); }

  bool look(std::vector<Listener> listeners) {
    return owners_.looked(std::move(listeners), kThisHost, now_, now_);
  }
  bool fail_to_look() { return owners_.looked(fail(EPERM, "netlink dump"), kThisHost, now_, now_); }
  std::string verdict() const {
    const auto found = owners_.verdicts().find({key("127.0.0.1:80"), addr("127.0.0.1:9000")});
    return found == owners_.verdicts().end() ? "(none)" : found->second;
  }
  // What was logged since the last call.
  std::string log() {
    std::string out = log_.str();
    log_.str({});
    return out;
  }

  const WantedOwner web_ = wanted_of("127.0.0.1:80", "127.0.0.1:9000");
  const Listener alice_ = socket_of("127.0.0.1:9000", kPostgres);
  const Listener mallory_ = socket_of("127.0.0.1:9000", kIntruder);
  std::ostringstream log_;
  std::shared_ptr<spdlog::logger> before_;
  Owners owners_;
  Owners::Time now_{std::chrono::hours(1'000)};
};

TEST_F(OwnersTest, WantsALookAtWhatIsNew) {
  EXPECT_FALSE(owners_.want({}));
  EXPECT_FALSE(owners_.any());
  EXPECT_TRUE(owners_.want({web_}));
  EXPECT_TRUE(owners_.any());
  EXPECT_EQ(verdict(), "(none)");
  EXPECT_TRUE(look({alice_}));
  EXPECT_EQ(verdict(), "");
  EXPECT_FALSE(owners_.want({web_}));
  EXPECT_FALSE(look({alice_})) << "nothing has changed";
  EXPECT_TRUE(owners_.want({wanted_of("127.0.0.1:80", "127.0.0.1:9000", 7)})) << "another user";
  EXPECT_EQ(verdict(), "(none)");
  EXPECT_FALSE(owners_.want({}));
  EXPECT_THAT(owners_.verdicts(), IsEmpty());
}

TEST_F(OwnersTest, LooksAgainWhenTheHostsAddressesChange) {
  (void)owners_.want({web_});
  look({alice_});
  owners_.look_again();
  EXPECT_TRUE(owners_.want({web_}));
  EXPECT_TRUE(look({alice_}));
}

TEST_F(OwnersTest, SaysWhoHoldsThePortAndWhoIsWanted) {
  (void)owners_.want({web_});
  look({mallory_});
  EXPECT_EQ(verdict(), "port is held by uid 1005, wants uid 1001");
  EXPECT_THAT(owners_.unnamed(), UnorderedElementsAre(kPostgres, kIntruder));
  EXPECT_TRUE(owners_.named({{kPostgres, "postgres"}, {kIntruder, "mallory"}}));
  EXPECT_EQ(verdict(), "port is held by uid 1005 (mallory), wants uid 1001 (postgres)");
  EXPECT_THAT(owners_.unnamed(), IsEmpty());
  look({});
  EXPECT_EQ(verdict(), "nothing listens on the port, wants uid 1001 (postgres)");
  look({alice_});
  EXPECT_EQ(verdict(), "");
}

TEST_F(OwnersTest, AUserWithoutANameIsAskedForOnce) {
  (void)owners_.want({web_});
  look({alice_});
  EXPECT_THAT(owners_.unnamed(), ElementsAre(kPostgres));
  EXPECT_FALSE(owners_.named({{kPostgres, ""}}));
  EXPECT_THAT(owners_.unnamed(), IsEmpty());
}

TEST_F(OwnersTest, LogsEachChangeOnce) {
  (void)owners_.want({web_});
  look({alice_});
  look({alice_});
  EXPECT_EQ(log(), "") << "as it must be";
  look({mallory_});
  look({mallory_});
  EXPECT_EQ(log(),
            "warning audit=port-owner-wrong who=\"uid=1005\" from=\"socket-table\" "
            "what=\"127.0.0.1:9000 service=tcp://127.0.0.1:80\" "
            "why=\"port is held by uid 1005, wants uid 1001\" result=\"not-used\"\n");
  look({alice_});
  EXPECT_EQ(log(),
            "info audit=port-owner-back who=\"uid=1001\" from=\"socket-table\" "
            "what=\"127.0.0.1:9000 service=tcp://127.0.0.1:80\" why=\"\" result=\"used\"\n");
}

TEST_F(OwnersTest, WhoComesAndGoesWritesAFewLinesAMinute) {
  (void)owners_.want({web_});
  for (int i = 0; i < 100; ++i) {
    now_ += Owners::kInterval;
    look(i % 2 == 0 ? std::vector{mallory_} : std::vector{alice_});
  }
  const std::string lines = log();
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 2);
  now_ += Owners::kToldAgain;
  look({mallory_});
  EXPECT_THAT(log(), HasSubstr("port-owner-wrong"));
}

TEST_F(OwnersTest, WhileLooksFailTheLastVerdictStaysForAWhile) {
  (void)owners_.want({web_});
  look({alice_});
  now_ += Owners::kKept;
  EXPECT_FALSE(fail_to_look());
  EXPECT_EQ(verdict(), "");
  EXPECT_EQ(owners_.problem(),
            "who holds the ports of backends with uid cannot be read: netlink dump: Operation not "
            "permitted: for 10 s they stay as they were seen last, then they get no new "
            "connections");
  now_ += milliseconds(1);
  EXPECT_TRUE(fail_to_look());
  EXPECT_EQ(verdict(), "who holds the port cannot be found out, wants uid 1001");
  EXPECT_THAT(owners_.problem(), HasSubstr(": they get no new connections"));
  EXPECT_TRUE(look({alice_}));
  EXPECT_EQ(verdict(), "");
  EXPECT_EQ(owners_.problem(), "");
}

TEST_F(OwnersTest, WhatIsNewWhileLooksFailGetsNothing) {
  (void)owners_.want({web_});
  look({alice_});
  now_ += seconds(1);
  EXPECT_TRUE(owners_.want({web_, wanted_of("127.0.0.1:81", "127.0.0.1:9000")}));
  EXPECT_TRUE(fail_to_look());
  EXPECT_EQ(verdict(), "");
  EXPECT_THAT(owners_.verdicts().at({key("127.0.0.1:81"), addr("127.0.0.1:9000")}),
              HasSubstr("cannot be found out"));
}

TEST_F(OwnersTest, AnOlderLookThatComesLaterSaysNothing) {
  (void)owners_.want({web_});
  look({mallory_});
  EXPECT_FALSE(owners_.looked(std::vector{alice_}, kThisHost, now_ - milliseconds(1), now_));
  EXPECT_THAT(verdict(), HasSubstr("held by uid 1005"));
}

TEST_F(OwnersTest, ABackendElsewhereIsNamedWithFileAndService) {
  (void)owners_.want({wanted_of("127.0.0.1:80", "10.0.0.2:9000")});
  look({});
  EXPECT_THAT(owners_.warnings(),
              ElementsAre("/etc/lbd/web.toml: service web (tcp://127.0.0.1:80): backend "
                          "10.0.0.2:9000 gets no new connections: uid is for backends at an "
                          "address of this host, and this is none"));
}

}  // namespace
}  // namespace lb
