// The monitor with probes that end when the test says so, or at once.
#include "health/monitor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <functional>
#include <map>
#include <string>

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "support/snapshot_builder.h"

namespace lb {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

const Address kOne = Address::parse("10.0.0.1:80").value();
const Address kTwo = Address::parse("10.0.0.2:80").value();

ServicePtr checked(std::string_view at, std::vector<Backend> backends, HealthCheck check) {
  auto service = std::make_shared<Service>(*offered(at, std::move(backends)));
  service->check = std::move(check);
  return service;
}

// Real timers of a millisecond: what is waited for comes, however slow the machine is.
HealthCheck quick(std::uint32_t rise = 2, std::uint32_t fall = 3) {
  HealthCheck check;
  check.interval = 1ms;
  check.rise = rise;
  check.fall = fall;
  return check;
}

class Monitor : public testing::Test {
 protected:
  asio::awaitable<Result<>> answer(Address to, HealthCheck check) {
    ++probes_[to];
    last_check_ = check;
    const auto error = errors_.find(to);
    if (error == errors_.end()) co_return Result<>();
    co_return fail(error->second, "connect");
  }
  void run_until(const std::function<bool()>& condition) {
    while (!condition()) ASSERT_GT(io_.run_one_for(20s), 0U) << "nothing happens";
  }
  void look_often(const Address& to, int times) {
    const int from = probes_[to];
    run_until([&] { return probes_[to] >= from + times; });
  }
  std::vector<std::string> verdicts() const {
    std::vector<std::string> out;
    for (const auto& [key, v] : monitor_.verdicts())
      out.push_back(std::to_string(key.first.port) + " " + key.second.to_string() +
                    (v.up ? " up" : " down " + v.error));
    return out;
  }

