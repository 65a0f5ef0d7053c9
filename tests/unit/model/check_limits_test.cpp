#include "model/check_limits.h"

#include <functional>
#include <string>

#include <gtest/gtest.h>

namespace lb {
namespace {

using namespace std::chrono_literals;

bool good(const std::function<void(HealthCheck&)>& change) {
  HealthCheck check;
  change(check);
  return check_limits::validate(check).has_value();
}

TEST(CheckLimits, HoldForEachPartOfACheck) {
  EXPECT_TRUE(good([](HealthCheck&) {}));
  EXPECT_TRUE(good([](HealthCheck& c) { c.path = "/health?full=1&x=%20"; }));
  for (const std::string path :
       {"", "health", "@127.0.0.1:2379/v2/keys/secret", ":80/", "/a b", "/a\r\nHost: x", "/a\t",
        "/a#b", "/\x7f", "/\xc3\xbc", "//\n", ".evil.example/"})
    EXPECT_FALSE(good([&](HealthCheck& c) { c.path = path; })) << path;
  EXPECT_FALSE(good([](HealthCheck& c) { c.path = "/" + std::string(1024, 'x'); }));
  for (const auto interval : {0ms, -1ms, 1ms, 99ms, 3'600'001ms})
    EXPECT_FALSE(good([&](HealthCheck& c) { c.interval = interval; }));
  for (const auto timeout : {0ms, 9ms, 60'001ms})
    EXPECT_FALSE(good([&](HealthCheck& c) { c.timeout = timeout; }));
  for (const std::uint32_t times : {0U, 101U, ~0U}) {
    EXPECT_FALSE(good([&](HealthCheck& c) { c.rise = times; }));
    EXPECT_FALSE(good([&](HealthCheck& c) { c.fall = times; }));
  }
}

}  // namespace
}  // namespace lb
