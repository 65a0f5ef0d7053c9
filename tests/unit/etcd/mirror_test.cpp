#include "etcd/mirror.h"

#include <gtest/gtest.h>

namespace lb::etcd {
namespace {

KeyValue kv(const std::string& key, std::int64_t revision) { return {key, "v", revision, 0}; }
Event put(const std::string& key, std::int64_t revision) { return {false, kv(key, revision), {}}; }
Event del(const std::string& key, std::int64_t revision) { return {true, kv(key, revision), {}}; }

class MirrorTest : public testing::Test {
 protected:
  void SetUp() override {
    mirror_.replace("/s/", {{1, 5}, {kv("/s/a/x", 3), kv("/s/a/y", 4), kv("/s/ab/x", 5)}});
  }
  Mirror mirror_;
};

TEST_F(MirrorTest, TurnsTheEndOfADirectoryIntoTheEndOfItsKeys) {
  Event gone = del("/s/a", 6);
  gone.is_directory = true;
  gone.previous = KeyValue{"/s/a", "", 3, 1};
  const auto events = mirror_.apply(gone);
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].kv.key, "/s/a/x");
  EXPECT_EQ(events[1].kv.key, "/s/a/y");
  EXPECT_TRUE(events[0].is_delete);
  EXPECT_FALSE(events[0].is_directory);
  EXPECT_EQ(events[0].previous->lease, 1);
  EXPECT_TRUE(mirror_.apply(gone).empty());
}

TEST_F(MirrorTest, FindsNothingWhenTheWatchHasToldAll) {
  (void)mirror_.apply(put("/s/c/x", 6));
  (void)mirror_.apply(del("/s/a/x", 7));
  mirror_.audit_from({{1, 7}, {kv("/s/a/y", 4), kv("/s/ab/x", 5), kv("/s/c/x", 6)}}, "/s/");
  EXPECT_TRUE(mirror_.auditing());
  EXPECT_EQ(mirror_.end_audit(), "");
  EXPECT_FALSE(mirror_.auditing());
}

TEST_F(MirrorTest, FindsAMissedChange) {
  mirror_.audit_from({{1, 7}, {kv("/s/a/x", 3), kv("/s/a/y", 6), kv("/s/ab/x", 5)}}, "/s/");
  EXPECT_EQ(mirror_.end_audit(), "/s/a/y");
}

TEST_F(MirrorTest, FindsAMissedPutAndAMissedDelete) {
  mirror_.audit_from({{1, 7}, {kv("/s/a/x", 3), kv("/s/a/y", 4), kv("/s/ab/x", 5), kv("/s/n", 6)}},
                     "/s/");
  EXPECT_EQ(mirror_.end_audit(), "/s/n");
  mirror_.audit_from({{1, 7}, {kv("/s/a/x", 3), kv("/s/a/y", 4)}}, "/s/");
  EXPECT_EQ(mirror_.end_audit(), "/s/ab/x");
}

TEST_F(MirrorTest, TakesWhatArrivesAfterTheListingForTold) {
  mirror_.audit_from({{1, 7}, {kv("/s/a/x", 6), kv("/s/a/y", 4), kv("/s/n", 7)}}, "/s/");
  (void)mirror_.apply(put("/s/a/x", 6));
  (void)mirror_.apply(del("/s/ab/x", 7));
  (void)mirror_.apply(put("/s/n", 7));
  (void)mirror_.apply(put("/s/later", 8));
  (void)mirror_.apply(del("/s/n", 9));
  EXPECT_EQ(mirror_.end_audit(), "");
}

TEST_F(MirrorTest, ForgetsAnAuditWhenEverythingIsListedAnew) {
  mirror_.audit_from({{1, 7}, {}}, "/s/");
  mirror_.replace("/s/", {{1, 8}, {}});
  EXPECT_FALSE(mirror_.auditing());
}

}  // namespace
}  // namespace lb::etcd
