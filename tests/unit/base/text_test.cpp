#include "base/text.h"

#include <gtest/gtest.h>

#include <random>

namespace lb {
namespace {

TEST(Printable, EscapesAndShortensForeignBytes) {
  EXPECT_EQ(printable("plain text"), "plain text");
  EXPECT_EQ(printable(std::string_view("a\0\xff\n", 4)), "a\\x00\\xff\\x0a");
  EXPECT_EQ(printable("abcdef", 3), "abc...");
  EXPECT_EQ(printable("abc", 3), "abc");
}

TEST(PrintableText, KeepsWhatPeopleReadAndNamesTheRest) {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"", ""},
      {"web \"1\"", "web \"1\""},
      {"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\x9f",
       "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\x9f"},
      {"a\nb\r\t\x1b[31m\x7f", R"(a\x0ab\x0d\x09\x1b[31m\x7f)"},
      {std::string_view("\0", 1), R"(\x00)"},
      {"\xc2\x9b"
       "31m",
       R"(\xc2\x9b31m)"},  // CSI in one character
      {"\xe2\x80\xae"
       "x",
       R"(\xe2\x80\xaex)"},                 // right to left from here
      {"\xe2\x80\xa8", R"(\xe2\x80\xa8)"},  // line separator
      {"\xe2\x80\x8b", R"(\xe2\x80\x8b)"},  // no width
      {"\xff\xc3", R"(\xff\xc3)"},
      {"\xc0\x8a", R"(\xc0\x8a)"},          // a newline in two bytes
      {"\xed\xa0\x80", R"(\xed\xa0\x80)"},  // half a character
      {"\xf4\x90\x80\x80", R"(\xf4\x90\x80\x80)"},
      {"\xe2\x82", R"(\xe2\x82)"}};
  for (const auto& [text, shown] : cases) EXPECT_EQ(printable_text(text), shown);
}

TEST(Base64, KnowsTheVectorsOfRfc4648) {
  const std::pair<const char*, const char*> cases[] = {{"", ""},
                                                       {"f", "Zg=="},
                                                       {"fo", "Zm8="},
                                                       {"foo", "Zm9v"},
                                                       {"foob", "Zm9vYg=="},
                                                       {"fooba", "Zm9vYmE="},
                                                       {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, encoded] : cases) {
    EXPECT_EQ(base64_encode(plain), encoded);
    EXPECT_EQ(base64_decode(encoded).value(), plain);
  }
}

TEST(Base64, RoundTripsEveryByte) {
  std::minstd_rand random(7);
  for (std::size_t size = 0; size < 200; ++size) {
    std::string bytes;
    for (std::size_t i = 0; i < size; ++i) bytes.push_back(static_cast<char>(random() & 0xff));
    EXPECT_EQ(base64_decode(base64_encode(bytes)).value(), bytes);
  }
}

TEST(Base64, RefusesWhatIsNotBase64) {
  for (const char* bad : {"Zg", "Zg=", "Z===", "====", "Zm9*", "Zm9v\n", "Zm-_"})
    EXPECT_FALSE(base64_decode(bad)) << bad;
}

}  // namespace
}  // namespace lb
