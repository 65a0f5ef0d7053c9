#include "etcd/retry.h"

#include <gtest/gtest.h>

namespace lb::etcd {
namespace {

using namespace std::chrono_literals;

TEST(EtcdRetry, AsksTheNextEndpointAfterEachFailure) {
  Retry retry(3);
  EXPECT_EQ(retry.endpoint(), 0U);
  (void)retry.failed(0);
  EXPECT_EQ(retry.endpoint(), 1U);
  (void)retry.failed(0);
  (void)retry.failed(0);
  EXPECT_EQ(retry.endpoint(), 0U);
}

TEST(EtcdRetry, StartsFastDoublesAndStopsAtTenSeconds) {
  Retry retry(1);
  const auto almost_one = 0.9999999;
  EXPECT_LE(retry.failed(almost_one), 10ms);
  std::chrono::milliseconds last{0};
  for (int i = 0; i < 40; ++i) {
    const auto pause = retry.failed(almost_one);
    EXPECT_GE(pause, i == 0 ? 99ms : std::min<std::chrono::milliseconds>(2 * last, 9999ms));
    EXPECT_LE(pause, 10s);
    last = pause;
  }
  EXPECT_GE(last, 9999ms);
}

TEST(EtcdRetry, SpreadsByHalf) {
  Retry a(1);
  Retry b(1);
  for (int i = 0; i < 5; ++i) EXPECT_LE(a.failed(0) * 2 - b.failed(0.9999999), 2ms);
}

TEST(EtcdRetry, IsFastAgainAfterASuccess) {
  Retry retry(1);
  for (int i = 0; i < 9; ++i) (void)retry.failed(0.5);
  retry.succeeded();
  EXPECT_LE(retry.failed(0.5), 10ms);
}

}  // namespace
}  // namespace lb::etcd
