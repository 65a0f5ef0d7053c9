// etcd behind TLS and passwords.
#include <thread>

#include "netns/merlion/fixture.h"

namespace lb::test {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

class EtcdTls : public MerlionNetns {
 protected:
  [[nodiscard]] EtcdOptions etcd_options() const override { return {.members = 3, .tls = true}; }
};

TEST_P(EtcdTls, WithAClientCertificateWorks) {
  ASSERT_NO_FATAL_FAILURE(serve_three());
  drop("b");
  EXPECT_TRUE(eventually([] { return who() == std::vector<std::string>{"1", "3"}; }));
  etcd_->kill(0);
  add("b", kTwo);
  EXPECT_TRUE(eventually([] { return who() == std::vector<std::string>{"1", "2", "3"}; }, 15s));
}

TEST_P(EtcdTls, AnUntrustedCertificateIsRefusedByName) {
  const Certificates others(file("others"));
  configure();
  add("a", kOne);
  lbd_->configure(fmt::format(
      "[[source]]\ntype = \"etcd\"\napi = \"{}\"\nendpoints = [\"{}\"]\nprefixes = [\"{}\"]\n"
      "ca = \"{}\"\n",
      to_string(GetParam()), etcd_->url(0), kSite, others.ca()));
  ASSERT_TRUE(lbd_->start());
  EXPECT_TRUE(eventually([&] { return source("error").find(etcd_->url(0)) != std::string::npos; }));
  EXPECT_THAT(source("error"), HasSubstr("certificate"));
}

INSTANTIATE_TEST_SUITE_P(Etcd, EtcdTls, testing::ValuesIn(kStores), store_name);

class EtcdAuth : public MerlionNetns {
 protected:
  [[nodiscard]] EtcdOptions etcd_options() const override {
    // Tokens that run out soon: a watch outlives them, what comes after it must not.
    return {.members = 3,
            .auth = true,
            .readable = {"/conf/", "/svc/"},
            .writable = {"/state/"},
            .flags = {"--auth-token-ttl", "2"}};
  }
};

TEST_P(EtcdAuth, ATokenThatRanOutIsRenewed) {
  ASSERT_NO_FATAL_FAILURE(serve_three());
  std::this_thread::sleep_for(4s);
  drop("b");
  EXPECT_TRUE(eventually([] { return who() == std::vector<std::string>{"1", "3"}; }));
  etcd_->kill(0);
  add("b", kTwo);
  EXPECT_TRUE(eventually([] { return who() == std::vector<std::string>{"1", "2", "3"}; }, 15s));
}

TEST_P(EtcdAuth, StatesAreWrittenWhereTheRoleMayWrite) {
  set("state-etcd-prefix", kState);
  ASSERT_NO_FATAL_FAILURE(serve_three());
  const std::string at = std::string(kState) + "/backends/a/unavailable";
  EXPECT_TRUE(eventually([&] { return keys_->get(at) == "false"; }, 10s));
}

TEST_P(EtcdAuth, AWrongPasswordIsSaidSo) {
  configure();
  const std::string toml = source_toml({kSite});
  replace_file(file("password"), "wrong\n");
  lbd_->configure(toml);
  ASSERT_TRUE(lbd_->start());
  EXPECT_TRUE(eventually([&] { return source("error").find("password") != std::string::npos; }))
      << source("error");
  EXPECT_THAT(source("error"), HasSubstr("10.77.0."));
}

// v2 knows nothing of v3's users.
INSTANTIATE_TEST_SUITE_P(Etcd, EtcdAuth, testing::Values(EtcdStore::V3), store_name);

}  // namespace
}  // namespace lb::test
