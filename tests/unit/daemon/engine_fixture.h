// An engine over a fake dataplane, with clocks, listeners and sources that the test moves.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include <spdlog/spdlog.h>

#include "daemon/engine.h"
#include "support/desired_builder.h"
#include "support/fake_dataplane.h"
#include "support/snapshot_builder.h"
#include "support/temp_folder.h"

namespace lb {

using std::chrono::milliseconds;

// Only says how it is doing; the test delivers by hand.
class SilentSource final : public Source {
 public:
  asio::awaitable<Result<Snapshot>> next() override { co_return fail("never asked"); }
  [[nodiscard]] SourceStatus status() const override {
    return {.connected = true, .error = {}, .position = {}};
  }
  void admitted(const Snapshot& in_force) override { in_force_ = in_force; }
  Snapshot in_force_;
};

class EngineFixture : public testing::Test {
 protected:
  EngineFixture() { spdlog::set_level(spdlog::level::off); }

  // A new lbd over the same kernel and folder, with these sources.
  Engine& start(const std::vector<std::string>& names = {"files"}) {
    if (engine_) engine_->save_all();  // a slow disk of this machine must not decide a test
    engine_.reset();
    SourceSlots slots;
    for (const std::string& name : names) {
      slots.push_back(std::make_shared<SourceSlot>(name, "file", PortRanges(), GuardOptions()));
      EXPECT_TRUE(slots.back()->load(SnapshotStore(folder_.file("sources"))));
      slots.back()->source = std::make_unique<SilentSource>();
    }
    auto opened =
        Engine::open(dataplane_, folder_.path(), settings_, options(), clocks(), slots, problems_);
    EXPECT_TRUE(opened);
    engine_ = *std::move(opened);
    engine_->set_local_addresses({ip("127.0.0.1"), ip("::1")});
    run();
    return *engine_;
  }
  ReconcilerOptions options() {
    return {.shadow = false,
            .read_listeners = [this] { return Result<std::vector<Listener>>(listeners_); },
            .name_listener = [](const Listener&) { return std::string("nginx (pid 123)"); },
            .random = [] { return 0U; }};
  }
  Clocks clocks() {
    return {.wall = [this] { return wall_; }, .steady = [this] { return steady_; }};
  }
  void run() {
    while (engine_->turn(256)) {
    }
  }
  // Awake at each moment at which the engine wants to be.
  void after(milliseconds time) {
    const SteadyTime until = steady_ + time;
    while (steady_ < until) {
      const SteadyTime due = std::max(engine_->next_wakeup(), steady_ + milliseconds(1));
      const auto step = std::chrono::ceil<milliseconds>(std::min(due, until) - steady_);
      wall_ += step;
      steady_ += step;
      run();
    }
  }
  // Stopped for so long: the engine's deadlines pass meanwhile.
  void sleep(milliseconds time) {
    wall_ += time;
    steady_ += time;
    run();
  }
  void deliver(std::vector<ServicePtr> services, std::size_t slot = 0) {
    engine_->deliver(*engine_->slots()[slot], snapshot(std::move(services)));
    run();
  }
  [[nodiscard]] std::vector<ProgrammedBackend> programmed(std::string_view k) const {
    const ProgrammedService* s = dataplane_.service(key(k));
    return s ? s->backends : std::vector<ProgrammedBackend>{};
  }

  TempFolder folder_;
  FakeDataplane dataplane_;
  std::vector<Listener> listeners_;
  EngineSettings settings_;
  SavedProblems problems_;
  SysTime wall_{std::chrono::hours(500'000)};
  // Far ahead of the real clock, so that no real timer fires in a test.
  SteadyTime steady_ = std::chrono::steady_clock::now() + std::chrono::hours(1'000'000);
  std::unique_ptr<Engine> engine_;
};

}  // namespace lb
