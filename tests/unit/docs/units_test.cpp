// The systemd units, read as systemd reads them: what they promise, and what OPERATIONS shows of them.
#include <map>
#include <set>
#include <sstream>

#include <gtest/gtest.h>

#include "support/process.h"
#include "unit/docs/pages.h"

namespace lb::test {
namespace {

using Section = std::multimap<std::string, std::string>;

std::map<std::string, Section> read_unit(const std::string& text) {
  std::istringstream in(text);
  std::map<std::string, Section> out;
  std::string name;
  for (std::string line; std::getline(in, line);) {
    if (line.empty() || line[0] == '#') continue;
    if (line[0] == '[') {
      name = line.substr(1, line.size() - 2);
    } else {
      const auto equals = line.find('=');
      out[name].emplace(line.substr(0, equals), line.substr(equals + 1));
    }
  }
  return out;
}

std::string only(const Section& section, const std::string& key) {
  const auto [begin, end] = section.equal_range(key);
  return std::distance(begin, end) == 1 ? begin->second : "";
}

// systemd's own limit is five starts in ten seconds, and it is a key of [Unit]: in [Service] it means nothing.
TEST(Units, AreStartedAgainForEver) {
  int seen = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(repository() / "packaging/systemd")) {
    auto unit = read_unit(read_page(entry.path()));
    ++seen;
    EXPECT_EQ(only(unit["Unit"], "StartLimitIntervalSec"), "0") << entry.path();
    EXPECT_EQ(only(unit["Service"], "Restart"), "always") << entry.path();
    EXPECT_EQ(only(unit["Service"], "RestartSec"), "2s") << entry.path();
    EXPECT_FALSE(unit["Service"].contains("RestartPreventExitStatus")) << entry.path();
  }
  EXPECT_EQ(seen, 3);
}

// As `systemd-analyze security` rates them; the lower the better, 10 is a program of root without any limit.
TEST(Units, GiveLittleAway) {
  const std::map<std::string, double> most{
      {"lbd.service", 2.6}, {"lbd-listener.service", 2.6}, {"lbd-updater.service", 1.5}};
  for (const auto& [name, limit] : most) {
    const auto done = run({"systemd-analyze", "security", "--offline=true", "--no-pager",
                           (repository() / "packaging/systemd" / name).string()});
    const auto level = done.out.find("exposure level for ");
    ASSERT_NE(level, std::string::npos) << done.all();
    EXPECT_LE(std::stod(done.out.substr(done.out.find(": ", level) + 2)), limit) << done.out;
  }
}

TEST(Units, LeaveNoCoreFilesAndFeedAWatchdog) {
  for (const auto& entry :
       std::filesystem::directory_iterator(repository() / "packaging/systemd")) {
    auto unit = read_unit(read_page(entry.path()));
    EXPECT_EQ(only(unit["Service"], "LimitCORE"), "0") << entry.path();
    EXPECT_EQ(only(unit["Service"], "UMask"), "0077") << entry.path();
    EXPECT_EQ(only(unit["Service"], "PrivateMounts"), "yes") << entry.path();
    EXPECT_EQ(only(unit["Service"], "WatchdogSec"), "30s") << entry.path();
  }
}

TEST(Units, AreAsOperationsShowsThem) {
  auto unit = read_unit(read_page("packaging/systemd/lbd.service"));
  const std::string page = read_page("docs/OPERATIONS.md");
  const auto begin = page.find("```ini\n", page.find("\n## systemd\n")) + 7;
  const auto shown = read_unit(page.substr(begin, page.find("```", begin) - begin));
  ASSERT_FALSE(shown.empty());
  for (const auto& [section, keys] : shown)
    for (const auto& [key, value] : keys) EXPECT_EQ(only(unit[section], key), value) << key;
}

}  // namespace
}  // namespace lb::test
