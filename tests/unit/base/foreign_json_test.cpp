#include "base/foreign_json.h"

#include <cerrno>
#include <string>

#include <gtest/gtest.h>

namespace lb {
namespace {

using nlohmann::json;

std::string repeated(std::string_view what, std::size_t bytes) {
  std::string out;
  while (out.size() < bytes) out += what;
  return out;
}

int code_of(std::string_view text, const JsonLimits& limits = {}) {
  const auto parsed = parse_json(text, limits);
  return parsed ? 0 : parsed.error().code.value();
}

TEST(ForeignJson, IsReadAsItIs) {
  EXPECT_EQ(parse_json(R"({"a":[1,"]\"[",{"b":null}]})").value(),
            (json{{"a", json::array({1, "]\"[", json{{"b", nullptr}}})}}));
  const auto ordered = parse_json<nlohmann::ordered_json>(R"({"b":1,"a":2})");
  EXPECT_EQ(ordered.value().begin().key(), "b");
}

TEST(ForeignJson, ThatIsNoneIsRefusedInPrintableWords) {
  for (const char* text :
       {"", "{", "nul", "[1,]", "\"\n\"", "\"\xff\"", "{\"a\":1}}", "]", "}", "\"\\"}) {
    const auto parsed = parse_json(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().code.value(), EBADMSG) << text;
    EXPECT_EQ(parsed.error().context.find('\n'), std::string::npos);
    EXPECT_LT(parsed.error().context.size(), 300U);
  }
}

TEST(ForeignJson, IsNoDeeperThanTheLimit) {
  const auto nested = [](std::size_t depth, const char* open, const char* close) {
    std::string out;
    for (std::size_t i = 0; i < depth; ++i) out += open;
    out += "1";
    for (std::size_t i = 0; i < depth; ++i) out += close;
    return out;
  };
  for (const auto& [open, close] : {std::pair{"[", "]"}, std::pair{R"({"a":)", "}"}}) {
    EXPECT_EQ(code_of(nested(128, open, close)), 0);
    EXPECT_EQ(code_of(nested(129, open, close)), EBADMSG);
    EXPECT_EQ(code_of(nested(100'000, open, close)), EBADMSG);
    EXPECT_EQ(code_of(nested(100'000, open, "")), EBADMSG);
  }
  // Beside each other they are no depth, and in a text they are no brackets.
  EXPECT_EQ(code_of("[" + repeated("[],", 3'000) + "[]]"), 0);
  EXPECT_EQ(code_of('"' + repeated("[", 3'000) + '"'), 0);
}

TEST(ForeignJson, TakesNoMoreMemoryThanTheLimit) {
  const JsonLimits small{.memory = std::size_t{1} << 20};
  for (const char* junk : {"{},", "[],", "0,", "\"\",", "[", "{\"a\":1},"}) {
    EXPECT_EQ(code_of("[" + repeated(junk, 300'000), small) == 0, false) << junk;
  }
  EXPECT_EQ(code_of("[" + repeated("{},", std::size_t{4} << 20) + "{}]"), EMSGSIZE);
  EXPECT_EQ(code_of('"' + std::string(2 << 20, 'x') + '"', small), EMSGSIZE);
}

TEST(ForeignJson, IsWrittenPrintable) {
  EXPECT_EQ(
      dump_printable(json{{"name", "a\nb\x1b[31m"}, {"all", json::array({"\xff", 1, "\"q\""})}}),
      R"({"all":["\\xff",1,"\"q\""],"name":"a\\x0ab\\x1b[31m"})");
}

}  // namespace
}  // namespace lb
