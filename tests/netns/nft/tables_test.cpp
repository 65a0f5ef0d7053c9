// Rulesets go into a kernel and come back.
#include "nft/tables.h"

#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <optional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nft/ipvs_rules.h"
#include "support/net_namespace.h"
#include "support/sandbox.h"

namespace lb::nft {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class TablesTest : public testing::Test {
 protected:
  void SetUp() override {
    if (const auto why = test::Sandbox::obstacle(); !why.empty()) GTEST_SKIP() << why;
    sandbox_.emplace();
    auto opened = Tables::open();
    if (!opened) GTEST_SKIP() << opened.error().message();
    tables_.emplace(*std::move(opened));
  }

  std::string listed() { return tables_->list("lbd").value(); }
  void apply(const std::string& rules) {
    const auto applied = tables_->apply(rules);
    ASSERT_TRUE(applied) << applied.error().message() << "\n" << rules.substr(0, 4000);
  }
  static std::string whole_ruleset() { return test::run({"nft", "list", "ruleset"}).out; }

  std::optional<test::Sandbox> sandbox_;
  std::optional<Tables> tables_;
};

ServiceKey key(std::string_view text) { return ServiceKey::parse(text).value(); }

IpvsRules some_rules() {
  return {.laundered = {key("127.0.0.1:80"), key("127.0.0.5:80"), key("udp://127.0.0.1:53"),
                        key("[::1]:80")},
          .marks = {{key("10.0.0.1:8090"), 0x5a000001},
                    {key("[fd00::1]:8090"), 0x5a000001},
                    {key("10.0.0.1:81"), 0x5a000002},
                    {key("[fd00::1]:81"), 0x5a000003}},
          .refusing = {key("127.0.0.1:80"), key("[::1]:80")},
          .guard_forwarding = true};
}

TEST_F(TablesTest, HoldsTheRulesThatWereApplied) {
  apply(render("lbd", some_rules()));
  const std::string text = listed();
  EXPECT_THAT(text, HasSubstr("127.0.0.5 . 6 . 80"));
  EXPECT_THAT(text, HasSubstr("10.0.0.1 . 6 . 8090 : 0x5a000001"));
  EXPECT_THAT(text, HasSubstr("fd00::1 . 6 . 81 : 0x5a000003"));
}

TEST_F(TablesTest, ListsEqualRulesAsEqualText) {
  IpvsRules rules = some_rules();
  for (Port port = 1000; port < 2000; ++port) {
    rules.laundered.insert({Protocol::Tcp, IpAddress::v4(0x7f000001), port});
    rules.marks[{Protocol::Udp, IpAddress::v4(0x0a000001), port}] = 0x5a000000U + port;
  }
  apply(render("lbd", rules));
  const std::string first = listed();
  // The kernel's hash tables get another seed each time.
  for (int i = 0; i < 3; ++i) {
    apply(render("lbd", rules));
    EXPECT_TRUE(first == listed());
  }
}

TEST_F(TablesTest, EndsWithTheSameRulesByAChangeAndAnew) {
  const IpvsRules from = some_rules();
  IpvsRules to = some_rules();
  to.laundered.erase(key("127.0.0.5:80"));
  to.refusing = {key("127.0.0.5:80")};
  to.laundered.insert(key("udp://127.0.0.7:5000"));
  to.marks[key("10.0.0.1:81")] = 0x5a000009;
  to.marks[key("[fd00::1]:8090")] = 0x5a00000a;
  to.marks.erase(key("10.0.0.1:8090"));
  to.marks[key("udp://10.0.0.1:8090")] = 0x5a00000b;
  apply(render("lbd", to));
  const std::string anew = listed();
  apply(render("lbd", from));
  apply(render_change("lbd", from, to));
  EXPECT_EQ(listed(), anew);
}

TEST_F(TablesTest, AppliesAllOrNothing) {
  apply(render("lbd", some_rules()));
  const std::string before = listed();
  const auto applied = tables_->apply(
      "delete element ip lbd laundered { 127.0.0.1 . tcp . 80 }\n"
      "delete element ip lbd laundered { 127.0.0.9 . tcp . 80 }\n");
  ASSERT_FALSE(applied);
  EXPECT_THAT(applied.error().message(), HasSubstr("No such file or directory"));
  EXPECT_EQ(listed(), before);
}

TEST_F(TablesTest, ListsNothingWhereThereIsNothing) { EXPECT_EQ(listed(), ""); }

TEST_F(TablesTest, RemovesItsTablesAndNoOthers) {
  test::run_or_throw({"nft", "add", "table", "ip", "theirs"});
  const std::string before = whole_ruleset();
  apply(render("lbd", some_rules()));
  ASSERT_TRUE(tables_->remove("lbd"));
  EXPECT_EQ(whole_ruleset(), before);
  EXPECT_TRUE(tables_->remove("lbd")) << "absent already";
}

TEST_F(TablesTest, NoticesByTheGenerationThatSomebodyChangedSomething) {
  const auto before = tables_->generation().value();
  EXPECT_EQ(tables_->generation().value(), before);
  test::run_or_throw({"nft", "add", "table", "ip", "theirs"});
  EXPECT_NE(tables_->generation().value(), before);
}

TEST_F(TablesTest, FindsForwardChainsThatDropByPolicy) {
  apply(render("lbd", some_rules()));
  test::run_or_throw(
      {"nft",
       "add table ip filter;"
       "add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; };"
       "add chain ip filter INPUT { type filter hook input priority 0; policy drop; };"
       "add table inet calm;"
       "add chain inet calm forward { type filter hook forward priority 0; };"});
  const auto dropping = tables_->dropping_chains("lbd").value();
  ASSERT_EQ(dropping.size(), 1u);
  EXPECT_EQ(dropping[0].family, "ip");
  EXPECT_EQ(dropping[0].table, "filter");
  EXPECT_EQ(dropping[0].chain, "FORWARD");
}

TEST_F(TablesTest, TakesTenThousandServices) {
  IpvsRules rules;
  for (unsigned i = 0; i < 10'000; ++i) {
    const auto port = static_cast<Port>(1000 + i);
    rules.laundered.insert({Protocol::Tcp, IpAddress::v4(0x7f000001), port});
    rules.marks[{Protocol::Tcp, IpAddress::v4(0x0a000001), port}] = kMarkBase + i;
  }
  const auto started = std::chrono::steady_clock::now();
  apply(render("lbd", rules));
  EXPECT_LT(std::chrono::steady_clock::now() - started, std::chrono::seconds(15));
  IpvsRules more = rules;
  more.marks[key("10.0.0.1:80")] = kMarkBase + 20'000;
  more.laundered.erase(key("127.0.0.1:5000"));
  const std::string change = render_change("lbd", rules, more);
  EXPECT_LT(change.size(), 200u);
  apply(change);
}

TEST_F(TablesTest, SaysThatCapNetAdminIsMissing) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setuid(65534) != 0) ::_exit(2);
    const auto opened = Tables::open();
    ::_exit(!opened && opened.error().code == std::errc::operation_not_permitted &&
                    opened.error().message().find("CAP_NET_ADMIN") != std::string::npos
                ? 0
                : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace lb::nft
