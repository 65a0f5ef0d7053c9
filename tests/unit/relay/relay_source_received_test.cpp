#include "relay/received.h"

#include <gtest/gtest.h>

#include <fmt/format.h>

#include "support/snapshot_builder.h"
#include "unit/relay/times.h"

namespace lb::relay {
namespace {

using Services = std::vector<ServicePtr>;
using Lines = std::vector<std::string>;

TEST(Received, SharesServicesThatHaveNotChanged) {
  const Services before{offered("127.0.0.1:80", {listed("10.0.0.1:80")}),
                        offered("127.0.0.1:81", {listed("10.0.0.1:81")})};
  const Services after =
      share(before, {offered("127.0.0.1:79", {}), offered("127.0.0.1:80", {listed("10.0.0.1:80")}),
                     offered("127.0.0.1:81", {listed("10.0.0.2:81")})});
  EXPECT_EQ(after[1], before[0]);
  EXPECT_NE(after[2], before[1]);
}

TEST(Received, RefusesLoopbackBackendsAndKeepsTheRest) {
  Lines warnings;
  const auto out = usable({offered("127.0.0.1:80", {listed("127.0.0.1:9001"), listed("[::1]:9002"),
                                                    listed("10.0.0.1:80")})},
                          {}, warnings);
  ASSERT_EQ(out.size(), 1U);
  ASSERT_EQ(out[0]->backends.size(), 1U);
  EXPECT_EQ(out[0]->backends[0].address.to_string(), "10.0.0.1:80");
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_NE(warnings[0].find("service web (tcp://127.0.0.1:80)"), std::string::npos) << warnings[0];
  EXPECT_NE(warnings[0].find("[::1]:9002"), std::string::npos) << warnings[0];
  EXPECT_NE(warnings[0].find("127.0.0.1:9001"), std::string::npos) << warnings[0];
}

TEST(Received, RefusesAllOf127AndTheUnspecifiedAddresses) {
  for (const char* address : {"127.255.0.1:80", "[::ffff:127.0.0.9]:80", "0.0.0.0:80", "[::]:80"}) {
    Lines warnings;
    const auto out = usable({offered("127.0.0.1:80", {listed(address)})}, {}, warnings);
    EXPECT_TRUE(out[0]->backends.empty()) << address;
    EXPECT_EQ(warnings.size(), 1U) << address;
  }
}

TEST(Received, NamesAFewOfManyRefusedBackends) {
  std::vector<Backend> many;
  for (int i = 1; i <= 200; ++i) many.push_back(listed(fmt::format("127.0.0.1:{}", 9000 + i)));
  Lines warnings;
  (void)usable({offered("127.0.0.1:80", many)}, {}, warnings);
  EXPECT_NE(warnings.at(0).find("and 197 more"), std::string::npos) << warnings[0];
}

TEST(Received, SharesWhatItHasMadeOfAServiceBefore) {
  const Services services{
      offered("127.0.0.1:80", {listed("127.0.0.1:9001"), listed("10.0.0.1:80")}),
      offered("127.0.0.1:81", {listed("10.0.0.1:81")})};
  Lines first_warnings, second_warnings;
  const auto first = usable(services, {}, first_warnings);
  EXPECT_EQ(usable(services, first, second_warnings), first);
  EXPECT_EQ(first_warnings, second_warnings);
}

TEST(Received, RevisionIsReadBack) {
  const std::vector<SourceMark> marks{{"marathon http://m1:8080", "x", wall(3), wall(9), true},
                                      {"a=b:100%", "", wall(4), wall(4), false}};
  const std::string text = format_revision({"0f:e1", 41}, marks);
  const auto revision = parse_revision(text);
  ASSERT_TRUE(revision) << text;
  EXPECT_EQ(revision->at, (Position{"0f:e1", 41}));
  ASSERT_EQ(revision->sources.size(), 2U);
  EXPECT_EQ(revision->sources[0].name, "marathon http://m1:8080");
  EXPECT_EQ(revision->sources[0].as_of, wall(3));
  EXPECT_EQ(revision->sources[1].name, "a=b:100%");
}

TEST(Received, RevisionBeginsWithEpochAndSequence) {
  EXPECT_EQ(format_revision({"abc", 7}, {}), "abc:7");
  EXPECT_EQ(parse_revision("abc:7")->at, (Position{"abc", 7}));
}

TEST(Received, RefusesRevisionsOfAnotherKind) {
  for (const char* text : {"", "abc", "abc:", ":7", "abc:7x", "abc:-1", "%zz:7", "abc:7:8"})
    EXPECT_FALSE(parse_revision(text)) << text;
}

}  // namespace
}  // namespace lb::relay