  asio::io_context io_{1};
  std::map<Address, int> probes_;
  std::map<Address, int> errors_;  // errno by address
  HealthCheck last_check_;
  int told_ = 0;
  SysTime now_{100s};
  HealthMonitor monitor_{io_, [this] { ++told_; }, [this] { return now_; },
                         [this](Address to, HealthCheck check) { return answer(to, check); }};
};

TEST_F(Monitor, TellsOfUpAndDownWithTheErrorAndTheTime) {
  errors_[kTwo] = ECONNREFUSED;
  monitor_.watch(
      {checked("127.0.0.1:80", {listed("10.0.0.1:80"), listed("10.0.0.2:80")}, quick())});
  EXPECT_THAT(verdicts(), IsEmpty()) << "nobody has looked so far";
  EXPECT_EQ(told_, 0);
  run_until([&] { return monitor_.verdicts().size() == 2; });
  EXPECT_THAT(verdicts(),
              ElementsAre("80 10.0.0.1:80 up", "80 10.0.0.2:80 down connect: Connection refused"));
  EXPECT_EQ(told_, 2);
  EXPECT_GE(probes_[kOne], 2);
  EXPECT_GE(probes_[kTwo], 3);
  EXPECT_EQ(monitor_.verdicts().begin()->second.since, now_);

  now_ += 5s;
  errors_.clear();
  run_until([&] { return told_ == 3; });
  EXPECT_THAT(verdicts(), ElementsAre("80 10.0.0.1:80 up", "80 10.0.0.2:80 up"));
  EXPECT_EQ(monitor_.verdicts().rbegin()->second.since, now_);
}

TEST_F(Monitor, WhatStaysTheSameIsNoNews) {
  monitor_.watch({checked("127.0.0.1:80", {listed("10.0.0.1:80")}, quick())});
  look_often(kOne, 10);
  EXPECT_EQ(told_, 1);
}

TEST_F(Monitor, AnotherErrorOfWhatIsDownIsShown) {
  errors_[kOne] = ECONNREFUSED;
  monitor_.watch({checked("127.0.0.1:80", {listed("10.0.0.1:80")}, quick())});
  run_until([&] { return told_ == 1; });
  now_ += 5s;
  errors_[kOne] = ETIMEDOUT;
  run_until([&] { return told_ == 2; });
  EXPECT_THAT(verdicts(), ElementsAre("80 10.0.0.1:80 down connect: Connection timed out"));
  EXPECT_EQ(monitor_.verdicts().begin()->second.since, now_ - 5s);
}

TEST_F(Monitor, WantOfSomethingHereIsNoFaultOfTheBackend) {
  errors_[kOne] = EMFILE;
  monitor_.watch({checked("127.0.0.1:80", {listed("10.0.0.1:80")}, quick(1, 1))});
  look_often(kOne, 5);
  EXPECT_THAT(verdicts(), IsEmpty());
}

TEST_F(Monitor, ServicesShareProbesOfTheSameAddressInTheSameWay) {
  HealthCheck other = quick(1, 1);
  other.interval = 1h;
  monitor_.watch({checked("127.0.0.1:80", {listed("10.0.0.1:80")}, quick(1, 1)),
                  checked("127.0.0.1:81", {listed("10.0.0.1:80")}, quick(1, 1)),
                  checked("127.0.0.1:82", {listed("10.0.0.1:80")}, other)});
  run_until([&] { return monitor_.verdicts().size() == 2; });
  EXPECT_EQ(probes_[kOne], 1) << "of two services, and the third looks in another way";
  EXPECT_EQ(told_, 1);
}

TEST_F(Monitor, PortOfTheCheckIsWhereItLooks) {
  HealthCheck check = quick();
  check.port = 8000;
  monitor_.watch({checked("127.0.0.1:80", {listed("10.0.0.1:80"), listed("10.0.0.1:81")}, check)});
  run_until([&] { return monitor_.verdicts().size() == 2; });
  EXPECT_THAT(probes_, ElementsAre(std::pair(Address::parse("10.0.0.1:8000").value(), 2)));
}

TEST_F(Monitor, ServicesWithoutCheckAndOfUdpAreLeftAlone) {
  monitor_.watch({offered("127.0.0.1:80", {listed("10.0.0.1:80")}),
                  checked("udp://127.0.0.1:80", {listed("10.0.0.1:80")}, quick())});
  EXPECT_EQ(io_.run_for(50ms), 0U) << "no timer";
}

TEST_F(Monitor, WhoIsListedNoMoreIsForgottenAndNotLookedAt) {
  errors_[kOne] = ECONNREFUSED;
  errors_[kTwo] = ECONNREFUSED;
  const auto both =
      checked("127.0.0.1:80", {listed("10.0.0.1:80"), listed("10.0.0.2:80")}, quick());
  monitor_.watch({both});
  run_until([&] { return monitor_.verdicts().size() == 2; });
  monitor_.watch({checked("127.0.0.1:80", {listed("10.0.0.1:80")}, quick())});
  EXPECT_EQ(told_, 3);
  EXPECT_EQ(monitor_.verdicts().size(), 1U);
  const int before = probes_[kTwo];
  look_often(kOne, 5);
  EXPECT_LE(probes_[kTwo], before + 1) << "one may have been under way";
  monitor_.watch({});
  EXPECT_THAT(verdicts(), IsEmpty());
  EXPECT_EQ(told_, 4);
}

TEST_F(Monitor, ProbesOfWhatStaysGoOnWithTheirVerdicts) {
  errors_[kOne] = ECONNREFUSED;
  monitor_.watch({checked("127.0.0.1:80", {listed("10.0.0.1:80")}, quick())});
  run_until([&] { return told_ == 1; });
  monitor_.watch({checked("127.0.0.1:80", {listed("10.0.0.1:80"), listed("10.0.0.2:80")}, quick()),
                  checked("127.0.0.1:81", {listed("10.0.0.1:80")}, quick())});
  EXPECT_THAT(verdicts(), ElementsAre("80 10.0.0.1:80 down connect: Connection refused",
                                      "81 10.0.0.1:80 down connect: Connection refused"));
}

TEST_F(Monitor, AnotherCheckStartsFromTheVerdictOfTheOldOne) {
  errors_[kOne] = ECONNREFUSED;
  monitor_.watch({checked("127.0.0.1:80", {listed("10.0.0.1:80")}, quick(2, 3))});
  run_until([&] { return told_ == 1; });
  HealthCheck other = quick(4, 3);
  other.port = 80;  // the backend's own, in other words
  monitor_.watch({checked("127.0.0.1:80", {listed("10.0.0.1:80")}, other)});
  EXPECT_EQ(monitor_.verdicts().size(), 1U);
  EXPECT_EQ(told_, 1);
  errors_.clear();
  run_until([&] { return told_ == 2; });
  EXPECT_THAT(verdicts(), ElementsAre("80 10.0.0.1:80 up"));
  EXPECT_EQ(last_check_.rise, 4U);
}

TEST_F(Monitor, NamingTheOwnPortIsTheSameCheck) {
  errors_[kOne] = ECONNREFUSED;
  HealthCheck check = quick();
  monitor_.watch({checked("127.0.0.1:80", {listed("10.0.0.1:80")}, check)});
  run_until([&] { return told_ == 1; });
  check.port = 80;
  monitor_.watch({checked("127.0.0.1:80", {listed("10.0.0.1:80")}, check)});
  look_often(kOne, 3);
  EXPECT_EQ(monitor_.verdicts().size(), 1U);
}

TEST_F(Monitor, WhatWasDownInAnEarlierRunStaysDownUntilItRises) {
  const HealthVerdicts::key_type key{ServiceKey::parse("127.0.0.1:80").value(), kOne};
  monitor_.restore({{key, {false, SysTime(7s), "connect: No route to host"}}});
  EXPECT_THAT(verdicts(), IsEmpty()) << "nobody asks for it so far";
  HealthCheck check = quick();
  monitor_.watch({checked("127.0.0.1:80", {listed("10.0.0.1:80"), listed("10.0.0.2:80")}, check)});
  EXPECT_THAT(verdicts(), ElementsAre("80 10.0.0.1:80 down connect: No route to host"));
  EXPECT_EQ(monitor_.verdicts().at(key).since, SysTime(7s));
  run_until([&] { return monitor_.verdicts().at(key).up; });
  EXPECT_EQ(probes_[kOne], 2);
}

TEST_F(Monitor, EndsWithProbesUnderWay) {
  asio::io_context io{1};
  int begun = 0, ended = 0;
  {
    HealthMonitor monitor(
        io, [&] { ++ended; }, sys_now,
        [&](Address, HealthCheck) -> asio::awaitable<Result<>> {
          ++begun;
          asio::steady_timer timer(io, 5ms);
          co_await timer.async_wait(asio::use_awaitable);
          co_return fail(ECONNREFUSED, "connect");
        });
    monitor.watch({checked("127.0.0.1:80", {listed("10.0.0.1:80")}, quick(1, 1))});
    while (begun == 0) ASSERT_GT(io.run_one_for(20s), 0U);
  }
  io.run();  // returns: nothing goes on
  EXPECT_EQ(begun, 1);
  EXPECT_EQ(ended, 0);
}

}  // namespace
}  // namespace lb
