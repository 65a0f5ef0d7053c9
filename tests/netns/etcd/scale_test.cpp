// Many backends under one prefix, most of them only reporting that they are alive.
#include <iostream>
#include <map>
#include <thread>

#include "netns/etcd/measure.h"
#include "netns/merlion/fixture.h"
#include "support/patience.h"

namespace lb::test {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr int kBackends = 10'000;
constexpr auto kFor = 6s;
constexpr int kPerSecond = 100;

class EtcdScale : public MerlionNetns {
 protected:
  static std::string name(int i) { return fmt::format("n{:05}", i); }
  static std::string address(int i) {
    return fmt::format("127.1.{}.{}:7000", i / 250, i % 250 + 1);
  }

  void write_all() {
    configure();
    std::map<std::string, std::string> values;
    for (int i = 0; i < kBackends; ++i) {
      values[key(name(i), "listen-address")] = address(i);
      values[key(name(i), "last-seen-at")] = now();
    }
    keys_->put_many(values);
  }
  // The part of a core that lbd uses while backends report, one after the other.
  double share_under_heartbeats() {
    const double cpu_before = cpu_of(lbd_->pid());
    const auto begin = Clock::now();
    int written = 0;
    for (auto next = begin; next < begin + kFor; next += 1000ms / kPerSecond) {
      std::this_thread::sleep_until(next);
      touch(name(written++ * 97 % kBackends));
    }
    const double seconds = milliseconds_since(begin) / 1000;
    EXPECT_GE(promised(written / seconds), 0.9 * kPerSecond);
    return (cpu_of(lbd_->pid()) - cpu_before) / seconds;
  }
  // The switch of each service in the kernel: another value after every write.
  [[nodiscard]] std::string in_kernel() const {
    const Finished done =
        run({"bpftool", "-j", "map", "dump", "pinned", lbd_->bpffs + "/current_maps/services"});
    EXPECT_EQ(done.code, 0) << done.all();
    return done.out;
  }
};

TEST_P(EtcdScale, TenThousandBackendsAreThereWithinThreeSeconds) {
  write_all();
  const auto begin = Clock::now();
  ASSERT_TRUE(lbd_->start());
  ASSERT_TRUE(eventually([&] { return source("backends") == std::to_string(kBackends); }, 30s));
  // Programmed: a connect is steered, and refused by the backend's host alone.
  ASSERT_TRUE(becomes("site", "ok"));
  const double took = milliseconds_since(begin);
  std::cout << fmt::format("{} backends, from lbd's start on: {:.0f} ms\n", kBackends, took);
  EXPECT_LE(took, promised(3000));
}

// That nothing is written or logged holds on every machine.
TEST_P(EtcdScale, HeartbeatsCostNextToNothing) {
  // Of a core. The aim is 1 %; a machine of today needs 1.0 to 1.4 %, as its speed comes and goes. CPU time, not time: but a busy
  // machine makes it dearer, too.
  constexpr double kBar = 0.02;
  write_all();
  ASSERT_TRUE(lbd_->start());
  ASSERT_TRUE(eventually([&] { return source("backends") == std::to_string(kBackends); }, 30s));
  ASSERT_TRUE(becomes("site", "ok"));
  std::this_thread::sleep_for(3s);  // its first save, its first recount
  const std::string kernel_before = in_kernel();
  const std::size_t log_before = lbd_->log().size();
  const double share = share_under_heartbeats();
  std::cout << fmt::format("{} heartbeats a second: lbd used {:.2f} % of a core\n", kPerSecond,
                           100 * share);
  EXPECT_LE(share, promised(kBar));
  EXPECT_EQ(in_kernel(), kernel_before);
  EXPECT_EQ(lbd_->log().substr(log_before), "");
}

INSTANTIATE_TEST_SUITE_P(Etcd, EtcdScale, testing::Values(EtcdStore::V3), store_name);

}  // namespace
}  // namespace lb::test
