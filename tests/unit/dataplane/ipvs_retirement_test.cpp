#include "dataplane/ipvs_retirement.h"

#include <gmock/gmock.h>

#include <cerrno>

namespace lb {
namespace {

using namespace std::chrono_literals;
using ipvs::ServiceId;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

Address backend(std::string_view text) { return *Address::parse(text); }

const ServiceId kService = ServiceId::of(*ServiceKey::parse("127.0.0.1:8080"));
const ServiceId kUdpService = ServiceId::of(*ServiceKey::parse("udp://127.0.0.1:8080"));
const ServiceId kOtherService = ServiceId::of(*ServiceKey::parse("127.0.0.1:8081"));
const ServiceId kMarked = ServiceId::of_mark(0x5a000001, false);
const Address kGoing = backend("10.9.0.11:9000");
const Address kStaying = backend("10.9.0.12:9000");

struct Counts {
  std::uint32_t active = 0, inactive = 0, weight = 0;
};

IpvsServer server(const ServiceId& service, const Address& address, const Counts& counts) {
  return {
      service,
      {{address, counts.weight, ipvs::Forwarding::Masquerade}, counts.active, counts.inactive, 0}};
}

IpvsConnection connection(std::string state, const Address& to = kGoing,
                          const Address& service = backend("127.0.0.1:8080"),
                          Protocol protocol = Protocol::Tcp) {
  return {protocol, backend("169.254.213.2:40000"), service, to, std::move(state)};
}

class IpvsRetirementTest : public testing::Test {
 protected:
  // One round; what is deleted, of one service that lists kStaying alone.
  std::vector<IpvsRetirement::Id> round(const std::vector<IpvsServer>& servers) {
    retirement_.begin(now_);
    return more_of_the_round(servers);
  }
  std::vector<IpvsRetirement::Id> more_of_the_round(const std::vector<IpvsServer>& servers) {
    auto choice = retirement_.choose(servers, {kStaying});
    if (!choice) {
      error_ = choice.error().message();
      return {};
    }
    left_ = choice->left;
    return choice->unused;
  }
  bool goes(const Counts& counts, const ServiceId& service = kService) {
    return !round({server(service, kGoing, counts)}).empty();
  }
  // Idle for long enough that its connections are looked at, in this state.
  bool goes_with(const IpvsConnection& left, const ServiceId& service = kService) {
    connections_ = {left};
    EXPECT_FALSE(goes({.inactive = 1}, service));
    now_ += IpvsRetirement::kFarewell;
    return goes({.inactive = 1}, service);
  }

