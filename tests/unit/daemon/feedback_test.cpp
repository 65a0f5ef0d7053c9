// What the kernel saw, on its way back to the source whose service it was.
#include "daemon/feedback.h"

#include "support/run_awaitable.h"
#include "unit/daemon/engine_fixture.h"

namespace lb {
namespace {

class EarSource final : public Source {
 public:
  asio::awaitable<Result<Snapshot>> next() override { co_return fail("never asked"); }
  [[nodiscard]] SourceStatus status() const override { return {}; }
  [[nodiscard]] bool connect_failed(const ConnectFailure& failure) override {
    failures.push_back(failure);
    return looks;
  }
  bool looks = false;
  [[nodiscard]] bool wants_reports() const override { return curious; }
  void report(const std::vector<ServiceReport>& services) override { reported = services; }
  [[nodiscard]] std::optional<LogLevel> log_level() const override { return level; }

  bool curious = true;
  std::optional<LogLevel> level;
  std::vector<ConnectFailure> failures;
  std::vector<ServiceReport> reported;
};

class Feedback : public EngineFixture {
 protected:
  void SetUp() override {
    start({"first", "second"});
    for (std::size_t i = 0; i < 2; ++i) {
      auto source = std::make_unique<EarSource>();
      ears_[i] = source.get();
      engine_->slots()[i]->source = std::move(source);
    }
    deliver({offered("tcp://127.0.0.1:80", {listed("10.0.0.1:1"), listed("10.0.0.2:1", 0)})}, 0);
    deliver({offered("tcp://127.0.0.1:81", {listed("10.0.0.1:1")})}, 1);
  }
  EarSource* ears_[2];
};

TEST_F(Feedback, TellsAFailureToTheOwnerOfTheService) {
  const auto refused_by = [](std::string_view service) {
    return ConnectFailure{.kind = ConnectFailure::Kind::Refused,
                          .service = key(service),
                          .backend = Address::parse("10.0.0.1:1").value(),
                          .error = 111};
  };
  EXPECT_FALSE(tell_failure(*engine_, refused_by("tcp://127.0.0.1:81")));
  EXPECT_TRUE(ears_[0]->failures.empty());
  ASSERT_EQ(ears_[1]->failures.size(), 1U);
  EXPECT_EQ(ears_[1]->failures[0].error, 111);
  ears_[1]->looks = true;
  EXPECT_FALSE(tell_failure(*engine_, refused_by("tcp://127.0.0.1:99")));
  EXPECT_EQ(ears_[1]->failures.size(), 1U);
  EXPECT_TRUE(tell_failure(*engine_, refused_by("tcp://127.0.0.1:81"))) << "lbd shall look";
}

TEST_F(Feedback, ReportsWeightsAndCountsOfASourcesOwnServices) {
  dataplane_.active[{key("tcp://127.0.0.1:80"), Address::parse("10.0.0.2:1").value()}] = 7;
  test::run_awaitable(tell_reports(*engine_));
  ASSERT_EQ(ears_[0]->reported.size(), 1U);
  const ServiceReport& report = ears_[0]->reported[0];
  EXPECT_EQ(report.key, key("tcp://127.0.0.1:80"));
  ASSERT_EQ(report.backends.size(), 2U);
  EXPECT_EQ(report.backends[0].effective_weight, kDefaultWeight);
  EXPECT_EQ(report.backends[1].effective_weight, 0U);
  EXPECT_EQ(report.backends[1].active_connections, 7U);
}

TEST_F(Feedback, ReportsToNobodyWhoDoesNotAsk) {
  ears_[0]->curious = false;
  test::run_awaitable(tell_reports(*engine_));
  EXPECT_TRUE(ears_[0]->reported.empty());
  EXPECT_EQ(ears_[1]->reported.size(), 1U);
}

TEST_F(Feedback, TheMostTalkativeSourceSetsTheLogLevel) {
  EXPECT_EQ(log_level_of(engine_->slots(), LogLevel::Info), LogLevel::Info);
  ears_[0]->level = LogLevel::Warn;
  EXPECT_EQ(log_level_of(engine_->slots(), LogLevel::Info), LogLevel::Warn);
  ears_[1]->level = LogLevel::Debug;
  EXPECT_EQ(log_level_of(engine_->slots(), LogLevel::Info), LogLevel::Debug);
}

}  // namespace
}  // namespace lb
