// An app over a fake kernel, with sources that deliver what the test hands them.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include <spdlog/spdlog.h>
#include <boost/asio/use_awaitable.hpp>

#include "daemon/app.h"
#include "support/desired_builder.h"
#include "support/fake_dataplane.h"
#include "support/run_awaitable.h"
#include "support/snapshot_builder.h"
#include "support/temp_folder.h"

namespace lb {

// Delivers what the test hands it.
class HandSource final : public Source {
 public:
  explicit HandSource(asio::io_context& io) : ready_(io.get_executor()) {}

  void deliver(Result<Snapshot> snapshot) {
    next_ = std::move(snapshot);
    ready_.notify();
  }
  asio::awaitable<Result<Snapshot>> next() override {
    // gcc 12 loses the default argument when this stands in the condition.
    const Event::Woken woken = co_await ready_.wait();
    if (woken == Event::Woken::Cancelled) {
      ++cancelled;
      co_return fail(ECANCELED, "cancelled");
    }
    co_return next_;
  }
  [[nodiscard]] SourceStatus status() const override {
    return {.connected = true, .error = {}, .position = {}};
  }

  inline static int cancelled = 0;

 private:
  Event ready_;
  Result<Snapshot> next_;
};

class AppTest : public testing::Test {
 protected:
  AppTest() {
    spdlog::set_level(spdlog::level::off);
    HandSource::cancelled = 0;
    config_.daemon.state_dir = folder_.file("state");
    config_.daemon.runtime_dir = folder_.file("run");
    config_.daemon.log_level = LogLevel::Critical;
    config_.dataplane.mode = DataplaneMode::None;
    config_.sources.push_back({.name = "files", .ports = {}, .settings = FileSourceConfig{"/x"}});
  }
  ~AppTest() override { kill(); }

  // Lends the one kernel of the test to each app.
  class Lent final : public NoneDataplane {
   public:
    explicit Lent(FakeDataplane& kernel) : kernel_(kernel) {}
    Result<std::vector<ServiceKey>> keys() override { return kernel_.keys(); }
    Result<Observed> read_some(std::span<const ServiceKey> k) override {
      return kernel_.read_some(k);
    }
    Result<> upsert(const ProgrammedService& s) override { return kernel_.upsert(s); }
    Result<> remove(const ServiceKey& k) override { return kernel_.remove(k); }

   private:
    FakeDataplane& kernel_;
  };

  AppParts parts() {
    AppParts p;
    p.open_dataplane = [this](asio::io_context&,
                              const Config&) -> Result<std::unique_ptr<Dataplane>> {
      return std::make_unique<Lent>(kernel_);
    };
    p.make_source = [this](const SourceContext& context, const SourceConfig& c,
                           std::optional<Snapshot> saved) {
      saved_[c.name] = std::move(saved);
      auto source = std::make_unique<HandSource>(context.io);
      sources_[c.name] = source.get();
      return source;
    };
    p.read_listeners = [] { return Result<std::vector<Listener>>(std::vector<Listener>{}); };
    p.reload = [this] { return reloaded_; };
    // Far ahead, so that no real timer fires: the test decides when time passes.
    p.clocks = {.wall = sys_now, .steady = [this] { return steady_; }};
    return p;
  }
  Result<std::unique_ptr<App>> open() { return App::open(*io_, config_, "test.toml", parts()); }
  void start() {
    auto opened = open();
    ASSERT_TRUE(opened) << opened.error().message();
    app_ = *std::move(opened);
    app_->start();
    poll();
  }
  // Nothing of an app runs after it; what was suspended goes with the loop.
  void kill() {
    app_.reset();
    io_ = std::make_unique<asio::io_context>(1);
  }
  void poll() {
    io_->restart();
    io_->poll();
  }
  std::string problems() {
    std::string out;
    const auto all = test::run_awaitable(app_->control().status())->own_problems;
    for (const OwnProblem& problem : all) out += problem.what + ": " + problem.text + "\n";
    return out;
  }
  std::ptrdiff_t state_problems() {
    const auto all = test::run_awaitable(app_->control().status())->own_problems;
    return std::count_if(all.begin(), all.end(),
                         [](const OwnProblem& problem) { return problem.what == "state"; });
  }
  static Snapshot web() { return snapshot({offered("127.0.0.1:80", {listed("10.0.0.1:9000")})}); }

  TempFolder folder_;
  FakeDataplane kernel_;
  Config config_;
  Result<Config> reloaded_ = fail("bad");
  SteadyTime steady_ = std::chrono::steady_clock::now() + std::chrono::hours(1'000'000);
  std::map<std::string, HandSource*> sources_;
  std::map<std::string, std::optional<Snapshot>> saved_;  // what each was made with
  std::unique_ptr<asio::io_context> io_ = std::make_unique<asio::io_context>(1);
  std::unique_ptr<App> app_;
};

}  // namespace lb
