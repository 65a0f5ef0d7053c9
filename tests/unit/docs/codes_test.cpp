// Each word that lbd prints for a state, a reason, a condition or a way of balancing is explained to operators, and is in the API.
#include <algorithm>
#include <stdexcept>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "model/desired.h"
#include "model/service.h"
#include "unit/docs/pages.h"

namespace lb::test {
namespace {

// All that have a name, however many there come to be.
template <class Enum>
std::vector<std::string> names() {
  std::vector<std::string> out;
  try {
    for (int i = 0;; ++i)
      if (const auto name = to_string(static_cast<Enum>(i)); !name.empty()) out.emplace_back(name);
  } catch (const std::out_of_range&) {
    return out;
  }
}

std::string text_of(const std::vector<PageLine>& lines) {
  std::string out;
  for (const PageLine& line : lines) out += line.text + "\n";
  return out;
}

// The first cells of the tables below the heading.
std::string first_cells(const std::string& page, const std::string& heading) {
  std::string out;
  for (const PageLine& line : section(page, heading))
    if (const auto row = cells(line.text); !row.empty()) out += row[0] + "\n";
  return out;
}

void expect_each(const std::vector<std::string>& words, const std::string& text,
                 const std::string& where) {
  for (const std::string& word : words)
    EXPECT_NE(text.find("`" + word + "`"), std::string::npos) << word << " is not in " << where;
}

constexpr auto kOperations = "docs/OPERATIONS.md";
constexpr auto kAtThree = "### At three in the morning";

TEST(Codes, OfBackendsAreExplained) {
  ASSERT_GE(names<Reason>().size(), 13U);
  expect_each(names<Reason>(), first_cells(kOperations, kAtThree), kOperations);
  expect_each(names<BackendState>(), first_cells(kOperations, kAtThree), kOperations);
}

TEST(Codes, OfServicesAreExplained) {
  ASSERT_GE(names<Condition>().size(), 6U);
  expect_each(names<Condition>(), first_cells(kOperations, kAtThree), kOperations);
  expect_each(names<Balance>(),
              first_cells(kOperations, "### Labels") + text_of(section(kOperations, "### Labels")),
              kOperations);
}

TEST(Codes, AreInTheApi) {
  const std::string text = text_of(section("docs/API.md", "## GET /v1/services"));
  expect_each(names<Reason>(), text, "docs/API.md");
  expect_each(names<BackendState>(), text, "docs/API.md");
  expect_each(names<Condition>(), text, "docs/API.md");
  expect_each(names<Balance>(), text, "docs/API.md");
}

}  // namespace
}  // namespace lb::test
