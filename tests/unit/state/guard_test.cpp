#include "state/guard.h"

#include <gtest/gtest.h>

#include "support/snapshot_builder.h"

namespace lb {
namespace {

using namespace std::chrono_literals;

const Guard::TimePoint kStart{1h};

ServicePtr web(int backends, std::string_view at = "127.0.0.1:80") {
  std::vector<Backend> list;
  for (int i = 1; i <= backends; ++i) list.push_back(listed("10.0.0." + std::to_string(i) + ":80"));
  return offered(at, std::move(list));
}

Snapshot guarded(std::vector<ServicePtr> services) {
  return snapshot(std::move(services), Absence::Guarded);
}

std::size_t backends_in(const Snapshot& s) {
  std::size_t count = 0;
  for (const auto& service : s.services) count += service->backends.size();
  return count;
}

// How many of `before` backends stay in use when a listing has only `after` of them.
struct LossCase {
  const char* name;
  int before, after, kept;
};

class Loss : public testing::TestWithParam<LossCase> {};

TEST_P(Loss, OfAGuardedListing) {
  Guard guard;
  guard.restore(snapshot({web(GetParam().before)}));
  const auto verdict = guard.admit(guarded({web(GetParam().after)}), kStart);
  EXPECT_EQ(backends_in(verdict.admitted), static_cast<std::size_t>(GetParam().kept));
  EXPECT_EQ(verdict.held, static_cast<std::size_t>(GetParam().kept - GetParam().after));
  EXPECT_EQ(guard.held().has_value(), verdict.held > 0);
}

TEST_P(Loss, OfABelievedListingPasses) {
  Guard guard;
  guard.restore(snapshot({web(GetParam().before)}));
  const auto verdict = guard.admit(snapshot({web(GetParam().after)}), kStart);
  EXPECT_EQ(backends_in(verdict.admitted), static_cast<std::size_t>(GetParam().after));
  EXPECT_FALSE(guard.held());
}

INSTANTIATE_TEST_SUITE_P(
    Cases, Loss,
    testing::Values(LossCase{"nothing", 6, 6, 6}, LossCase{"half_is_not_more_than_half", 6, 3, 3},
                    LossCase{"four_of_six", 6, 2, 6}, LossCase{"all_of_six", 6, 0, 6},
                    LossCase{"two_of_three_are_too_few", 3, 1, 1},
                    LossCase{"all_of_three", 3, 0, 3}, LossCase{"all_of_two", 2, 0, 2},
                    LossCase{"one_of_two", 2, 1, 1}, LossCase{"the_only_one", 1, 0, 1},
                    LossCase{"growth", 2, 5, 5}),
    [](const auto& c) { return std::string(c.param.name); });

class GuardTest : public testing::Test {
 protected:
  GuardTest() { guard_.restore(snapshot({web(6)})); }
  std::size_t admit(const Snapshot& s, std::chrono::milliseconds at) {
    return backends_in(guard_.admit(s, kStart + at).admitted);
  }
  std::size_t recheck(std::chrono::milliseconds at) {
    return backends_in(guard_.recheck(kStart + at).admitted);
  }
  Guard guard_;
};

TEST_F(GuardTest, WithoutAnythingBeforeAllIsAdmitted) {
  Guard fresh;
  EXPECT_EQ(backends_in(fresh.admit(guarded({web(2)}), kStart).admitted), 2U);
  EXPECT_EQ(backends_in(fresh.admit(guarded({}), kStart).admitted), 2U) << "the first one counts";
}

TEST_F(GuardTest, SecondReadingAfterConfirmReleases) {
  EXPECT_EQ(admit(guarded({web(1)}), 0s), 6U);
  EXPECT_EQ(guard_.next_deadline(), kStart + 10s);
  EXPECT_EQ(admit(guarded({web(1)}), 9'999ms), 6U);
  const auto verdict = guard_.admit(guarded({web(1)}), kStart + 10s);
  EXPECT_EQ(backends_in(verdict.admitted), 1U);
  EXPECT_EQ(verdict.released, 5U);
  EXPECT_FALSE(guard_.held());
  EXPECT_FALSE(guard_.next_deadline());
}

TEST_F(GuardTest, RecheckStandsInForASourceThatHasNothingNewToSay) {
  admit(guarded({web(1)}), 0s);
  EXPECT_EQ(recheck(5s), 6U);
  EXPECT_EQ(recheck(10s), 1U);
  EXPECT_EQ(recheck(20s), 1U);
}

TEST_F(GuardTest, BackendsThatAreKnownToHaveEndedAreNotMissed) {
  Snapshot ended = guarded({web(1)});
  ended.gone = {"10.0.0.3:80"};
  EXPECT_EQ(admit(ended, 0s), 5U) << "the four others are held";
  ended.gone = {"10.0.0.3:80", "10.0.0.5:80"};
  EXPECT_EQ(admit(ended, 1s), 4U) << "what was held ends, too";
}

TEST_F(GuardTest, NothingIsReleasedByTimeAlone) {
  admit(guarded({web(1)}), 0s);
  EXPECT_EQ(backends_in(*guard_.accepted()), 6U);
  EXPECT_TRUE(guard_.held());
}

TEST_F(GuardTest, ReadingThatHasThemAgainEndsTheHold) {
  admit(guarded({web(1)}), 0s);
  EXPECT_EQ(admit(guarded({web(6)}), 5s), 6U);
  EXPECT_FALSE(guard_.held());
  EXPECT_EQ(admit(guarded({web(1)}), 12s), 6U) << "the next loss waits its own time";
}

TEST_F(GuardTest, TheRestOfALossStaysHeldWhileTheOthersComeBackOneByOne) {
  admit(guarded({web(1)}), 0s);
  for (int back = 2; back < 6; ++back) EXPECT_EQ(admit(guarded({web(back)}), 1s), 6U) << back;
  EXPECT_EQ(guard_.held()->backends.size(), 1U);
  EXPECT_EQ(recheck(9s), 6U);
  EXPECT_EQ(recheck(10s), 5U);
  EXPECT_FALSE(guard_.held());
}

TEST_F(GuardTest, LossesOneByOneAreOneLoss) {
  for (int left = 5; left > 2; --left)
    EXPECT_EQ(admit(guarded({web(left)}), std::chrono::seconds(5 - left)), std::size_t(left));
  EXPECT_EQ(admit(guarded({web(2)}), 3s), 6U) << "the first ones are back";
  EXPECT_EQ(guard_.held()->of, 6U);
  EXPECT_EQ(recheck(9s), 6U);
  EXPECT_EQ(recheck(10s), 5U) << "each is confirmed by its own time";
  EXPECT_EQ(recheck(13s), 2U);
}

TEST_F(GuardTest, LossesFarApartAreEachPlausible) {
  for (int left = 5; left > 1; --left)
    EXPECT_EQ(admit(guarded({web(left)}), std::chrono::seconds(10 * (5 - left))),
              std::size_t(left));
  EXPECT_FALSE(guard_.held());
}

TEST_F(GuardTest, WhatCameBackCountsNoMore) {
  admit(guarded({web(4)}), 0s);
  admit(guarded({web(6)}), 1s);
  EXPECT_EQ(admit(guarded({web(4)}), 2s), 4U);
}

TEST_F(GuardTest, EvidenceIsBelievedWhateverPassedBefore) {
  admit(guarded({web(4)}), 0s);
  EXPECT_EQ(admit(snapshot({web(1)}), 1s), 1U);
  EXPECT_FALSE(guard_.held());
}

TEST_F(GuardTest, AdditionsAndChangesApplyWhileAbsencesAreHeld) {
  Service changed = *web(1);
  changed.name = "renamed";
  changed.backends[0].weight = 7;
  changed.backends.push_back(listed("10.9.9.9:80"));
  const auto verdict = guard_.admit(
      guarded({std::make_shared<const Service>(changed), web(1, "127.0.0.1:81")}), kStart);
  ASSERT_EQ(verdict.admitted.services.size(), 2U);
  const Service& service = *verdict.admitted.services[0];
  EXPECT_EQ(service.name, "renamed");
  EXPECT_EQ(service.backends.size(), 7U);
  EXPECT_EQ(service.backends.front().weight, 7U);
  EXPECT_TRUE(std::is_sorted(service.backends.begin(), service.backends.end(),
                             [](auto& a, auto& b) { return a.address < b.address; }));
}

TEST_F(GuardTest, AdditionsDoNotDiluteTheLoss) {
  Service moved = *web(1);
  for (int i = 1; i <= 20; ++i)
    moved.backends.push_back(listed("10.1.0." + std::to_string(i) + ":80"));
  const Snapshot next = guarded({std::make_shared<const Service>(moved)});
  EXPECT_EQ(admit(next, 0s), 26U);
  EXPECT_EQ(admit(next, 1s), 26U);
  EXPECT_EQ(admit(next, 10s), 21U);
}

TEST_F(GuardTest, WholeServiceIsHeldUnchanged) {
  const ServicePtr before = guard_.accepted()->services[0];
  const auto verdict = guard_.admit(guarded({}), kStart);
  ASSERT_EQ(verdict.admitted.services.size(), 1U);
  EXPECT_EQ(verdict.admitted.services[0], before) << "the same pointer";
}

TEST_F(GuardTest, LossOfWholeServicesIsCountedOverTheSource) {
  guard_.restore(snapshot({web(1, "127.0.0.1:1"), web(1, "127.0.0.1:2"), web(1, "127.0.0.1:3"),
                           web(1, "127.0.0.1:4")}));
  const auto verdict = guard_.admit(guarded({web(1, "127.0.0.1:3")}), kStart);
  EXPECT_EQ(verdict.admitted.services.size(), 4U);
  EXPECT_EQ(verdict.held, 3U);
}

TEST_F(GuardTest, BelievedAbsenceSaysNothingAboutOneThatWasDoubtfulBefore) {
  admit(guarded({web(1)}), 0s);
  // An operator adds something by hand; the five are still not there.
  EXPECT_EQ(admit(snapshot({web(1), web(1, "127.0.0.1:81")}), 1s), 7U);
  EXPECT_EQ(recheck(10s), 2U);
}

TEST_F(GuardTest, BelievedAbsencePassesBesideHeldOnes) {
  admit(guarded({web(1)}), 0s);
  EXPECT_EQ(admit(snapshot({}), 1s), 5U);
}

TEST_F(GuardTest, LaterAbsenceWaitsItsOwnTime) {
  admit(guarded({web(2)}), 0s);
  admit(guarded({web(1)}), 4s);
  EXPECT_EQ(recheck(10s), 2U) << "four are confirmed, the fifth was missing for 6 s only";
  EXPECT_EQ(guard_.next_deadline(), kStart + 14s);
  EXPECT_EQ(recheck(14s), 1U);
}

TEST_F(GuardTest, OperatorCanAccept) {
  admit(guarded({web(1)}), 0s);
  EXPECT_EQ(backends_in(guard_.accept()), 1U);
  EXPECT_FALSE(guard_.held());
  EXPECT_EQ(backends_in(guard_.accept()), 1U) << "accepting again changes nothing";
}

TEST_F(GuardTest, StatusTellsWhatIsHeldAndWhatToDo) {
  admit(guarded({web(1)}), 0s);
  const auto held = guard_.held();
  ASSERT_TRUE(held);
  EXPECT_EQ(held->backends.size(), 5U);
  EXPECT_EQ(held->backends.front().second.id, "10.0.0.2:80");
  EXPECT_EQ(held->of, 6U);
  EXPECT_EQ(held->since, kStart);
  EXPECT_EQ(held->text,
            "5 of 6 backends are missing in the last reading: kept until a reading 10s later lacks "
            "them too, or until `lbctl resync --accept`");
}

// --- nothing at all is left

TEST_F(GuardTest, LosingEverythingIsHeldForMinutes) {
  EXPECT_EQ(admit(guarded({}), 0s), 6U);
  EXPECT_TRUE(guard_.held()->total);
  EXPECT_EQ(guard_.held()->text,
            "6 of 6 backends are missing in the last reading, all of the source were, and nothing "
            "tells of their end: kept until a reading 10m later lacks them too, or until `lbctl "
            "resync --accept`");
  EXPECT_EQ(guard_.next_deadline(), kStart + 10min);
  EXPECT_EQ(recheck(10min - 1ms), 6U);
  EXPECT_EQ(recheck(10min), 0U);
}

TEST_F(GuardTest, AServiceWithoutBackendsIsNothingToo) {
  EXPECT_EQ(admit(guarded({web(0)}), 0s), 6U);
  EXPECT_TRUE(guard_.held()->total);
}

TEST_F(GuardTest, LosingEverythingByEvidenceIsBelievedAtOnce) {
  Snapshot ended = guarded({});
  for (int i = 1; i <= 6; ++i) ended.gone.push_back("10.0.0." + std::to_string(i) + ":80");
  EXPECT_EQ(admit(ended, 0s), 0U);
  EXPECT_FALSE(guard_.held());
}

TEST_F(GuardTest, ALossThatGrowsToEverythingIsHeldAsThat) {
  admit(guarded({web(1)}), 0s);
  EXPECT_FALSE(guard_.held()->total);
  EXPECT_EQ(admit(guarded({}), 5s), 6U);
  EXPECT_EQ(recheck(20s), 6U);
  EXPECT_TRUE(guard_.held()->total);
}

TEST_F(GuardTest, AStoreThatFillsUpAgainLosesNoneOfTheLast) {
  admit(guarded({}), 0s);
  for (int back = 1; back < 6; ++back)
    EXPECT_EQ(admit(guarded({web(back)}), back * 1min), 6U) << back;
  EXPECT_EQ(recheck(10min), 5U);
}

TEST_F(GuardTest, ASingleLeaseThatRunsOutIsItsOwnSilence) {
  guard_.restore(snapshot({web(1)}));
  Snapshot lapsed = guarded({});
  lapsed.lapses = true;
  EXPECT_EQ(admit(lapsed, 0s), 1U);
  EXPECT_EQ(recheck(1s), 0U);
  guard_.restore(snapshot({web(2)}));
  EXPECT_EQ(admit(lapsed, 5s), 2U);
  EXPECT_TRUE(guard_.held()->total) << "two at once are a loss";
}

TEST_F(GuardTest, WhatItsSourceWasTakingAwayIsNoLoss) {
  Service leaving = *web(1);
  leaving.backends[0].state = BackendState::Draining;
  leaving.backends[0].reason = Reason::Source;
  guard_.restore(snapshot({std::make_shared<const Service>(leaving)}));
  EXPECT_EQ(admit(guarded({}), 0s), 0U);
}

// --- of one service

TEST_F(GuardTest, TheLastUsableBackendOfAServiceWaitsForASecondReading) {
  guard_.restore(snapshot({web(6), web(1, "127.0.0.1:81")}));
  EXPECT_EQ(admit(guarded({web(6)}), 0s), 7U);
  EXPECT_EQ(guard_.next_deadline(), kStart + 1s);
  EXPECT_EQ(admit(guarded({web(6)}), 999ms), 7U);
  EXPECT_EQ(admit(guarded({web(6)}), 1s), 6U);
}

TEST_F(GuardTest, ABackendThatIsDownIsNoReplacementForTheLastUsableOne) {
  Service two = *web(2);
  two.backends[1].state = BackendState::Down;
  Service one = two;
  one.backends.erase(one.backends.begin());
  guard_.restore(snapshot({std::make_shared<const Service>(two), web(6, "127.0.0.1:81")}));
  const Snapshot next = guarded({std::make_shared<const Service>(one), web(6, "127.0.0.1:81")});
  EXPECT_EQ(admit(next, 0s), 8U);
  EXPECT_EQ(recheck(1s), 7U);
}

TEST_F(GuardTest, AShareIsJudgedWithinEachServiceToo) {
  guard_.restore(snapshot({web(6), web(50, "127.0.0.1:81")}));
  EXPECT_EQ(admit(guarded({web(2), web(50, "127.0.0.1:81")}), 0s), 56U) << "4 of 6, of 56 in all";
  EXPECT_EQ(recheck(9s), 56U);
  EXPECT_EQ(recheck(10s), 52U);
}

TEST_F(GuardTest, TasksThatWereReplacedAreNoLossOfTheirService) {
  std::vector<Backend> fresh;
  for (int i = 1; i <= 3; ++i) fresh.push_back(listed("10.7.0." + std::to_string(i) + ":80"));
  guard_.restore(snapshot({web(3), web(50, "127.0.0.1:81")}));
  EXPECT_EQ(admit(guarded({offered("127.0.0.1:80", fresh), web(50, "127.0.0.1:81")}), 0s), 53U);
  EXPECT_FALSE(guard_.held());
}

TEST_F(GuardTest, LossesOfAServiceOneByOneAreOneLoss) {
  guard_.restore(snapshot({web(6), web(50, "127.0.0.1:81")}));
  for (int left = 5; left > 2; --left)
    EXPECT_EQ(admit(guarded({web(left), web(50, "127.0.0.1:81")}), std::chrono::seconds(5 - left)),
              50U + std::size_t(left));
  EXPECT_EQ(admit(guarded({web(2), web(50, "127.0.0.1:81")}), 3s), 56U);
}

// --- readings of a source that polls

Snapshot polled(std::vector<ServicePtr> services, std::chrono::milliseconds at) {
  Snapshot out = guarded(std::move(services));
  out.polled_at = kStart + at;
  return out;
}

TEST_F(GuardTest, OneReadingConfirmsNothingHoweverOftenItIsDelivered) {
  EXPECT_EQ(admit(polled({web(1)}, 0s), 0s), 6U);
  EXPECT_EQ(admit(polled({web(1)}, 0s), 60s), 6U) << "a name was resolved, and nothing was read";
  EXPECT_EQ(guard_.next_deadline(), std::nullopt);
  EXPECT_EQ(recheck(60s), 6U);
  EXPECT_EQ(admit(polled({web(1)}, 9s), 61s), 6U) << "it began too early";
  EXPECT_EQ(admit(polled({web(1)}, 61s), 62s), 1U);
}

TEST_F(GuardTest, OtherOptionsKeepWhatIsHeld) {
  admit(guarded({web(1)}), 0s);
  guard_.set_options({.confirm = 20s});
  EXPECT_EQ(guard_.next_deadline(), kStart + 20s);
  EXPECT_EQ(recheck(19s), 6U);
  EXPECT_EQ(recheck(20s), 1U);
}

TEST_F(GuardTest, LimitsAreThoseOfTheConfiguration) {
  Guard strict({.max_loss_percent = 10, .min_missing = 1, .confirm = 0ms});
  strict.restore(snapshot({web(6)}));
  EXPECT_EQ(strict.admit(guarded({web(5)}), kStart).held, 1U);
  EXPECT_EQ(strict.recheck(kStart).held, 0U) << "confirm 0: the second reading is enough";
  Guard lax({.max_loss_percent = 100, .min_missing = 3});
  lax.restore(snapshot({web(6)}));
  EXPECT_EQ(lax.admit(guarded({web(1)}), kStart).held, 0U);
  lax.restore(snapshot({web(6)}));
  EXPECT_EQ(lax.admit(guarded({}), kStart).held, 6U) << "all of two and more, whatever the limit";
}

// The one beside it is drained, or down by lbd's own checks: the source does not know.
TEST_F(GuardTest, TheLastInUseIsHeldBesideOneThatIsNotUsed) {
  Guard guard;
  guard.restore(snapshot({web(2)}));
  guard.set_unused(
      {{ServiceKey::parse("127.0.0.1:80").value(), Address::parse("10.0.0.1:80").value()}});
  EXPECT_EQ(guard.admit(guarded({web(1)}), kStart).held, 1U);
  EXPECT_EQ(guard.recheck(kStart + Guard::kAgain).held, 0U) << "a second reading agrees";
}

}  // namespace
}  // namespace lb
