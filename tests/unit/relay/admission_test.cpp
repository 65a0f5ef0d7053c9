#include "relay/admission.h"

#include <gtest/gtest.h>

namespace lb::relay {
namespace {

TEST(Admission, LetsTheOldestSilentOneOfAnAddressGoForTheNext) {
  Admission admission({.strangers = 100, .strangers_per_address = 3, .listeners = 10});
  for (Admission::Id id = 1; id <= 3; ++id) EXPECT_FALSE(admission.arrive(id, "a"));
  EXPECT_FALSE(admission.arrive(4, "b"));
  EXPECT_EQ(admission.arrive(5, "a"), 1U);
  EXPECT_EQ(admission.strangers(), 4U);
  EXPECT_FALSE(admission.greet(2));  // no stranger any more
  EXPECT_FALSE(admission.arrive(6, "a"));
  EXPECT_EQ(admission.arrive(7, "a"), 3U);
}

TEST(Admission, TakesFromTheAddressThatHasMostWhenThereAreTooManyInAll) {
  Admission admission({.strangers = 4, .strangers_per_address = 3, .listeners = 10});
  (void)admission.arrive(1, "quiet");
  for (Admission::Id id = 2; id <= 4; ++id) EXPECT_FALSE(admission.arrive(id, "loud"));
  EXPECT_EQ(admission.arrive(5, "other"), 2U);
  EXPECT_EQ(admission.strangers(), 4U);
}

TEST(Admission, AListenerOfAnotherAddressFindsRoomThatOneAddressHasTaken) {
  Admission admission({.strangers = 9, .strangers_per_address = 9, .listeners = 3});
  for (Admission::Id id = 1; id <= 3; ++id) {
    (void)admission.arrive(id, "loud");
    EXPECT_FALSE(admission.greet(id));
  }
  (void)admission.arrive(4, "loud");
  EXPECT_EQ(admission.greet(4), 4U) << "it has no less than the others";
  (void)admission.arrive(5, "real");
  EXPECT_EQ(admission.greet(5), 3U);
  EXPECT_EQ(admission.listeners(), 3U);
  EXPECT_EQ(admission.strangers(), 0U);
}

TEST(Admission, ForgetsWhatHasGone) {
  Admission admission({.strangers = 2, .strangers_per_address = 2, .listeners = 2});
  for (Admission::Id id = 1; id <= 50; ++id) {
    EXPECT_FALSE(admission.arrive(id, "a"));
    if (id % 2 == 0) {
      EXPECT_FALSE(admission.greet(id));
    }
    admission.leave(id);
    admission.leave(id);
  }
  EXPECT_EQ(admission.strangers() + admission.listeners(), 0U);
}

TEST(Admission, CountsTheAddressesOfOneOwnerAsOne) {
  EXPECT_EQ(owner_of("10.0.0.1"), "10.0.0.1");
  EXPECT_EQ(owner_of("::ffff:10.0.0.1"), "10.0.0.1");
  EXPECT_EQ(owner_of("fd00:1:2:3::7"), owner_of("fd00:1:2:3:4:5:6:7"));
  EXPECT_NE(owner_of("fd00:1:2:3::7"), owner_of("fd00:1:2:4::7"));
  EXPECT_EQ(owner_of("fe80::1%eth0"), owner_of("fe80::2"));
  EXPECT_EQ(owner_of("?"), "?");
}

}  // namespace
}  // namespace lb::relay
