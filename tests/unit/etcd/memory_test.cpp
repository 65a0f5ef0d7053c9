// What an answer of etcd costs in memory: the allocations of this program are counted.
#include <malloc.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <new>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/text.h"
#include "etcd/v2_codec.h"
#include "etcd/v3_codec.h"
#include "etcd/v3_watch_codec.h"

namespace {

std::atomic<std::size_t> live{0};
std::atomic<std::size_t> most{0};

void* counted(std::size_t size) {
  void* const out = std::malloc(size);
  if (out == nullptr) throw std::bad_alloc();
  const std::size_t now = live += malloc_usable_size(out);
  if (now > most) most = now;
  return out;
}

void uncounted(void* memory) {
  if (memory != nullptr) live -= malloc_usable_size(memory);
  std::free(memory);
}

}  // namespace

void* operator new(std::size_t size) { return counted(size); }
void* operator new[](std::size_t size) { return counted(size); }
void operator delete(void* memory) noexcept { uncounted(memory); }
void operator delete[](void* memory) noexcept { uncounted(memory); }
void operator delete(void* memory, std::size_t) noexcept { uncounted(memory); }
void operator delete[](void* memory, std::size_t) noexcept { uncounted(memory); }

namespace lb::etcd {
namespace {

// Sanitizers take minutes for the largest; the limits are the same.
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LB_TEST_SANITIZED
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(LB_TEST_SANITIZED)
constexpr std::size_t kAnswer = std::size_t{1} << 18;
#else
constexpr std::size_t kAnswer = std::size_t{64} << 20;
#endif
constexpr std::size_t kMost = std::size_t{256} << 20;  // four times the largest

std::string filled(std::string_view begin, std::string_view item, std::string_view end) {
  std::string out;
  out.reserve(kAnswer + 200);
  out += begin;
  while (out.size() < kAnswer) out += item;
  return out += end;
}

using Read = void (*)(std::string_view body);

void read_listing(std::string_view body) { (void)v2::parse_listing({200, "1", "1", body}, "/a"); }
void read_event(std::string_view body) { (void)v2::parse_watch_event(body, "/a"); }
void read_failure(std::string_view body) { (void)v2::failure({500, "1", "1", body}); }
void read_range(std::string_view body) { (void)parse_range(body); }
void read_watch(std::string_view body) {
  WatchAssembler watch(1, {{"/a", 1}}, kAnswer + 1000);
  (void)watch.feed(body);
}

TEST(Memory, OfAnAnswerIsAtMostFourTimesItsSize) {
  const std::string v3 = R"({"header":{"cluster_id":"1","revision":"1"},"kvs":[)";
  const std::string v2 = R"({"node":{"key":"/a","dir":true,"nodes":[)";
  const std::pair<Read, std::string> cases[] = {
      {read_listing, filled(v2, R"({"key":"/a"},)", R"({"key":"/a"}]}})")},
      {read_listing, filled("", R"({"nodes":)", "")},
      {read_event, filled("[", "{},", "{}]")},
      {read_failure, filled("[", "{},", "{}]")},
      {read_range, filled(v3, R"({"key":"YQ=="},)", R"({"key":"YQ=="}]})")},
      {read_range, filled(R"({"a":")", "xxxxxxxxxxxxxxxx", R"("})")},
      {read_watch, filled(R"({"result":{"events":[)", R"({"kv":{"key":""}},)", "{}]}}")},
      {read_watch, filled("", "{}\n", "")}};
  for (const auto& [read, body] : cases) {
    const std::size_t before = live;
    most = before;
    read(body);
    EXPECT_LE(most - before + body.size(), kMost)
        << printable(std::string_view(body).substr(0, 120), 120);
  }
}

// The limits are for junk: half a million keys of usual size are none.
TEST(Memory, SufficesForTheKeysOfAnHonestAnswer) {
  const std::string body = filled(
      R"({"node":{"key":"/a","dir":true,"nodes":[)",
      R"({"key":"/a/bcdefghijklmnopqrstuvwxyz","value":"127.0.0.1:8080/weight=100&since=1700000000","modifiedIndex":12345,"createdIndex":12345},)",
      R"({"key":"/a/b"}]}})");
  const std::size_t before = live;
  most = before;
  const auto listing = v2::parse_listing({200, "1", "1", body}, "/a");
  ASSERT_TRUE(listing) << listing.error().message();
  EXPECT_GT(listing->kvs.size(), kAnswer / 200);
  EXPECT_LE(most - before + body.size(), kMost);
}

}  // namespace
}  // namespace lb::etcd
