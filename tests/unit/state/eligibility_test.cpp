#include "state/eligibility.h"

#include <gtest/gtest.h>

#include "support/snapshot_builder.h"

namespace lb {
namespace {

struct Row {
  BackendState state;
  Reason reason;
  Eligibility eligibility;
};

class Table : public testing::TestWithParam<Row> {};

TEST_P(Table, IsThatOfTheDesign) {
  const Row& row = GetParam();
  EXPECT_EQ(eligibility(row.state, row.reason, 1), row.eligibility);
  EXPECT_EQ(eligibility(row.state, row.reason, 0), Eligibility::Never) << "weight 0";
}

INSTANTIATE_TEST_SUITE_P(
    Cases, Table,
    testing::Values(Row{BackendState::Active, Reason::None, Eligibility::Normal},
                    Row{BackendState::Unknown, Reason::NotVerified, Eligibility::Normal},
                    Row{BackendState::Draining, Reason::Source, Eligibility::LastResort},
                    Row{BackendState::Draining, Reason::Operator, Eligibility::Never},
                    Row{BackendState::Draining, Reason::Lingering, Eligibility::Never},
                    Row{BackendState::Draining, Reason::Weight, Eligibility::Never},
                    Row{BackendState::Down, Reason::ProbeFailed, Eligibility::FailOpen},
                    Row{BackendState::Down, Reason::Owner, Eligibility::Never},
                    Row{BackendState::Draining, Reason::Owner, Eligibility::Never},
                    Row{BackendState::Down, Reason::Unreachable, Eligibility::LastResort},
                    Row{BackendState::Down, Reason::SourceUnhealthy, Eligibility::Never},
                    Row{BackendState::Down, Reason::NotVerified, Eligibility::Never},
                    Row{BackendState::Unknown, Reason::NotSeen, Eligibility::Normal},
                    Row{BackendState::Exited, Reason::ConnectFailed, Eligibility::Never},
                    Row{BackendState::Exited, Reason::Unreachable, Eligibility::LastResort},
                    Row{BackendState::Stale, Reason::NotSeen, Eligibility::Never},
                    Row{BackendState::Stale, Reason::NeverSeen, Eligibility::Never},
                    Row{BackendState::Disabled, Reason::Disabled, Eligibility::Never}));

DesiredBackend in_state(BackendState state, Reason reason, std::uint32_t weight = 100) {
  DesiredBackend b;
  b.backend = listed("10.0.0.1:80", weight);
  b.state = state;
  b.reason = reason;
  b.effective_weight = 4711;  // whatever was there before
  return b;
}

DesiredBackend gone(BackendState before, Reason reason = Reason::None) {
  DesiredBackend b = in_state(BackendState::Draining, Reason::Source);
  b.backend.state = before;
  b.backend.reason = reason;
  b.departed = true;
  return b;
}

const DesiredBackend kActive = in_state(BackendState::Active, Reason::None);
const DesiredBackend kUnknown = in_state(BackendState::Unknown, Reason::NotVerified, 7);
const DesiredBackend kLeaving = in_state(BackendState::Draining, Reason::Source);
const DesiredBackend kDrained = in_state(BackendState::Draining, Reason::Operator);
const DesiredBackend kLingering = in_state(BackendState::Draining, Reason::Lingering);
const DesiredBackend kZero = in_state(BackendState::Draining, Reason::Weight, 0);
const DesiredBackend kLeavingZero = in_state(BackendState::Draining, Reason::Source, 0);
const DesiredBackend kDown = in_state(BackendState::Down, Reason::ProbeFailed);
const DesiredBackend kUnreachable = in_state(BackendState::Down, Reason::Unreachable);
const DesiredBackend kUnhealthy = in_state(BackendState::Down, Reason::SourceUnhealthy);
const DesiredBackend kUnverified = in_state(BackendState::Down, Reason::NotVerified);
const DesiredBackend kStale = in_state(BackendState::Stale, Reason::NotSeen);

struct Case {
  const char* name;
  std::vector<DesiredBackend> backends;
  std::vector<std::uint32_t> weights;
  Condition condition;
  const char* text;
};

class Assigned : public testing::TestWithParam<Case> {};

TEST_P(Assigned, WeightsAndSentence) {
  std::vector<DesiredBackend> backends = GetParam().backends;
  const Assignment assignment = assign_weights(backends);
  EXPECT_EQ(assignment.condition, GetParam().condition);
  EXPECT_EQ(assignment.text, GetParam().text);
  std::vector<std::uint32_t> weights;
  for (const auto& b : backends) weights.push_back(b.effective_weight);
  EXPECT_EQ(weights, GetParam().weights);
}

INSTANTIATE_TEST_SUITE_P(
    Cases, Assigned,
    testing::Values(
        Case{"normal_ones_share", {kActive, kUnknown}, {100, 7}, Condition::Ok, ""},
        Case{"others_wait",
             {kActive, kLeaving, kDrained, kDown, kStale, kZero, kUnreachable},
             {100, 0, 0, 0, 0, 0, 0},
             Condition::Ok,
             ""},
        Case{
            "last_resort",
            {kLeaving, kDrained, kLeavingZero},
            {100, 0, 0},
            Condition::LastResort,
            "no other backend is left (2 leaving its source, 1 drained by the operator): 1 backend "
            "leaving the source still takes connections"},
        Case{"last_resort_goes_before_fail_open",
             {kDown, kLeaving},
             {0, 100},
             Condition::LastResort,
             "no other backend is left (1 down by its probe, 1 leaving its source): 1 backend "
             "leaving the source still takes connections"},
        Case{"unreachable_ones_are_a_last_resort",
             {kUnreachable, kUnreachable, kUnhealthy},
             {100, 100, 0},
             Condition::LastResort,
             "no other backend is left (2 unreachable, 1 unhealthy by the checks of the source): 2 "
             "backends unreachable for the source still take connections"},
        Case{"both_last_resorts_share",
             {kUnreachable, kLeaving},
             {100, 100},
             Condition::LastResort,
             "no other backend is left (1 unreachable, 1 leaving its source): 2 backends leaving "
             "the source or unreachable still take connections"},
        Case{"those_that_failed_together_are_a_last_resort",
             {in_state(BackendState::Exited, Reason::Unreachable), kDrained, kDown, kStale},
             {100, 0, 0, 0},
             Condition::LastResort,
             "no other backend is left (1 unreachable, 1 drained by the operator, 1 down by its "
             "probe, 1 not seen for too long): 1 backend that failed together, so that this host's "
             "own network is the likelier fault, still takes connections"},
        Case{"fail_open",
             {kDown, kDown},
             {100, 100},
             Condition::FailOpen,
             "every usable backend is down by its probe (2 down by its probe): they stay in use, "
             "since the prober is the likelier fault"},
        Case{
            "fail_open_beside_those_that_never_come_in",
            {kDown, kDrained, kStale},
            {100, 0, 0},
            Condition::FailOpen,
            "every usable backend is down by its probe (1 down by its probe, 1 drained by the "
            "operator, 1 not seen for too long): it stays in use, since the prober is the likelier "
            "fault"},
        Case{
            "never",
            {kDrained, kLingering, kZero, kUnhealthy, kUnverified, kStale},
            {0, 0, 0, 0, 0, 0},
            Condition::NoBackends,
            "no usable backend (1 drained by the operator, 1 past its drain deadline, 1 of weight "
            "0, 1 unhealthy by the checks of the source, 1 not verified, 1 not seen for too long): "
            "connections are refused"},
        Case{"departed_is_a_last_resort",
             {gone(BackendState::Active)},
             {100},
             Condition::LastResort,
             "no other backend is left (1 leaving its source): 1 backend leaving the source still "
             "takes connections"},
        Case{"departed_after_it_was_stale_is_none",
             {gone(BackendState::Stale, Reason::NotSeen)},
             {0},
             Condition::NoBackends,
             "no usable backend (1 leaving its source): connections are refused"},
        Case{"none_listed",
             {},
             {},
             Condition::NoBackends,
             "the source lists no backends: connections are refused"}),
    [](const auto& c) { return std::string(c.param.name); });

}  // namespace
}  // namespace lb
