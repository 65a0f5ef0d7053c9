// Looks at backends that clients could not connect to, with probes that the test answers.
#include "health/suspects.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <vector>

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace lb {
namespace {

using namespace std::chrono_literals;

class Suspects : public testing::Test {
 protected:
  asio::awaitable<Result<>> answer(Address, HealthCheck check) {
    ++looks_;
    EXPECT_EQ(check.type, HealthCheck::Type::Tcp);
    timeout_ = check.timeout;
    if (error_ == 0) co_return Result<>();
    co_return fail(error_, "connect");
  }
  static ConnectFailure failure(std::string_view service = "tcp://127.0.0.1:80") {
    ConnectFailure out;
    out.service = ServiceKey::parse(service).value();
    out.backend = Address::parse("10.0.0.1:1").value();
    out.error = ETIMEDOUT;
    return out;
  }
  std::optional<std::chrono::milliseconds> on_look(const SuspectProber::Looked& looked) {
    if (looked.found)
      ++well_;
    else
      confirmed_.push_back(as_met(looked));
    if (again_.empty()) return std::nullopt;
    const auto next = again_.back();
    again_.pop_back();
    return next;
  }
  // Until nothing is under way and nothing rests.
  void run() {
    io_.restart();
    io_.run();
  }

  asio::io_context io_;
  int error_ = 0;
  int looks_ = 0;
  std::chrono::milliseconds timeout_{};
  std::vector<ConnectFailure> confirmed_;
  int well_ = 0;
  std::vector<std::chrono::milliseconds> again_;  // what is told next, last first
  SuspectProber suspects_{io_,
                          [this](const SuspectProber::Looked& looked) { return on_look(looked); },
                          [this](Address to, HealthCheck check) { return answer(to, check); }, 1ms};
};

TEST_F(Suspects, BackendThatAnswersIsNone) {
  suspects_.look(failure());
  run();
  EXPECT_EQ(looks_, 1);
  EXPECT_TRUE(confirmed_.empty());
  EXPECT_EQ(well_, 1);
  EXPECT_EQ(timeout_, SuspectProber::kTimeout);
}

TEST_F(Suspects, SynThatWasSentAgainIsLookedAtQuickly) {
  ConnectFailure failed = failure();
  failed.kind = ConnectFailure::Kind::SynRetransmitted;
  suspects_.look(failed);
  run();
  EXPECT_EQ(timeout_, SuspectProber::kQuickTimeout);
  suspects_.look(failed);
  suspects_.look(failure());
  run();
  EXPECT_EQ(timeout_, SuspectProber::kTimeout) << "who can wait longer is told more";
}

TEST_F(Suspects, LookIsRepeatedAsLongAsThatIsWanted) {
  error_ = ECONNREFUSED;
  again_ = {3ms, 2ms, 1ms};
  suspects_.look(failure());
  run();
  EXPECT_EQ(looks_, 4);
  EXPECT_EQ(confirmed_.size(), 4U);
}

TEST_F(Suspects, LaterLookGivesWayToAnEarlierOne) {
  suspects_.look_later(failure(), 1h);
  suspects_.look_later(failure("tcp://127.0.0.1:81"), 1h);
  suspects_.look(failure());
  while (well_ == 0) io_.run_one();
  EXPECT_EQ(looks_, 1) << "and the other service still waits for its own";
}

TEST_F(Suspects, WhatLbdMeetsIsToldAndNotWhatTheClientMet) {
  error_ = ECONNREFUSED;
  suspects_.look(failure());
  run();
  ASSERT_EQ(confirmed_.size(), 1U);
  ConnectFailure expected = failure();
  expected.kind = ConnectFailure::Kind::Refused;
  expected.error = ECONNREFUSED;
  expected.confirmed = true;
  EXPECT_EQ(confirmed_[0], expected);
}

TEST_F(Suspects, ManyFailuresAreOneLookAndOneAfterTheRest) {
  error_ = EHOSTUNREACH;
  for (int i = 0; i < 100; ++i) suspects_.look(failure());
  suspects_.look(failure("tcp://127.0.0.1:81"));
  run();
  EXPECT_EQ(looks_, 2);
  EXPECT_EQ(confirmed_.size(), 3U) << "the first, and then one for each service";
}

TEST_F(Suspects, FailureDuringTheRestIsLookedAtAfterIt) {
  suspects_.look(failure());
  while (looks_ == 0) io_.run_one();
  error_ = ECONNREFUSED;
  suspects_.look(failure());
  run();
  EXPECT_EQ(looks_, 2);
  EXPECT_EQ(confirmed_.size(), 1U);
}

TEST_F(Suspects, WantOfSomethingOnThisHostSaysNothingOfTheBackend) {
  error_ = EMFILE;
  suspects_.look(failure());
  while (looks_ < 3) io_.run_one();  // it is tried again
  EXPECT_TRUE(confirmed_.empty());
  error_ = ECONNREFUSED;
  run();
  EXPECT_EQ(confirmed_.size(), 1U);
}

}  // namespace
}  // namespace lb
