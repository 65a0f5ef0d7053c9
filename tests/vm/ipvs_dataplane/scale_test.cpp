// Many services. How long it takes is printed; the limit is generous, as the machine is emulated and not alone: 10,000
// services, which take IPVS some 15 s on a machine of its own, take minutes there.
#include <algorithm>
#include <chrono>
#include <fstream>
#include <iostream>
#include <thread>

#include <fmt/format.h>

#include "vm/ipvs_dataplane/fixture.h"

namespace lb::test {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr int kServices = 3'000, kEach = 10;

class IpvsScale : public IpvsVm {
 protected:
  void write_many() const {
    std::ofstream out(file("services.toml"));
    for (int i = 0; i < kServices; ++i) {
      std::vector<std::string> backends;
      for (int b = 0; b < kEach; ++b)
        backends.push_back(fmt::format("10.9.{}.{}:{}", 100 + i / 250, i % 250 + 1, 7000 + b));
      out << service(fmt::format("s{}", i), fmt::format("127.0.0.1:{}", 10000 + i), backends);
    }
  }
  // By its log, and now and then: asking lbd again and again would cost it more than its work.
  bool all_there() const {
    std::this_thread::sleep_for(500ms);
    const std::string log = lbd_->log(), word = "applied upserted=";
    int sum = 0;
    for (auto at = log.find(word); at != std::string::npos; at = log.find(word, at + 1))
      sum += std::atoi(log.c_str() + at + word.size());
    return sum >= kServices;
  }
  static double since(Clock::time_point begin) {
    return std::chrono::duration<double>(Clock::now() - begin).count();
  }
};

TEST_F(IpvsScale, ThousandsOfServicesArriveAndARestartWritesNothing) {
  write_many();
  configure();
  const auto begin = Clock::now();
  ASSERT_TRUE(lbd_->start());
  ASSERT_TRUE(eventually([&] { return all_there(); }, 100s)) << lbd_->json({"status"});
  std::cout << fmt::format(
      "{} services with {} backends each, from the start of lbd on: {:.1f} s\n", kServices, kEach,
      since(begin));
  const std::string saved = ipvs();
  EXPECT_EQ(std::count(saved.begin(), saved.end(), '\n'), kServices * (kEach + 1) + 1)
      << "with the sentinel";
  ASSERT_TRUE(eventually([&] { return all_is_noted(); }, 40s));
  lbd_->kill();
  const auto again = Clock::now();
  ASSERT_TRUE(lbd_->start());
  ASSERT_TRUE(eventually(
      [&] { return lbd_->log().rfind("snapshot") > lbd_->log().rfind("ready") && all_there(); },
      150s));
  std::cout << fmt::format("started again: {:.1f} s\n", since(again));
  EXPECT_EQ(status("/dataplane/writes"), "0");
}

}  // namespace
}  // namespace lb::test
