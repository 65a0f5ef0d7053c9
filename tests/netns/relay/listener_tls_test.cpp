// The same over TLS, and what goes wrong with it.
#include <filesystem>
#include <fstream>

#include "netns/relay/listener_fixture.h"
#include "support/certificates.h"
#include "support/temp_folder.h"

namespace lb::test {
namespace {

class ListenerTls : public ListenerTest {
 protected:
  void SetUp() override {
    ListenerTest::SetUp();
    if (IsSkipped()) return;
    certificates_ = std::make_unique<Certificates>(folder_.file("pki"));
    certificates_->sign("updater", "IP:127.0.0.1", "updater");
    certificates_->sign("listener", "DNS:host1", "host1");
  }
  [[nodiscard]] relay::TlsFiles files(const std::string& name) const {
    return {certificates_->ca(), certificates_->cert(name), certificates_->key(name)};
  }
  [[nodiscard]] std::string error() const { return errors_.empty() ? "" : errors_.back(); }

  TempFolder folder_;
  std::unique_ptr<Certificates> certificates_;
  SysTime later_ = sys_now();
};

TEST_F(ListenerTls, TakesItsStateOverTls) {
  start(0, files("updater"));
  publish(0, web({"10.0.0.1:80"}));
  listen({}, files("listener"));
  ASSERT_TRUE(sees({"10.0.0.1:80"}));
  EXPECT_TRUE(view_at(0)->tls);
  EXPECT_TRUE(snapshots_.back().warnings.empty());
}

TEST_F(ListenerTls, SaysWhatIsWrongWhenTheUpdaterExpectsTls) {
  start(0, files("updater"));
  publish(0, web({"10.0.0.1:80"}));
  listen();
  ASSERT_TRUE(reaches([&] { return !errors_.empty(); }));
  EXPECT_NE(error().find("TLS"), std::string::npos) << error();
}

TEST_F(ListenerTls, SaysWhatIsWrongWhenTheUpdaterIsPlain) {
  start(0);
  publish(0, web({"10.0.0.1:80"}));
  listen({}, files("listener"));
  ASSERT_TRUE(reaches([&] { return !errors_.empty(); }));
  EXPECT_NE(error().find("TLS"), std::string::npos) << error();
}

TEST_F(ListenerTls, RefusesAnUpdaterOfAnotherAuthority) {
  Certificates other(folder_.file("other"));
  other.sign("updater", "IP:127.0.0.1", "updater");
  start(0, {certificates_->ca(), other.cert("updater"), other.key("updater")});
  publish(0, web({"10.0.0.1:80"}));
  listen({}, files("listener"));
  ASSERT_TRUE(reaches([&] { return !errors_.empty(); }));
  EXPECT_NE(error().find("certificate"), std::string::npos) << error();
  EXPECT_TRUE(snapshots_.empty());
}

TEST_F(ListenerTls, NamesTheFileThatIsMissing) {
  start(0, files("updater"));
  listen({}, {certificates_->ca(), "/nowhere/listener.crt", certificates_->key("listener")});
  ASSERT_TRUE(reaches([&] { return !errors_.empty(); }));
  EXPECT_NE(error().find("/nowhere/listener.crt"), std::string::npos) << error();
}

TEST_F(ListenerTls, ClosesWhenTheUpdatersCertificateExpiresWhileConnected) {
  clocks_.wall = [this] { return later_; };
  start(0, files("updater"));
  publish(0, web({"10.0.0.1:80"}));
  listen({}, files("listener"));
  ASSERT_TRUE(sees({"10.0.0.1:80"}));
  later_ += std::chrono::hours(24 * 3);  // it is good for two days
  ASSERT_TRUE(reaches([&] { return !errors_.empty(); }));
  EXPECT_NE(error().find("certificate has expired at "), std::string::npos) << error();
  later_ = sys_now();
  EXPECT_TRUE(reaches([&] { return source_->status().connected; }));
  EXPECT_EQ(seen(), (Lines{"10.0.0.1:80"}));
}

TEST_F(ListenerTls, SaysThatItsCertificateNamesAnotherNode) {
  certificates_->sign("other", "DNS:host2");
  start(0, files("updater"));
  listen({}, files("other"));
  ASSERT_TRUE(reaches([&] { return !errors_.empty(); }));
  EXPECT_NE(error().find("refuses this listener: the certificate names host2, the node says host1: "
                         "give each listener its own, or set [relay] shared_certificate = true"),
            std::string::npos)
      << error();
}

TEST_F(ListenerTls, RefusesAnUpdaterWhoseCertificateIsRevoked) {
  certificates_->revoke("updater");
  relay::TlsFiles mine = files("listener");
  mine.crl = certificates_->list("list");
  start(0, files("updater"));
  publish(0, web({"10.0.0.1:80"}));
  listen({}, mine);
  ASSERT_TRUE(reaches([&] { return !errors_.empty(); }));
  EXPECT_NE(error().find("of CN=updater is revoked by crl " + mine.crl), std::string::npos)
      << error();
  EXPECT_TRUE(snapshots_.empty());
}

TEST_F(ListenerTls, NamesTheListOfRevokedCertificatesThatIsWrong) {
  start(0, files("updater"));
  relay::TlsFiles mine = files("listener");
  mine.crl = certificates_->list("list", -10s);
  listen({}, mine);
  ASSERT_TRUE(reaches([&] { return !errors_.empty(); }));
  EXPECT_NE(error().find("crl " + mine.crl + ": the list of CN=lbd test CA ran out at 20"),
            std::string::npos)
      << error();
  std::ofstream(mine.crl) << "junk";
  ASSERT_TRUE(reaches([&] {
    return source_->updaters()[0].error.find("crl " + mine.crl +
                                             " holds no list of revoked "
                                             "certificates in PEM") != std::string::npos;
  })) << source_->updaters()[0].error;
}

TEST_F(ListenerTls, ClosesWhenTheUpdatersCertificateIsRevokedWhileConnected) {
  relay::TlsFiles mine = files("listener");
  mine.crl = certificates_->list("list");
  start(0, files("updater"));
  publish(0, web({"10.0.0.1:80"}));
  listen({}, mine);
  ASSERT_TRUE(sees({"10.0.0.1:80"}));
  std::ofstream(mine.crl) << "junk";
  run_for(6s);
  EXPECT_TRUE(errors_.empty()) << "a list that is wrong ends nothing: " << error();
  certificates_->revoke("updater");
  std::filesystem::rename(certificates_->list("next"), mine.crl);
  ASSERT_TRUE(reaches([&] { return !errors_.empty(); }));
  EXPECT_NE(error().find("is revoked by crl " + mine.crl), std::string::npos) << error();
}

}  // namespace
}  // namespace lb::test
