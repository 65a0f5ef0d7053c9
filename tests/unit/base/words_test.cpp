#include "base/words.h"

#include <array>

#include <gtest/gtest.h>

namespace lb {
namespace {

constexpr std::array<std::string_view, 4> kWords{"listen-address", "disabled", "BIND", "PORT"};

TEST(Words, AreTrimmed) {
  EXPECT_EQ(trim(" \t\r\na b\r\n"), "a b");
  EXPECT_EQ(trim("\r\n"), "");
  EXPECT_EQ(trim(""), "");
}

TEST(Words, ThatAreMisspeltHaveANearestOne) {
  for (const char* word : {"listen_address", "Listen-Adress", "lissen-adres", "address"})
    EXPECT_EQ(nearest(word, kWords), "listen-address") << word;
  EXPECT_EQ(nearest("disable", kWords), "disabled");
  EXPECT_EQ(nearest("BNID", kWords), "") << "too short for two errors";
  EXPECT_EQ(nearest("BINDS", kWords), "BIND");
}

TEST(Words, ThatAreSomethingElseHaveNone) {
  for (const char* word : {"", "x", "MODE", "VHOST", "owner", "region"})
    EXPECT_EQ(nearest(word, kWords), "") << word;
  EXPECT_EQ(nearest(std::string(10'000, 'a'), kWords), "");
}

}  // namespace
}  // namespace lb
