// How long a killed task goes on getting connections anywhere: twenty listeners behind one updater.
#include "netns/marathoner/fixture.h"

#include <algorithm>

#include <fmt/format.h>

#include "support/patience.h"

namespace lb::test {
namespace {

class Latency : public MarathonerNetns {
 protected:
  static constexpr int kListeners = 20;
  static constexpr int kKills = 40;

  // All listeners have the newest state in their kernels.
  [[nodiscard]] bool all_applied(std::uint64_t sequence) {
    const std::string json = updater(0).json({"listeners"});
    for (int i = 0; i < kListeners; ++i) {
      const std::string applied = json_at(json, fmt::format("/listeners/{}/applied_sequence", i));
      if (applied.empty() || applied[0] < '0' || applied[0] > '9' ||
          std::stoull(applied) < sequence)
        return false;
    }
    return true;
  }
  [[nodiscard]] std::uint64_t applied_now() {
    const std::string text =
        json_at(updater(0).json({"listeners"}), "/listeners/0/applied_sequence");
    return text[0] >= '0' && text[0] <= '9' ? std::stoull(text) : 0;
  }

  [[nodiscard]] bool in_use(int port) {
    return listener(0).backend("web", fmt::format("10.79.200.99:{}", port)).effective_weight > 0;
  }

  std::vector<std::chrono::milliseconds> measure() {
    std::vector<std::chrono::milliseconds> out;
    for (int i = 0; i < kKills; ++i) {
      const int port = 32000 + i;
      const std::string id = marathon().launch("/web", "10.79.200.99", {port});
      EXPECT_TRUE(eventually([&] { return in_use(port); }, 10s));
      std::uint64_t before = applied_now();
      EXPECT_TRUE(eventually([&] { return all_applied(before = applied_now()); }, 10s));
      const auto start = std::chrono::steady_clock::now();
      marathon().kill(id);
      EXPECT_TRUE(eventually([&] { return all_applied(before + 1); }, 10s));
      out.push_back(std::chrono::duration_cast<std::chrono::milliseconds>(
          std::chrono::steady_clock::now() - start));
      EXPECT_TRUE(eventually([&] { return !in_use(port); }, 10s));
    }
    std::sort(out.begin(), out.end());
    return out;
  }
};

TEST_F(Latency, FromTheEndOfATaskToTheLastOfTwentyListeners) {
  start_marathons(1);
  marathon().add_app({.id = "/web", .ports = {10001}});
  for (int i = 0; i < 2; ++i) launch("/web", 31001);
  start_updaters(1, {"-i", "30"});
  start_listeners(kListeners);
  ASSERT_TRUE(all_have("web", 2));
  const auto times = measure();
  const auto p99 = times[times.size() - 1 - times.size() / 100];
  std::printf("killed task to the last of %d listeners: median %ld ms, max %ld ms\n", kListeners,
              static_cast<long>(times[times.size() / 2].count()), static_cast<long>(p99.count()));
  EXPECT_LE(p99, promised(300ms));
}

TEST_F(Latency, WithoutEventsTheIntervalDecides) {
  start_marathons(1, "0.8.2");
  marathon().add_app({.id = "/web", .ports = {10001}});
  // So many that the wipe guard finds one missing after the other plausible.
  for (int i = 0; i < 8; ++i) launch("/web", 31001);
  start_updaters(1, {"-i", "1"});
  start_listeners(2);
  ASSERT_TRUE(all_have("web", 8));
  for (int i = 0; i < 3; ++i) {
    const std::string id = marathon().launch("/web", "10.79.200.99", {32000 + i});
    ASSERT_TRUE(all_have("web", 9, 5s));
    const auto start = std::chrono::steady_clock::now();
    marathon().kill(id);
    ASSERT_TRUE(all_have("web", 8, 5s));
    EXPECT_LE(std::chrono::steady_clock::now() - start, promised(1s + 300ms + 200ms))
        << "lbctl takes time, too";
  }
}

}  // namespace
}  // namespace lb::test
