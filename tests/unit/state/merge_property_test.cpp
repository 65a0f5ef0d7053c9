// Random turns: the shortcuts of the merge must never show.
#include <array>
#include <random>
#include <set>

#include <gtest/gtest.h>

#include "state/eligibility.h"
#include "state/merge.h"
#include "support/snapshot_builder.h"

namespace lb {
namespace {

using namespace std::chrono_literals;

// Two sources that share some services, drains, departures, conflicts and a moving clock.
class World {
 public:
  explicit World(unsigned seed) : random_(seed) {}

  void turn() {
    const std::chrono::milliseconds passed(below(30'000));
    now_.wall += passed;
    now_.steady += passed;
    for (std::size_t i = 0; i < 2; ++i)
      if (below(3) == 0) snapshots_[i] = reading(snapshots_[i].value_or(Snapshot{}));
    if (below(6) == 0) toggle_drain();
    if (below(8) == 0) toggle_conflict();
    if (below(3) == 0) change_verdict();
    if (below(20) == 0) scope_all_ = !scope_all_;
    if (below(20) == 0) ports_ = PortRanges::parse(below(2) == 0 ? "1-3" : "1-65535").value();
    std::vector<SourceInput> sources{{"a", nullptr, ports_, false}, {"b", nullptr, {}, false}};
    for (std::size_t i = 0; i < 2; ++i)
      if (snapshots_[i]) sources[i].snapshot = &*snapshots_[i];
    view_ = resolve_claims(sources, &view_);
    departures_.clamp(now_);
    departures_.update(view_, now_);
    finish_some();
    previous_ = std::move(result_);
    result_ = merged(&previous_);
    (void)drains_.settle(result_.state, view_.complete, now_.steady);
  }

  MergeResult merged(const MergeResult* previous) const {
    return merge({.view = &view_,
                  .drains = &drains_,
                  .departures = &departures_,
                  .conflicts = &conflicts_,
                  .health = &health_,
                  .scope_all = scope_all_,
                  .previous = previous,
                  .now = now_});
  }
  const MergeResult& result() const { return result_; }
  const MergeResult& previous() const { return previous_; }
  const View& view() const { return view_; }
  const Departures& departures() const { return departures_; }

 private:
  std::uint32_t below(std::uint32_t limit) { return static_cast<std::uint32_t>(random_()) % limit; }

  // Each service stays the same value, is made anew, changes, or goes.
  Snapshot reading(const Snapshot& before) {
    std::vector<ServicePtr> services;
    for (int port = 1; port <= 6; ++port) {
      const std::string at = "127.0.0.1:" + std::to_string(port);
      const auto old = std::find_if(before.services.begin(), before.services.end(),
                                    [&](const auto& s) { return s->key.port == port; });
      const auto dice = below(10);
      if (old != before.services.end() && dice < 5)
        services.push_back(*old);
      else if (old != before.services.end() && dice == 5)
        services.push_back(std::make_shared<const Service>(**old));
      else if (dice < 9)
        services.push_back(checked(offered(at, backends(), "s" + std::to_string(port))));
    }
    return snapshot(std::move(services));
  }

  ServicePtr checked(ServicePtr service) {
    if (below(2) == 0) return service;
    auto out = std::make_shared<Service>(*service);
    out->check = HealthCheck();
    return out;
  }

  std::vector<Backend> backends() {
    constexpr std::array kVerdicts{
        std::pair{BackendState::Active, Reason::None},
        std::pair{BackendState::Active, Reason::None},
        std::pair{BackendState::Unknown, Reason::NotVerified},
        std::pair{BackendState::Draining, Reason::Source},
        std::pair{BackendState::Down, Reason::ProbeFailed},
        std::pair{BackendState::Stale, Reason::NotSeen},
    };
    std::vector<Backend> out;
    for (int i = 1; i <= 4; ++i) {
      if (below(3) == 0) continue;
      const auto [state, reason] = kVerdicts.at(below(kVerdicts.size()));
      out.push_back(
          listed((i == 4 ? "127.0.0.1:" : "10.0.0.1:") + std::to_string(i), state, reason));
      out.back().weight = below(4) * 50;
      out.back().id = "task-" + std::to_string(below(2));
    }
    return out;
  }

  void toggle_drain() {
    const auto target =
        Drain::parse_target(below(2) == 0 ? "10.0.0.1:" + std::to_string(1 + below(4))
                                          : "127.0.0.1")
            .value();
    if (!drains_.remove(target)) {
      ASSERT_TRUE(drains_.add({target, std::nullopt, now_.wall, std::nullopt, {}}));
    }
  }
  void toggle_conflict() {
    const ServiceKey key = ServiceKey::parse("127.0.0.1:" + std::to_string(1 + below(6))).value();
    if (conflicts_.erase(key) == 0) conflicts_[key] = "somebody listens there";
  }
  // Of services that are there or not, with a check or without.
  void change_verdict() {
    const ServiceKey key = ServiceKey::parse("127.0.0.1:" + std::to_string(1 + below(7))).value();
    const auto backend = Address::parse("10.0.0.1:" + std::to_string(1 + below(4))).value();
    if (below(3) == 0)
      health_.erase({key, backend});
    else
      health_[{key, backend}] = {below(3) == 0, now_.wall, "an error"};
  }
  void finish_some() {
    std::vector<Departures::Key> all;
    for (const auto& [key, departure] : departures_.all()) all.push_back(key);
    for (const auto& [key, address] : all)
      if (below(4) == 0) departures_.finish(key, address);
  }

  std::mt19937 random_;
  Moment now_{SysTime(1'000'000s), std::chrono::steady_clock::time_point(1'000'000s)};
  std::optional<Snapshot> snapshots_[2];
  PortRanges ports_;
  View view_;
  Drains drains_;
  Departures departures_{60s};
  std::map<ServiceKey, std::string> conflicts_;
  HealthVerdicts health_;
  bool scope_all_ = false;
  MergeResult result_, previous_;
};

DesiredService without_times(const DesiredService& service) {
  DesiredService out = service;
  for (DesiredBackend& b : out.backends) b.since = SysTime{};
  return out;
}

void expect_consistent(const DesiredService& service) {
  bool any = false;
  for (const DesiredBackend& b : service.backends) {
    any = any || b.effective_weight > 0;
    EXPECT_TRUE(b.effective_weight == 0 || eligibility(b) != Eligibility::Never);
    EXPECT_TRUE(!b.departed || b.state == BackendState::Draining);
    EXPECT_TRUE(!service.removed || b.departed);
  }
  const bool in_use = service.condition == Condition::Ok ||
                      service.condition == Condition::FailOpen ||
                      service.condition == Condition::LastResort;
  EXPECT_EQ(in_use, any) << service.key.to_string() << " " << to_string(service.condition);
  EXPECT_EQ(service.text.empty(), service.condition == Condition::Ok);
}

class MergeProperty : public testing::TestWithParam<unsigned> {};

TEST_P(MergeProperty, ShortcutsDoNotShow) {
  World world(GetParam());
  for (int step = 0; step < 150; ++step) {
    world.turn();
    // settle() may have ended a drain: compare on equal terms.
    const MergeResult quick = world.merged(&world.result());
    const MergeResult anew = world.merged(nullptr);
    ASSERT_EQ(quick.state.size(), anew.state.size());
    EXPECT_EQ(quick.warnings, anew.warnings);
    for (const auto& [key, service] : anew.state)
      EXPECT_EQ(without_times(*service), without_times(*quick.state.at(key)));
  }
}

TEST_P(MergeProperty, PointersDifferExactlyWhereValuesDo) {
  World world(GetParam());
  for (int step = 0; step < 150; ++step) {
    world.turn();
    for (const auto& [key, service] : world.result().state) {
      const auto before = world.previous().state.find(key);
      if (before == world.previous().state.end()) continue;
      EXPECT_EQ(service == before->second, *service == *before->second);
    }
    const MergeResult again = world.merged(&world.result());
    const MergeResult and_again = world.merged(&again);
    EXPECT_EQ(again.state, and_again.state) << "compares pointers";
  }
}

TEST_P(MergeProperty, StateIsTheViewPlusTheDepartures) {
  World world(GetParam());
  for (int step = 0; step < 150; ++step) {
    world.turn();
    std::set<ServiceKey> expected;
    for (const OwnedService& owned : world.view().services) expected.insert(owned.service->key);
    for (const auto& [key, departure] : world.departures().all()) expected.insert(key.first);
    std::set<ServiceKey> listed;
    for (const auto& [key, service] : world.result().state) {
      listed.insert(key);
      expect_consistent(*service);
    }
    EXPECT_EQ(listed, expected);
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, MergeProperty, testing::Range(0U, 10U));

}  // namespace
}  // namespace lb
