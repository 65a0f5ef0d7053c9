// The documents of the repository as a reader of Markdown sees them.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace lb::test {

struct PageLine {
  std::size_t number = 0;  // from 1
  std::string text;
};

std::filesystem::path repository();
std::string read_page(const std::string& page);
// README.md, docs/ and the other pages, by their paths in the repository; sorted.
std::vector<std::string> pages();
// Without what is in blocks between ``` lines.
std::vector<PageLine> prose(const std::string& page);
// The lines below a heading, to the next one of its level or above.
std::vector<PageLine> section(const std::string& page, const std::string& heading);
// The anchors of a page's headings, as GitHub makes them.
std::vector<std::string> anchors(const std::string& page);
// The cells of a table's row; none, if the line is no row.
std::vector<std::string> cells(std::string_view line);

}  // namespace lb::test
