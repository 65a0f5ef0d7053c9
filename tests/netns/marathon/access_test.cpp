// Who we are, and whether it is really Marathon: passwords, tokens, certificates.
#include "netns/marathon/fixture.h"
#include "support/certificates.h"
#include "support/process.h"

namespace lb::test {
namespace {

using namespace std::chrono_literals;

class Access : public MarathonTest {
 protected:
  FakeMarathon& begin(FakeMarathonOptions options) {
    FakeMarathon& marathon = add_node(std::move(options));
    marathon.add_app({.id = "/web", .ports = {10001}});
    marathon.launch("/web", "10.0.0.1", {31001});
    return marathon;
  }
  bool works() { return reaches({"10.0.0.1:31001 active"}) && streams(); }
  // Nothing that is said may contain a secret.
  void expect_silence_about(const std::string& secret) {
    for (const std::string& error : errors_)
      EXPECT_EQ(error.find(secret), std::string::npos) << error;
    const SourceStatus status = source_->status();
    EXPECT_EQ((status.error + status.position).find(secret), std::string::npos);
  }
  void make_key() {
    const Command make{"openssl", "genrsa", "-out", folder_.file("dcos.key"), "2048"};
    ASSERT_EQ(run(make).code, 0);
    const Command publish{"openssl",
                          "rsa",
                          "-in",
                          folder_.file("dcos.key"),
                          "-pubout",
                          "-out",
                          folder_.file("dcos.pub")};
    ASSERT_EQ(run(publish).code, 0);
  }
};

TEST_F(Access, ByAPasswordWithAColon) {
  begin({.basic = "lbd:pass:word"});
  config_.access.username = "lbd";
  config_.access.password_file = write("password", "pass:word\n");
  start();
  EXPECT_TRUE(works());
}

TEST_F(Access, ByAWrongPasswordIsRefusedWithoutSayingIt) {
  begin({.basic = "lbd:right"});
  config_.interval = 300ms;
  config_.access.username = "lbd";
  config_.access.password_file = write("password", "wrooong");
  start();
  ASSERT_TRUE(until([&] { return !errors_.empty(); }));
  EXPECT_NE(errors_[0].find("status 401"), std::string::npos) << errors_[0];
  EXPECT_NE(errors_[0].find("password_file " + folder_.file("password")), std::string::npos)
      << errors_[0];
  expect_silence_about("wrooong");
  write("password", "right");
  EXPECT_TRUE(works());
}

TEST_F(Access, ByATokenFileThatIsReadEachTime) {
  begin({.token = "abc.def.ghi"});
  config_.interval = 300ms;
  config_.access.token_file = write("token", "not.that.one");
  start();
  ASSERT_TRUE(until([&] { return !errors_.empty(); }));
  expect_silence_about("not.that.one");
  write("token", "two words");
  ASSERT_TRUE(until([&] { return errors_.size() >= 2; }));
  EXPECT_NE(errors_[1].find("blanks or control characters"), std::string::npos) << errors_[1];
  write("token", "abc.def.ghi\n");
  EXPECT_TRUE(works());
}

TEST_F(Access, ByAMissingFileNamesIt) {
  begin({.basic = "lbd:right"});
  config_.access.username = "lbd";
  config_.access.password_file = folder_.file("nowhere");
  start();
  ASSERT_TRUE(until([&] { return !errors_.empty(); }));
  EXPECT_NE(errors_[0].find(folder_.file("nowhere")), std::string::npos) << errors_[0];
}

TEST_F(Access, ByADcosLoginThatIsRenewed) {
  make_key();
  FakeMarathon& marathon = begin({.dcos_public_key = folder_.file("dcos.pub")});
  config_.interval = 200ms;
  config_.access.dcos_login = marathon.url() + "/acs/api/v1/auth/login";
  config_.access.dcos_uid = "lbd";
  config_.access.dcos_key_file = folder_.file("dcos.key");
  start();
  ASSERT_TRUE(works());
  EXPECT_EQ(marathon.count("/acs/api/v1/auth/login"), 1);
  marathon.call(R"({"do":"revoke"})");
  ASSERT_TRUE(until([&] { return marathon.count("/acs/api/v1/auth/login") == 2; }));
  watch_for(600ms);
  EXPECT_EQ(marathon.count("/acs/api/v1/auth/login"), 2);
  EXPECT_TRUE(errors_.empty()) << errors_[0];  // one 401 is none
}

TEST_F(Access, ByADcosTokenIsRenewedBeforeItEnds) {
  make_key();
  FakeMarathon& marathon = begin({.dcos_public_key = folder_.file("dcos.pub"), .token_life = 12s});
  config_.interval = 200ms;
  config_.access.dcos_login = marathon.url() + "/acs/api/v1/auth/login";
  config_.access.dcos_uid = "lbd";
  config_.access.dcos_key_file = folder_.file("dcos.key");
  start();
  ASSERT_TRUE(works());
  ASSERT_TRUE(until([&] { return marathon.count("/acs/api/v1/auth/login") == 3; }, 60s));
  EXPECT_EQ(marathon.refusals(), 0);
  EXPECT_TRUE(errors_.empty()) << errors_[0];
}

TEST_F(Access, ByADcosCookie) {
  make_key();
  FakeMarathon& marathon =
      begin({.dcos_public_key = folder_.file("dcos.pub"), .dcos_cookie = true});
  config_.access.dcos_login = marathon.url() + "/acs/api/v1/auth/login";
  config_.access.dcos_uid = "lbd";
  config_.access.dcos_key_file = folder_.file("dcos.key");
  start();
  EXPECT_TRUE(works());
}

TEST_F(Access, ByAnotherKeyIsRefusedWithAHint) {
  make_key();
  FakeMarathon& marathon = begin({.dcos_public_key = folder_.file("dcos.pub")});
  ASSERT_EQ(run({"openssl", "genrsa", "-out", folder_.file("other.key"), "2048"}).code, 0);
  config_.access.dcos_login = marathon.url() + "/acs/api/v1/auth/login";
  config_.access.dcos_uid = "lbd";
  config_.access.dcos_key_file = folder_.file("other.key");
  start();
  ASSERT_TRUE(until([&] { return !errors_.empty(); }));
  EXPECT_NE(errors_[0].find("check dcos_uid, dcos_key_file"), std::string::npos) << errors_[0];
}

TEST_F(Access, OverTlsWithACertificateOfOurOwn) {
  const Certificates ca(folder_.file("ca"));
  ca.sign("marathon", "IP:127.0.0.1");
  ca.sign("lbd", "DNS:lbd", "lbd");
  begin({.cert = ca.cert("marathon"), .key = ca.key("marathon"), .client_ca = ca.ca()});
  config_.interval = 300ms;
  config_.access.tls.ca = ca.ca();
  start();  // without a certificate
  ASSERT_TRUE(until([&] { return !errors_.empty(); }));
  config_.access.tls.cert = ca.cert("lbd");
  config_.access.tls.key = ca.key("lbd");
  start();
  EXPECT_TRUE(works());
}

TEST_F(Access, OverTlsOnlyToWhomTheAuthoritySigned) {
  const Certificates ca(folder_.file("ca"));
  const Certificates other(folder_.file("other"));
  ca.sign("marathon", "IP:127.0.0.1");
  begin({.cert = ca.cert("marathon"), .key = ca.key("marathon")});
  config_.access.tls.ca = other.ca();
  start();
  ASSERT_TRUE(until([&] { return !errors_.empty(); }));
  EXPECT_EQ(snapshots_, 0);
  EXPECT_NE(errors_[0].find("certificate"), std::string::npos) << errors_[0];
}

}  // namespace
}  // namespace lb::test
