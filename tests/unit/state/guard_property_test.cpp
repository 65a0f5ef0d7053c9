// Random sequences of readings: what must hold whatever a source says.
#include <algorithm>
#include <array>
#include <map>
#include <random>
#include <set>

#include <gtest/gtest.h>

#include "state/guard.h"
#include "support/snapshot_builder.h"

namespace lb {
namespace {

using namespace std::chrono_literals;
using Id = std::pair<ServiceKey, Address>;

std::set<Id> ids_of(const Snapshot& s) {
  std::set<Id> out;
  for (const auto& service : s.services)
    for (const auto& backend : service->backends) out.emplace(service->key, backend.address);
  return out;
}

class Readings {
 public:
  explicit Readings(unsigned seed) : random_(seed) {}

  // Up to 3 services of up to 5 backends; now and then most or all of it is missing.
  Snapshot next() {
    const int presence = std::array{100, 90, 90, 50, 10, 0}.at(below(6));
    std::vector<ServicePtr> services;
    for (int s = 1; s <= 3; ++s) {
      std::vector<Backend> backends;
      for (int b = 1; b <= 5; ++b)
        if (static_cast<int>(below(100)) < presence)
          backends.push_back(listed("10.0.0." + std::to_string(b) + ":80", below(3)));
      if (!backends.empty() || below(2) == 0)
        services.push_back(offered("127.0.0.1:" + std::to_string(s), std::move(backends)));
    }
    return snapshot(std::move(services), below(4) == 0 ? Absence::Believed : Absence::Guarded);
  }
  std::uint32_t below(std::uint32_t limit) { return static_cast<std::uint32_t>(random_()) % limit; }

 private:
  std::mt19937 random_;
};

void expect_sorted_without_duplicates(const Snapshot& s) {
  for (std::size_t i = 1; i < s.services.size(); ++i)
    ASSERT_LT(s.services[i - 1]->key, s.services[i]->key);
  for (const auto& service : s.services)
    for (std::size_t i = 1; i < service->backends.size(); ++i)
      ASSERT_LT(service->backends[i - 1].address, service->backends[i].address);
}

// What the reading lists is in force as the reading lists it.
void expect_applied(const Snapshot& reading, const Snapshot& admitted) {
  for (const auto& service : reading.services) {
    const auto found = std::find_if(admitted.services.begin(), admitted.services.end(),
                                    [&](const auto& s) { return s->key == service->key; });
    ASSERT_NE(found, admitted.services.end());
    for (const auto& backend : service->backends)
      ASSERT_EQ(std::count((*found)->backends.begin(), (*found)->backends.end(), backend), 1);
  }
}

class GuardProperty : public testing::TestWithParam<unsigned> {};

// As long as confirm, so that one bound holds for every loss.
const GuardOptions kOptions{.total = 10s};

TEST_P(GuardProperty, AdmittedIsTheReadingPlusWhatIsHeld) {
  Readings readings(GetParam());
  Guard guard(kOptions);
  Guard::TimePoint now{1h};
  std::set<Id> before;
  std::map<Id, Guard::TimePoint> missing_since, left;
  for (int step = 0; step < 200; ++step) {
    now += std::chrono::milliseconds(readings.below(8'000));
    const Snapshot reading = readings.next();
    const Snapshot admitted = guard.admit(reading, now).admitted;
    expect_sorted_without_duplicates(admitted);
    expect_applied(reading, admitted);

    std::set<Id> expected = ids_of(reading);
    std::set<Id> held;
    if (const auto info = guard.held())
      for (const auto& [key, backend] : info->backends) held.emplace(key, backend.address);
    for (const Id& id : held) {
      EXPECT_TRUE(before.contains(id) || (left.contains(id) && now - left[id] < 10s))
          << "only what was in force, or left less than confirm ago, can be held";
      EXPECT_TRUE(expected.insert(id).second) << "what is listed is not held";
      missing_since.try_emplace(id, now);
      EXPECT_LT(now - missing_since[id], 10s) << "nothing is held longer than confirm";
    }
    std::erase_if(missing_since, [&](const auto& entry) { return !held.contains(entry.first); });
    EXPECT_EQ(ids_of(admitted), expected);
    EXPECT_EQ(guard.next_deadline().has_value(), !held.empty());
    for (const Id& id : before)
      if (!expected.contains(id)) left[id] = now;
    before = ids_of(admitted);
  }
}

TEST_P(GuardProperty, AnyReadingThatStandsBecomesTheTruth) {
  Readings readings(GetParam());
  Guard guard;
  Guard::TimePoint now{1h};
  for (int step = 0; step < 50; ++step) {
    const Snapshot reading = readings.next();
    (void)guard.admit(reading, now);
    for (int i = 0; i < 10 && guard.next_deadline(); ++i) {
      now = std::max(now, *guard.next_deadline());
      (void)guard.recheck(now);
    }
    ASSERT_FALSE(guard.held());
    EXPECT_EQ(ids_of(*guard.accepted()), ids_of(reading));
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, GuardProperty, testing::Range(0U, 20U));

}  // namespace
}  // namespace lb
