// The form of the documents: tables whose rows are whole, links that lead somewhere.
#include "unit/docs/pages.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace lb::test {
namespace {

// Two rows in one line, or half of one, still look like a table to the eye that wrote them.
TEST(Pages, RowsOfATableHaveAsManyCellsAsItsHead) {
  for (const std::string& page : pages()) {
    std::size_t head = 0, before = 0;
    for (const PageLine& line : prose(page)) {
      const auto row = cells(line.text);
      if (line.number != before + 1 || row.empty()) head = 0;
      if (!row.empty() && head == 0) head = row.size();
      EXPECT_EQ(row.size(), head) << page << ":" << line.number << ": " << line.text;
      before = line.number;
    }
  }
}

std::vector<std::string> links(const std::string& text) {
  static const std::regex kLink(R"(\]\(([^)\s]+)\))");
  std::vector<std::string> out;
  for (std::sregex_iterator it(text.begin(), text.end(), kLink), end; it != end; ++it)
    out.push_back((*it)[1]);
  return out;
}

TEST(Pages, LinksLeadToFilesAndHeadings) {
  int looked_at = 0;
  for (const std::string& page : pages()) {
    for (const PageLine& line : prose(page)) {
      for (const std::string& link : links(line.text)) {
        if (link.find("://") != std::string::npos) continue;
        const auto hash = std::min(link.find('#'), link.size());
        const auto file = hash == 0
                              ? std::filesystem::path(page)
                              : (std::filesystem::path(page).parent_path() / link.substr(0, hash))
                                    .lexically_normal();
        ++looked_at;
        const std::string where = fmt::format("{}:{}: {}", page, line.number, link);
        ASSERT_TRUE(std::filesystem::exists(repository() / file)) << where;
        if (hash == link.size()) continue;
        const auto known = anchors(file);
        EXPECT_NE(std::find(known.begin(), known.end(), link.substr(hash + 1)), known.end())
            << where;
      }
    }
  }
  EXPECT_GT(looked_at, 30);
}

// "Suite.Name" of every test in the sources.
std::set<std::string> all_tests() {
  static const std::regex kTest(R"(TEST(?:_F|_P)?\((\w+),\s*(\w+)\))");
  std::set<std::string> out;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(repository() / "tests")) {
    if (entry.path().extension() != ".cpp") continue;
    std::ifstream in(entry.path());
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    for (std::sregex_iterator it(text.begin(), text.end(), kTest), end; it != end; ++it)
      out.insert((*it)[1].str() + "." + (*it)[2].str());
  }
  return out;
}

TEST(Pages, SecurityNamesTestsThatAreThere) {
  static const std::regex kName(R"(`([A-Z]\w+\.\w*)(\*?)`)");
  const auto tests = all_tests();
  const std::string page = read_page("SECURITY.md");
  int seen = 0;
  for (std::sregex_iterator it(page.begin(), page.end(), kName), end; it != end; ++it, ++seen) {
    const std::string name = (*it)[1];
    const auto at = tests.lower_bound(name);
    const bool there =
        at != tests.end() && ((*it)[2].length() > 0 ? at->starts_with(name) : *at == name);
    EXPECT_TRUE(there) << it->str();
  }
  EXPECT_GT(seen, 15);
}

}  // namespace
}  // namespace lb::test
