#include "sources/etcd_position.h"

#include <gtest/gtest.h>

namespace lb {
namespace {

TEST(EtcdPositions, AreReadAsTheyWereWritten) {
  const EtcdPositions positions{
      {"/conf/a", {etcd::ApiVersion::V3, {18446744073709551615U, 9223372036854775807}}},
      {"/conf/b=1", {etcd::ApiVersion::V2, {7, 1109}}}};
  EXPECT_EQ(format_positions(positions),
            "/conf/a=v3/18446744073709551615:9223372036854775807 /conf/b=1=v2/7:1109");
  EXPECT_EQ(parse_positions(format_positions(positions)), positions);
  EXPECT_EQ(position_of(positions, "/conf/b=1")->header.revision, 1109);
  EXPECT_FALSE(position_of(positions, "/conf/c"));
}

TEST(EtcdPositions, LeaveOutWhatTheyCannotRead) {
  for (const char* text :
       {"", " ", "7:8", "/a=", "/a=v4/1:2", "/a=v3/1", "/a=v3/x:2", "/a=v3/1:2x"})
    EXPECT_TRUE(parse_positions(text).empty()) << text;
  EXPECT_EQ(parse_positions("junk /a=v3/1:2 more").size(), 1U);
}

}  // namespace
}  // namespace lb