  IpvsRetirement::Clock::time_point now_{std::chrono::hours(1)};
  std::vector<IpvsConnection> connections_;
  int reads_ = 0;
  bool unreadable_ = false;
  bool left_ = false;
  std::string error_;
  IpvsRetirement retirement_{[this]() -> Result<std::vector<IpvsConnection>> {
    ++reads_;
    if (unreadable_) return fail(EACCES, "ip_vs_conn");
    return connections_;
  }};
};

TEST_F(IpvsRetirementTest, AServerWithoutConnectionsGoesAtOnceAndTheListIsNotRead) {
  EXPECT_THAT(round({server(kService, kGoing, {})}),
              ElementsAre(IpvsRetirement::Id{kService, kGoing}));
  EXPECT_FALSE(left_);
  EXPECT_EQ(reads_, 0);
}

TEST_F(IpvsRetirementTest, AListedServerStaysWithoutConnectionsAndAtWeightZero) {
  EXPECT_THAT(round({server(kService, kStaying, {}), server(kService, kGoing, {})}),
              ElementsAre(IpvsRetirement::Id{kService, kGoing}));
  EXPECT_FALSE(left_) << "what is listed is not waited for";
}

TEST_F(IpvsRetirementTest, AnActiveConnectionKeepsItsServerForEver) {
  for (int i = 0; i < 5; ++i, now_ += 1h) EXPECT_FALSE(goes({.active = 1}));
  EXPECT_TRUE(left_);
  EXPECT_EQ(reads_, 0);
}

TEST_F(IpvsRetirementTest, ActiveConnectionsKeepTheirServerWhateverTheListSays) {
  connections_ = {connection("TIME_WAIT")};
  for (int i = 0; i < 3; ++i, now_ += 10min) EXPECT_FALSE(goes({.active = 1, .inactive = 1}));
}

TEST_F(IpvsRetirementTest, AServerThatStillTakesConnectionsStays) {
  for (int i = 0; i < 3; ++i, now_ += 10min) {
    EXPECT_FALSE(goes({.weight = 1}));
    EXPECT_FALSE(goes({.inactive = 1, .weight = 1}));
  }
}

class IpvsRetirementState : public IpvsRetirementTest,
                            public testing::WithParamInterface<std::string> {};

// Half-closed, or being opened or closed: data may still flow. UDP's only state, too.
using OpenState = IpvsRetirementState;
TEST_P(OpenState, KeepsItsServerHoweverLongItLasts) {
  EXPECT_FALSE(goes_with(connection(GetParam())));
  for (int i = 0; i < 3; ++i, now_ += 10min) EXPECT_FALSE(goes({.inactive = 1}));
  EXPECT_TRUE(left_);
}
INSTANTIATE_TEST_SUITE_P(Ipvs, OpenState,
                         testing::Values("FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "ESTABLISHED",
                                         "SYN_SENT", "SYN_RECV", "SYNACK", "NONE", "UDP",
                                         "A_NEW_NAME"),
                         [](const auto& state) { return state.param; });

using EndedState = IpvsRetirementState;
TEST_P(EndedState, LetsItsServerGoAfterTheFarewell) {
  EXPECT_TRUE(goes_with(connection(GetParam())));
  EXPECT_FALSE(left_);
}
INSTANTIATE_TEST_SUITE_P(Ipvs, EndedState, testing::Values("TIME_WAIT", "CLOSE"),
                         [](const auto& state) { return state.param; });

TEST_F(IpvsRetirementTest, OneOpenConnectionAmongManyEndedKeepsItsServer) {
  connections_ = {connection("TIME_WAIT"), connection("CLOSE"), connection("FIN_WAIT")};
  EXPECT_FALSE(goes({.inactive = 3}));
  now_ += 10s;
  EXPECT_FALSE(goes({.inactive = 3}));
  connections_.pop_back();
  now_ += 1s;
  EXPECT_TRUE(goes({.inactive = 2}));
}

TEST_F(IpvsRetirementTest, TheFarewellBeginsWithTheEndOfTheLastActiveConnection) {
  connections_ = {connection("TIME_WAIT")};
  EXPECT_FALSE(goes({.active = 1}));
  now_ += 1h;
  EXPECT_FALSE(goes({.inactive = 1}));
  now_ += IpvsRetirement::kFarewell - 1ms;
  EXPECT_FALSE(goes({.inactive = 1}));
  EXPECT_EQ(reads_, 0);
  now_ += 1ms;
  EXPECT_TRUE(goes({.inactive = 1}));
}

TEST_F(IpvsRetirementTest, AnActiveConnectionInBetweenBeginsTheFarewellAgain) {
  connections_ = {connection("TIME_WAIT")};
  EXPECT_FALSE(goes({.inactive = 1}));
  now_ += 900ms;
  EXPECT_FALSE(goes({.active = 1}));
  now_ += 900ms;
  EXPECT_FALSE(goes({.inactive = 1}));
  now_ += 900ms;
  EXPECT_FALSE(goes({.inactive = 1}));
}

TEST_F(IpvsRetirementTest, BeingListedInBetweenBeginsTheFarewellAgain) {
  connections_ = {connection("TIME_WAIT", kStaying)};
  retirement_.begin(now_);
  EXPECT_THAT(
      retirement_.choose(std::vector{server(kService, kStaying, {.inactive = 1})}, {})->unused,
      IsEmpty());
  now_ += 900ms;
  EXPECT_THAT(round({server(kService, kStaying, {.inactive = 1})}), IsEmpty());
  now_ += 900ms;
  retirement_.begin(now_);
  EXPECT_THAT(
      retirement_.choose(std::vector{server(kService, kStaying, {.inactive = 1})}, {})->unused,
      IsEmpty());
}

TEST_F(IpvsRetirementTest, OnlyConnectionsOfThisServerAndThisServiceCount) {
  EXPECT_TRUE(goes_with(connection("FIN_WAIT", kStaying)));
  now_ += 1s;
  EXPECT_TRUE(goes_with(connection("FIN_WAIT", backend("10.9.0.11:9001"))));
  now_ += 1s;
  EXPECT_TRUE(goes_with(connection("FIN_WAIT", kGoing, backend("127.0.0.1:8081"))));
  now_ += 1s;
  EXPECT_TRUE(goes_with(connection("UDP", kGoing, backend("127.0.0.1:8080"), Protocol::Udp)));
  now_ += 1s;
  EXPECT_TRUE(goes_with(connection("FIN_WAIT"), kUdpService));
  now_ += 1s;
  EXPECT_FALSE(
      goes_with(connection("UDP", kGoing, backend("127.0.0.1:8080"), Protocol::Udp), kUdpService));
}

// Its clients connect to any address of the host, from outside or by its name.
TEST_F(IpvsRetirementTest, OfAMarkedServiceConnectionsByEveryAddressCount) {
  EXPECT_FALSE(goes_with(connection("CLOSE_WAIT", kGoing, backend("10.9.0.1:8090")), kMarked));
  EXPECT_FALSE(goes({.active = 1}, kMarked));
  EXPECT_TRUE(goes_with(connection("CLOSE_WAIT", kStaying, backend("10.9.0.1:8090")), kMarked));
  now_ += 1s;
  EXPECT_TRUE(goes_with(connection("TIME_WAIT", kGoing, backend("10.9.0.1:8090")), kMarked));
}

TEST_F(IpvsRetirementTest, TheListIsReadOnceInARoundAndAgainInTheNext) {
  connections_ = {connection("FIN_WAIT"),
                  connection("FIN_WAIT", kGoing, backend("127.0.0.1:8081"))};
  const std::vector web{server(kService, kGoing, {.inactive = 1})};
  const std::vector api{server(kOtherService, kGoing, {.inactive = 1})};
  round(web);
  more_of_the_round(api);
  EXPECT_EQ(reads_, 0) << "the farewell is not over";
  now_ += 2s;
  EXPECT_THAT(round(web), IsEmpty());
  EXPECT_THAT(more_of_the_round(api), IsEmpty());
  EXPECT_EQ(reads_, 1);
  connections_.clear();
  now_ += 1s;
  EXPECT_THAT(round(web), SizeIs(1)) << "by a new list";
  EXPECT_THAT(more_of_the_round(api), SizeIs(1));
  EXPECT_EQ(reads_, 2);
}

// As long as 20,000 connections it takes a while to read: then not before most have been forgotten.
TEST_F(IpvsRetirementTest, WhereTheListIsLongItIsReadAfterTimeWait) {
  connections_.assign(IpvsRetirement::kFew + 1, connection("TIME_WAIT", kStaying));
  connections_.push_back(connection("FIN_WAIT"));
  EXPECT_FALSE(goes({.inactive = 1}));
  const auto began = now_;
  now_ += 1s;
  EXPECT_FALSE(goes({.inactive = 1}));
  EXPECT_EQ(reads_, 1) << "now it is known to be long";
  connections_.pop_back();
  now_ = began + IpvsRetirement::kTimeWait - 1ms;
  EXPECT_FALSE(goes({.inactive = 1}));
  EXPECT_EQ(reads_, 1);
  now_ += 1ms;
  EXPECT_TRUE(goes({.inactive = 1}));
  EXPECT_EQ(reads_, 2);
}

TEST_F(IpvsRetirementTest, AlsoWhereTheListIsLongAnOpenConnectionKeepsItsServer) {
  connections_.assign(IpvsRetirement::kFew + 1, connection("TIME_WAIT", kStaying));
  connections_.push_back(connection("CLOSE_WAIT"));
  for (int i = 0; i < 5; ++i, now_ += IpvsRetirement::kTimeWait)
    EXPECT_FALSE(goes({.inactive = 1})) << i;
  EXPECT_GT(reads_, 2);
}

TEST_F(IpvsRetirementTest, WhereTheListIsShortAgainTheFarewellIsShortAgain) {
  connections_.assign(IpvsRetirement::kFew + 1, connection("FIN_WAIT"));
  goes({.inactive = 1});
  now_ += 1s;
  EXPECT_FALSE(goes({.inactive = 1}));
  connections_.resize(IpvsRetirement::kFew);
  now_ += IpvsRetirement::kTimeWait;
  EXPECT_FALSE(goes({.inactive = 1}));
  connections_.clear();
  now_ += 1s;
  EXPECT_TRUE(goes({.inactive = 1}));
}

TEST_F(IpvsRetirementTest, AListThatCannotBeReadDeletesNothing) {
  unreadable_ = true;
  EXPECT_FALSE(goes({.inactive = 1}));
  now_ += 1s;
  EXPECT_FALSE(goes({.inactive = 1}));
  EXPECT_THAT(error_, testing::HasSubstr("ip_vs_conn"));
  unreadable_ = false;
  now_ += 1s;
  EXPECT_TRUE(goes({.inactive = 1}));
}

TEST_F(IpvsRetirementTest, AtMostFiftyGoInASecondAndTheRestFollows) {
  std::vector<IpvsServer> many;
  for (int i = 0; i < 60; ++i)
    many.push_back(server(kService, {kGoing.ip, static_cast<Port>(1000 + i)}, {}));
  const std::span all(many);
  retirement_.begin(now_);
  EXPECT_THAT(retirement_.choose(all.first(40), {})->unused, SizeIs(40));
  auto second = retirement_.choose(all.subspan(40), {});
  EXPECT_THAT(second->unused, SizeIs(10));
  EXPECT_TRUE(second->left);
  now_ += 999ms;
  retirement_.begin(now_);
  EXPECT_THAT(retirement_.choose(all.subspan(50), {})->unused, IsEmpty());
  now_ += 1ms;
  retirement_.begin(now_);
  second = retirement_.choose(all.subspan(50), {});
  EXPECT_THAT(second->unused, SizeIs(10));
  EXPECT_FALSE(second->left);
}

}  // namespace
}  // namespace lb
