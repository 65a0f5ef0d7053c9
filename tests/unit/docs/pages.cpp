#include "unit/docs/pages.h"

#include <algorithm>
#include <cctype>
#include <fstream>
#include <iterator>
#include <sstream>

namespace lb::test {
namespace {

std::size_t level(std::string_view line) {
  const auto hashes = std::min(line.find_first_not_of('#'), line.size());
  return hashes > 0 && hashes < line.size() && line[hashes] == ' ' ? hashes : 0;
}

std::string trim(std::string_view text) {
  const auto begin = text.find_first_not_of(' ');
  if (begin == std::string_view::npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(' ') - begin + 1));
}

// Letters, digits, "-" and "_" stay, blanks become "-".
std::string anchor(std::string_view heading) {
  std::string out;
  for (const char c : heading) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || c == '-' || c == '_')
      out += static_cast<char>(std::tolower(byte));
    if (c == ' ') out += '-';
  }
  return out;
}

}  // namespace

std::filesystem::path repository() {
  return std::filesystem::weakly_canonical(std::string(LB_TEST_DATA) + "/../..");
}

std::string read_page(const std::string& page) {
  std::ifstream in(repository() / page);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<std::string> pages() {
  std::vector<std::string> out{"README.md", "CONTRIBUTING.md", "SECURITY.md",
                               "tools/bench/README.md"};
  for (const auto& entry : std::filesystem::recursive_directory_iterator(repository() / "docs"))
    if (entry.path().extension() == ".md")
      out.push_back(std::filesystem::relative(entry.path(), repository()));
  std::sort(out.begin(), out.end());
  return out;
}

std::vector<PageLine> prose(const std::string& page) {
  std::istringstream in(read_page(page));
  std::vector<PageLine> out;
  bool block = false;
  std::size_t number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    if (line.starts_with("```"))
      block = !block;
    else if (!block)
      out.push_back({number, line});
  }
  return out;
}

std::vector<PageLine> section(const std::string& page, const std::string& heading) {
  std::vector<PageLine> out;
  std::size_t inside = 0;
  for (const PageLine& line : prose(page)) {
    const std::size_t at = level(line.text);
    if (inside != 0 && at != 0 && at <= inside) break;
    if (inside != 0) out.push_back(line);
    if (inside == 0 && line.text == heading) inside = at;
  }
  return out;
}

std::vector<std::string> anchors(const std::string& page) {
  std::vector<std::string> out;
  for (const PageLine& line : prose(page))
    if (const std::size_t at = level(line.text)) out.push_back(anchor(line.text.substr(at + 1)));
  return out;
}

std::vector<std::string> cells(std::string_view line) {
  std::vector<std::string> out;
  if (!line.starts_with('|')) return out;
  std::size_t begin = 1;
  for (std::size_t i = 1; i < line.size(); ++i) {
    if (line[i] != '|' || line[i - 1] == '\\') continue;
    out.push_back(trim(line.substr(begin, i - begin)));
    begin = i + 1;
  }
  if (begin < line.size()) out.push_back(trim(line.substr(begin)));
  return out;
}

}  // namespace lb::test
