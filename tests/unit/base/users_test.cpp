#include "base/users.h"

#include <gtest/gtest.h>

#include "support/temp_folder.h"

namespace lb {
namespace {

TEST(Users, AreFoundByNameAndByNumber) {
  const TempFolder folder;
  const std::string passwd = folder.write(
      "passwd", "root:x:0:0:root:/root:/bin/sh\nbroken\nhalf:x\nhaproxy:x:99:99::/:/bin/false");
  EXPECT_EQ(find_uid("haproxy", passwd), 99U);
  EXPECT_EQ(find_uid("root", passwd), 0U);
  EXPECT_EQ(find_uid("half", passwd), std::nullopt);
  EXPECT_EQ(find_uid("nginx", passwd), std::nullopt);
  EXPECT_EQ(name_user(99, passwd), "haproxy (uid 99)");
  EXPECT_EQ(name_user(33, passwd), "uid 33");
  EXPECT_EQ(name_user(33, folder.file("nowhere")), "uid 33");
}

TEST(Users, HaveNumbersBelowTheLast) {
  EXPECT_EQ(parse_id("99"), 99U);
  EXPECT_EQ(parse_id("4294967294"), 4294967294U);
  for (const char* bad : {"", "4294967295", "4294967296", "-1", "+1", "9 ", "0x9"})
    EXPECT_EQ(parse_id(bad), std::nullopt) << bad;
}

TEST(Users, AreAskedOfTheHost) {
  EXPECT_EQ(ask_for_uid("root"), 0U);
  EXPECT_EQ(ask_for_gid("root"), 0U);
  EXPECT_EQ(ask_for_uid("no such user"), std::nullopt);
}

}  // namespace
}  // namespace lb
