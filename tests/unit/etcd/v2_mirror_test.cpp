// What an audit may not take for a lost event.
#include <gtest/gtest.h>

#include "etcd/mirror.h"

namespace lb::etcd {
namespace {

TEST(V2Mirror, DoesNotMissTheRefreshOfATimeToLive) {
  Mirror mirror;
  mirror.replace("/a/", {{1, 7}, {{"/a/k", "v", 7, 1}}});
  mirror.audit_from({{1, 9}, {{"/a/k", "v", 9, 1}}}, "/a/");
  EXPECT_EQ(mirror.end_audit(), "");
}

TEST(V2Mirror, MissesAValueThatIsAnother) {
  Mirror mirror;
  mirror.replace("/a/", {{1, 7}, {{"/a/k", "v", 7, 1}}});
  mirror.audit_from({{1, 9}, {{"/a/k", "w", 9, 1}}}, "/a/");
  EXPECT_EQ(mirror.end_audit(), "/a/k");
}

}  // namespace
}  // namespace lb::etcd
