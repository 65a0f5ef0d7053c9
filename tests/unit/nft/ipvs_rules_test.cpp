// Rules as text. What they do to packets is shown in tests/netns/nft and tests/vm.
#include "nft/ipvs_rules.h"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lb::nft {
namespace {

using testing::HasSubstr;
using testing::Not;

ServiceKey key(std::string_view text) { return ServiceKey::parse(text).value(); }

TEST(IpvsRules, KeepsTheFamiliesApart) {
  const IpvsRules rules{.laundered = {key("127.0.0.5:80"), key("udp://[::1]:53")}};
  const std::string text = render("lbd", rules);
  const auto v6 = text.find("table ip6 lbd {");
  ASSERT_NE(v6, std::string::npos);
  EXPECT_LT(text.find("127.0.0.5 . tcp . 80"), v6);
  EXPECT_GT(text.find("::1 . udp . 53"), v6);
  EXPECT_NE(text.find("::1 . udp . 53"), std::string::npos);
}

TEST(IpvsRules, MarksAndRefusesByAddress) {
  const IpvsRules rules{.marks = {{key("10.0.0.1:81"), 0x5a000002}},
                        .refusing = {key("[fd00::1]:82")}};
  const std::string text = render("lbd", rules);
  EXPECT_THAT(text, HasSubstr("\n10.0.0.1 . tcp . 81 : 0x5a000002"));
  EXPECT_THAT(text, HasSubstr("\nfd00::1 . tcp . 82"));
}

TEST(IpvsRules, MarksLocalClientsOnlyWhereNobodyElseServesThem) {
  EXPECT_THAT(render("lbd", {.mark_local_clients = true}), HasSubstr("mark_local"));
  EXPECT_THAT(render("lbd", {.mark_local_clients = false}), Not(HasSubstr("mark_local")));
}

TEST(IpvsRules, LeavesOthersUnmarkedWhereTheyAreNotServed) {
  const IpvsRules rules{.marks = {{key("10.0.0.1:81"), 0x5a000002}},
                        .withheld = {key("10.0.0.1:81")}};
  const std::string text = render("lbd", rules);
  const auto outside = text.find("chain mark_outside");
  const auto spared = text.find("th dport @withheld accept", outside);
  const auto marked = text.find("th dport map @marks", outside);
  ASSERT_NE(spared, std::string::npos);
  EXPECT_LT(spared, marked);
  EXPECT_EQ(text.find("@withheld", text.find("chain mark_local")),
            text.find("@withheld", text.find("table ip6")))
      << "local clients are marked all the same";
  IpvsRules before = rules;
  before.withheld.clear();
  EXPECT_EQ(render_change("lbd", before, rules),
            "add element ip lbd withheld {\n10.0.0.1 . tcp . 81\n}\n");
}

TEST(IpvsRules, DropsForwardingOfOthersOnlyWhereItWasOff) {
  EXPECT_THAT(render("lbd", {.guard_forwarding = true}), HasSubstr("hook forward"));
  EXPECT_THAT(render("lbd", {.guard_forwarding = false}), Not(HasSubstr("hook forward")));
}

TEST(IpvsRules, ChangesNothingWhereNothingDiffers) {
  const IpvsRules rules{.laundered = {key("127.0.0.1:80")},
                        .marks = {{key("10.0.0.1:80"), 0x5a000001}}};
  EXPECT_EQ(render_change("lbd", rules, rules), "");
}

TEST(IpvsRules, ChangesAsManyElementsAsDiffer) {
  IpvsRules from;
  for (Port port = 1; port <= 1000; ++port)
    from.laundered.insert({Protocol::Tcp, IpAddress::v4(0x7f000001), port});
  IpvsRules to = from;
  to.laundered.erase(key("127.0.0.1:500"));
  to.laundered.insert(key("127.0.0.1:2000"));
  EXPECT_EQ(render_change("lbd", from, to),
            "delete element ip lbd laundered {\n127.0.0.1 . tcp . 500\n}\n"
            "add element ip lbd laundered {\n127.0.0.1 . tcp . 2000\n}\n");
}

TEST(IpvsRules, TakesAnOldMarkAwayBeforeItGivesANewOne) {
  const IpvsRules from{.marks = {{key("[fd00::1]:80"), 0x5a000001}}};
  const IpvsRules to{.marks = {{key("[fd00::1]:80"), 0x5a000002}}};
  EXPECT_EQ(render_change("lbd", from, to),
            "delete element ip6 lbd marks {\nfd00::1 . tcp . 80 : 0x5a000001\n}\n"
            "add element ip6 lbd marks {\nfd00::1 . tcp . 80 : 0x5a000002\n}\n");
}

TEST(IpvsRules, RendersAllWhereChainsDiffer) {
  const IpvsRules from, to{.guard_forwarding = true};
  EXPECT_EQ(render_change("lbd", from, to), render("lbd", to));
}

}  // namespace
}  // namespace lb::nft
