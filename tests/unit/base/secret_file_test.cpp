#include "base/secret_file.h"

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include <gtest/gtest.h>
#include <unistd.h>

namespace lb {
namespace {

class SecretFile : public testing::Test {
 protected:
  void SetUp() override {
    if (const char* before = std::getenv(kName)) before_ = before;
    ::unsetenv(kName);
  }
  void TearDown() override {
    if (before_)
      ::setenv(kName, before_->c_str(), 1);
    else
      ::unsetenv(kName);
  }

  static constexpr const char* kName = "CREDENTIALS_DIRECTORY";
  std::optional<std::string> before_;
};

TEST_F(SecretFile, MayBeACredentialOfTheUnit) {
  EXPECT_EQ(secret_path("/etc/lbd/password"), "/etc/lbd/password");
  EXPECT_EQ(secret_path("credential:etcd"), "credential:etcd") << "only checked";
  ::setenv(kName, "/run/credentials/lbd.service", 1);
  EXPECT_EQ(secret_path("credential:etcd"), "/run/credentials/lbd.service/etcd");
  EXPECT_EQ(secret_path("/etc/lbd/password"), "/etc/lbd/password");
}

TEST_F(SecretFile, IsAPathOrTheNameOfOne) {
  for (const char* good : {"/etc/lbd/password", "credential:etcd", "credential:etcd.password"})
    EXPECT_TRUE(check_secret_path(good)) << good;
  for (const char* bad : {"", "password", "credential:", "credential:a/b", "credential:..", "./x"})
    EXPECT_FALSE(check_secret_path(bad)) << bad;
}

TEST_F(SecretFile, ThatEveryUserCanReadIsNamed) {
  const std::string path =
      std::filesystem::temp_directory_path() / ("lbd-secret." + std::to_string(::getpid()));
  std::ofstream(path) << "secret\n";
  for (const auto& [mode, exposed] : {std::pair(0600U, false), std::pair(0640U, false),
                                      std::pair(0644U, true), std::pair(0604U, true)}) {
    ASSERT_EQ(::chmod(path.c_str(), mode), 0);
    EXPECT_EQ(!why_exposed(path).empty(), exposed) << mode;
  }
  std::filesystem::remove(path);
  EXPECT_EQ(why_exposed(path), "");
  EXPECT_EQ(why_exposed(""), "");
}

TEST(ServerUrl, HasNeitherPasswordNorQuery) {
  for (const char* good :
       {"http://127.0.0.1:2379", "https://etcd1", "https://m/path", "http://[::1]:2379"})
    EXPECT_TRUE(check_server_url(good, "http://x")) << good;
  for (const char* bad :
       {"", "etcd:2379", "http://", "https:///x", "http://root:secret@host", "root:secret@host",
        "ftp://host", "http://host?token=secret", "http://host/#secret", "http://host\r\nX: y",
        "http://ho st", "//secret@host"}) {
    const auto checked = check_server_url(bad, "http://x");
    ASSERT_FALSE(checked) << bad;
    EXPECT_EQ(checked.error().context.find("secret"), std::string::npos) << checked.error().context;
    EXPECT_EQ(checked.error().context.find('\n'), std::string::npos);
  }
}

TEST(ServerUrl, ThatIsNotHttpsIsPlain) {
  EXPECT_EQ(plain_endpoint({"https://a", "https://b"}), "");
  EXPECT_EQ(plain_endpoint({"https://a", "http://b"}), "http://b");
}

}  // namespace
}  // namespace lb
