#include "daemon/secrets.h"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace lb {
namespace {

std::vector<std::string> warnings_of(const std::string& text) {
  const auto config = parse_config(text, "lbd.toml");
  EXPECT_TRUE(config) << config.error().message();
  return config ? secret_warnings(*config) : std::vector<std::string>();
}

TEST(SecretWarnings, NameWhatGoesOverTheNetworkAsItIs) {
  const std::string etcd =
      "[[source]]\ntype = \"etcd\"\nprefixes = [\"/a\"]\nusername = \"u\"\npassword_file = "
      "\"/none\"\n";
  const auto plain = warnings_of(etcd + "endpoints = [\"https://a:2379\", \"http://b:2379\"]\n");
  ASSERT_EQ(plain.size(), 1U);
  EXPECT_NE(plain[0].find("http://b:2379"), std::string::npos) << plain[0];
  EXPECT_TRUE(warnings_of(etcd + "endpoints = [\"https://a:2379\"]\n").empty());
  EXPECT_TRUE(warnings_of("[[source]]\ntype = \"etcd\"\nprefixes = [\"/a\"]\n").empty());
  const std::string marathon = "[[source]]\ntype = \"marathon\"\nendpoints = [\"http://m:8080\"]\n";
  EXPECT_EQ(warnings_of(marathon + "token_file = \"/none\"\n").size(), 1U);
  EXPECT_EQ(warnings_of(marathon + "username = \"u\"\npassword_file = \"/none\"\n").size(), 1U);
  EXPECT_EQ(
      warnings_of(marathon +
                  "dcos_login = \"http://d/l\"\ndcos_uid = \"u\"\ndcos_key_file = \"/none\"\n")
          .size(),
      2U);
  EXPECT_TRUE(warnings_of(marathon).empty());
}

TEST(SecretWarnings, NameFilesThatEveryUserCanRead) {
  const std::string path =
      std::filesystem::temp_directory_path() / fmt::format("lbd-secrets.{}", ::getpid());
  std::ofstream(path) << "secret\n";
  const std::string text = fmt::format(
      "[relay]\nlisten = \"127.0.0.1:7676\"\ntls_cert = \"/none\"\ntls_key = \"{0}\"\n"
      "[[source]]\ntype = \"etcd\"\nprefixes = [\"/a\"]\nusername = \"u\"\npassword_file = "
      "\"{0}\"\n"
      "endpoints = [\"https://e\"]\ncert = \"/none\"\nkey = \"{0}\"\n"
      "[[source]]\ntype = \"marathon\"\nendpoints = [\"https://m\"]\ntoken_file = \"{0}\"\n"
      "[[source]]\ntype = \"relay\"\nupdaters = [\"u:1\"]\nca = \"/none\"\ncert = \"/none\"\nkey = "
      "\"{0}\"\n",
      path);
  ASSERT_EQ(::chmod(path.c_str(), 0644), 0);
  const auto open = warnings_of(text);
  EXPECT_EQ(open.size(), 5U);
  for (const std::string& warning : open) {
    EXPECT_NE(warning.find(path), std::string::npos) << warning;
    EXPECT_EQ(warning.find("secret\n"), std::string::npos);
  }
  ASSERT_EQ(::chmod(path.c_str(), 0640), 0);
  EXPECT_TRUE(warnings_of(text).empty());
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace lb
