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
    EXPECT_EQ(check.timeout, SuspectProber::kTimeout);
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
  // Until nothing is under way and nothing rests.
  void run() {
    io_.restart();
    io_.run();
  }

  asio::io_context io_;
  int error_ = 0;
  int looks_ = 0;
  std::vector<ConnectFailure> confirmed_;
  SuspectProber suspects_{io_, [this](const ConnectFailure& f) { confirmed_.push_back(f); },
                          [this](Address to, HealthCheck check) { return answer(to, check); }, 1ms};
};

TEST_F(Suspects, BackendThatAnswersIsNone) {
  suspects_.look(failure());
  run();
  EXPECT_EQ(looks_, 1);
  EXPECT_TRUE(confirmed_.empty());
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
  run();
  EXPECT_TRUE(confirmed_.empty());
}

}  // namespace
}  // namespace lb
