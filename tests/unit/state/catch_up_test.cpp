#include "state/catch_up.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fmt/format.h>

#include "support/snapshot_builder.h"

namespace lb {
namespace {

using testing::ElementsAre;
using namespace std::chrono_literals;

class CatchUp : public testing::Test {
 protected:
  void programmed(std::string_view address, std::uint32_t weight, bool drained = false) {
    ObservedBackend b;
    b.address = Address::parse(address).value();
    b.listed = true;
    b.weight = weight;
    b.drained = drained;
    kernel_.services.front().backends.push_back(b);
  }
  // "ADDRESS STATE/REASON WEIGHT" of each backend of the one service; "as saved" when nothing differs.
  std::vector<std::string> caught_up(std::vector<Backend> saved) {
    const auto out = catch_up(snapshot({offered("127.0.0.1:80", std::move(saved))}), kernel_,
                              {drains_, departures_, down_});
    if (!out) return {"as saved"};
    std::vector<std::string> lines;
    for (const Backend& b : out->services.front()->backends)
      lines.push_back(fmt::format("{} {} {}", b.address.to_string(), to_string(b.state), b.weight));
    origin_ = out->services.front()->origin;
    return lines;
  }

  Observed kernel_{{{.key = ServiceKey::parse("127.0.0.1:80").value(),
                     .addresses = {IpAddress::v4(0x7f000001)},
                     .backends = {}}}};
  Drains drains_;
  Departures departures_{10s};
  HealthVerdicts down_;
  std::string origin_;
};

TEST_F(CatchUp, SaysNothingWhereDiskAndKernelAgree) {
  programmed("10.0.0.1:80", 1);
  EXPECT_THAT(caught_up({listed("10.0.0.1:80")}), ElementsAre("as saved"));
}

TEST_F(CatchUp, WhatCameAndWasNotSavedStaysInUse) {
  programmed("10.0.0.1:80", 1);
  programmed("10.0.0.2:80", 1);
  EXPECT_THAT(caught_up({listed("10.0.0.1:80")}),
              ElementsAre("10.0.0.1:80 active 100", "10.0.0.2:80 active 100"));
  EXPECT_EQ(origin_, "test.toml");
}

TEST_F(CatchUp, WhatLeftAndWasNotSavedDoesNotComeBack) {
  programmed("10.0.0.1:80", 1);
  programmed("10.0.0.2:80", 0);
  EXPECT_THAT(
      caught_up({listed("10.0.0.1:80"), listed("10.0.0.2:80"), listed("10.0.0.3:80")}),
      ElementsAre("10.0.0.1:80 active 100", "10.0.0.2:80 active 0", "10.0.0.3:80 active 0"));
}

TEST_F(CatchUp, WhatIsOutForAKnownReasonIsAsSaved) {
  programmed("10.0.0.1:80", 1);
  programmed("10.0.0.2:80", 0);        // down by a check
  programmed("10.0.0.3:80", 0, true);  // its drain was ended, and that is on disk
  programmed("10.0.0.4:80", 0);        // drained
  down_[{kernel_.services.front().key, Address::parse("10.0.0.2:80").value()}] = {false, {}, {}};
  ASSERT_TRUE(drains_.add({.target = Address::parse("10.0.0.4:80").value(),
                           .service = std::nullopt,
                           .since = SysTime{},
                           .terminate_at = std::nullopt,
                           .ids = {}}));
  EXPECT_THAT(caught_up({listed("10.0.0.1:80"), listed("10.0.0.2:80"), listed("10.0.0.3:80"),
                         listed("10.0.0.4:80")}),
              ElementsAre("as saved"));
}

TEST_F(CatchUp, WhatIsOutWithAUidIsAsSaved) {
  programmed("127.0.0.1:80", 0);
  Backend owned = listed("127.0.0.1:80");
  owned.uid = 1001;
  EXPECT_THAT(caught_up({owned}), ElementsAre("as saved"));
}

TEST_F(CatchUp, AVerdictThatTheKernelContradictsIsOld) {
  programmed("10.0.0.1:80", 1);
  EXPECT_THAT(caught_up({listed("10.0.0.1:80", BackendState::Stale, Reason::NeverSeen)}),
              ElementsAre("10.0.0.1:80 active 100"));
}

TEST_F(CatchUp, APortThatAnotherOriginHasGotIsAllItsOwn) {
  programmed("10.0.0.8:80", 1);
  programmed("10.0.0.9:80", 1);
  EXPECT_THAT(caught_up({listed("10.0.0.1:80")}),
              ElementsAre("10.0.0.8:80 active 100", "10.0.0.9:80 active 100"));
  EXPECT_EQ(origin_, "");
}

TEST_F(CatchUp, AServiceThatTheKernelDoesNotHaveIsAsSaved) {
  kernel_.services.clear();
  EXPECT_THAT(caught_up({listed("10.0.0.1:80")}), ElementsAre("as saved"));
}

// Both were the last resort, and the one of which the file knows better would leave the other without anything.
TEST_F(CatchUp, ALastResortThatIsInUseStaysSoBesideWhatIsNone) {
  programmed("10.0.0.1:80", 1);
  programmed("10.0.0.2:80", 1);
  Backend failed = listed("10.0.0.2:80");
  failed.state = BackendState::Exited;
  failed.reason = Reason::Unreachable;
  EXPECT_THAT(caught_up({listed("10.0.0.1:80"), failed}),
              ElementsAre("10.0.0.1:80 active 100", "10.0.0.2:80 active 100"));
}

TEST_F(CatchUp, AVerdictThatTheKernelContradictsIsOlder) {
  programmed("10.0.0.1:80", 1);
  programmed("10.0.0.2:80", 0);
  const ServiceKey web = kernel_.services.front().key;
  const HealthVerdicts down{{{web, Address::parse("10.0.0.1:80").value()}, {.up = false}},
                            {{web, Address::parse("10.0.0.2:80").value()}, {.up = false}}};
  const HealthVerdicts left = not_contradicted(down, kernel_);
  ASSERT_EQ(left.size(), 1U);
  EXPECT_EQ(left.begin()->first.second.to_string(), "10.0.0.2:80");
  // All are in use when all are down.
  kernel_.services.front().backends.back().weight = 1;
  EXPECT_EQ(not_contradicted(down, kernel_).size(), 2U);
}

}  // namespace
}  // namespace lb
