#include "dataplane/ipvs_journal.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "support/temp_folder.h"

namespace lb {
namespace {

using testing::HasSubstr;

IpvsEntry entry(std::string_view key, std::uint32_t mark = 0) {
  IpvsEntry out;
  out.key = *ServiceKey::parse(key);
  out.balance = Balance::RoundRobin;
  out.addresses = {out.key.address};
  out.mark = mark;
  out.launder = mark == 0;
  out.ids = {mark != 0 ? ipvs::ServiceId::of_mark(mark, true) : ipvs::ServiceId::of(out.key)};
  out.refusing = out.ids;
  if (mark == 0) out.laundered = {out.key};
  return out;
}

class IpvsJournalTest : public testing::Test {
 protected:
  [[nodiscard]] std::string path() const { return folder_.file("ipvs.json"); }
  IpvsJournal open() {
    auto journal = IpvsJournal::open(path());
    EXPECT_TRUE(journal) << journal.error().message();
    return *std::move(journal);
  }
  TempFolder folder_;
};

TEST_F(IpvsJournalTest, EntriesSurviveTheProcess) {
  const auto web = entry("127.0.0.1:80"), out = entry("udp://[::]:53", nft::kMarkBase | 1);
  {
    IpvsJournal journal = open();
    ASSERT_TRUE(journal.put(web));
    ASSERT_TRUE(journal.put(out));
    ASSERT_TRUE(journal.put(entry("127.0.0.1:81")));
    ASSERT_TRUE(journal.erase(*ServiceKey::parse("127.0.0.1:81")));
    ASSERT_TRUE(journal.put_tables("abc"));
  }
  const IpvsJournal again = open();
  EXPECT_EQ(again.entries(), (std::map<ServiceKey, IpvsEntry>{{web.key, web}, {out.key, out}}));
  EXPECT_EQ(again.tables(), "abc");
}

TEST_F(IpvsJournalTest, WhatAnOperatorDrainsIsNotedAndThatItIsNoted) {
  auto web = entry("127.0.0.1:80");
  web.drained = {*Address::parse("10.0.0.1:80")};
  ASSERT_TRUE(open().put(web));
  EXPECT_EQ(open().entries().at(web.key), web);
  std::string text = folder_.read("ipvs.json");
  const auto at = text.find("\"drained\"");
  text.replace(at, 9, "\"unknown\"");
  folder_.write("ipvs.json", text);
  const IpvsEntry older = open().entries().at(web.key);
  EXPECT_FALSE(older.explained);
  EXPECT_TRUE(older.drained.empty());
}

TEST_F(IpvsJournalTest, WhatIsWithheldFromOtherHostsIsNoted) {
  auto web = entry("0.0.0.0:80");
  web.withheld = {*IpAddress::parse("10.0.0.1")};
  web.for_others = false;
  ASSERT_TRUE(open().put(web));
  EXPECT_EQ(open().entries().at(web.key), web);
}

TEST_F(IpvsJournalTest, ALineThatACrashCutOffIsIgnored) {
  ASSERT_TRUE(open().put(entry("127.0.0.1:80")));
  std::string text = folder_.read("ipvs.json");
  folder_.write("ipvs.json", text + text.substr(text.rfind('{'), 20));
  EXPECT_EQ(open().entries().size(), 1U);
}

TEST_F(IpvsJournalTest, WhatIsOfAnotherBootIsNotInTheKernel) {
  ASSERT_TRUE(open().put(entry("127.0.0.1:80")));
  EXPECT_TRUE(IpvsJournal::exists(path()));
  std::string text = folder_.read("ipvs.json");
  text.replace(text.find("netns"), 5, "other");
  folder_.write("ipvs.json", text);
  EXPECT_FALSE(IpvsJournal::exists(path()));
  EXPECT_TRUE(open().entries().empty());
}

TEST_F(IpvsJournalTest, AFileThatIsNoJournalIsLeftAlone) {
  folder_.write("ipvs.json", "hello\n");
  const auto journal = IpvsJournal::open(path());
  ASSERT_FALSE(journal);
  EXPECT_THAT(journal.error().message(), HasSubstr("ipvs.json is no record"));
  EXPECT_EQ(folder_.read("ipvs.json"), "hello\n");
}

TEST_F(IpvsJournalTest, ABrokenLineIsNamed) {
  ASSERT_TRUE(open().put(entry("127.0.0.1:80")));
  folder_.write("ipvs.json", folder_.read("ipvs.json") + "{\"service\": \"nonsense\"}\n");
  const auto journal = IpvsJournal::open(path());
  ASSERT_FALSE(journal);
  EXPECT_THAT(journal.error().message(), HasSubstr("ipvs.json line 3"));
}

TEST_F(IpvsJournalTest, TheSmallestFreeMarkIsGiven) {
  IpvsJournal journal = open();
  EXPECT_EQ(*journal.free_mark(), nft::kMarkBase | 1);
  ASSERT_TRUE(journal.put(entry("0.0.0.0:80", nft::kMarkBase | 1)));
  ASSERT_TRUE(journal.put(entry("0.0.0.0:82", nft::kMarkBase | 3)));
  EXPECT_EQ(*journal.free_mark(), nft::kMarkBase | 2);
}

TEST_F(IpvsJournalTest, IsCompactedWhenItHasGrown) {
  IpvsJournal journal = open();
  for (int i = 0; i < 3000; ++i) ASSERT_TRUE(journal.put(entry("127.0.0.1:80")));
  const std::string text = folder_.read("ipvs.json");
  EXPECT_LT(std::count(text.begin(), text.end(), '\n'), 1100);
  EXPECT_EQ(open().entries().size(), 1U);
}

}  // namespace
}  // namespace lb
