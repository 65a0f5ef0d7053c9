// Whose certificate lets a listener in: the one that names it, and that no list has revoked.
#include <filesystem>
#include <fstream>

#include "netns/relay/server_fixture.h"

namespace lb::relay {
namespace {

class CertificateNames : public RelayTlsTest {
 protected:
  Result<> open_tls(bool shared = false) {
    return open({"127.0.0.1:0", files("server"), true, shared});
  }
  std::string as(const std::string& node, const std::string& certificate = "client") {
    return refusal(files(certificate), "127.0.0.1", node);
  }
};

constexpr auto kWhatToDo = ": give each listener its own, or set [relay] shared_certificate = true";

TEST_F(CertificateNames, LetInTheNodeThatTheyName) {
  ASSERT_TRUE(open_tls());
  authority_->sign("big", "DNS:other,DNS:Host-7.Example.COM");
  EXPECT_EQ(as("host-7.example.com", "big"), "(let in)");
  EXPECT_EQ(as("host-7.example.com (logger)", "big"), "(let in)") << "the host's logger";
  authority_->sign("common", "", "host-8");
  EXPECT_EQ(as("host-8", "common"), "(let in)") << "the CN, where there is no SAN";
  EXPECT_EQ(logged("audit=listener-accepted who=\"node=host-8\""), 1);
  EXPECT_EQ(logged("its certificate names it"), 3);
  EXPECT_EQ(logged("audit=listener-refused"), 0);
}

TEST_F(CertificateNames, KeepAStolenOneFromSpeakingForOthers) {
  ASSERT_TRUE(open_tls());
  const std::string why =
      "the certificate names n, n1, n2, the node says n3" + std::string(kWhatToDo);
  EXPECT_EQ(as("n3"), why);
  EXPECT_EQ(as("n3"), why);
  EXPECT_EQ(logged("127.0.0.1: " + why), 1) << "once, however often it comes";
  EXPECT_EQ(logged("audit=listener-refused who=\"node=n3\" from=\"127.0.0.1:"), 1);
  EXPECT_EQ(server_->listeners().size(), 0u);
  authority_->sign("common", "IP:127.0.0.1", "host-8");
  EXPECT_EQ(as("host-8", "common"),
            "the certificate names no node, the node says host-8" + std::string(kWhatToDo))
      << "a SAN leaves the CN without meaning";
  authority_->sign("wild", "DNS:*.example.com,DNS:a,DNS:b,DNS:c");
  EXPECT_EQ(as("host-7.example.com", "wild"),
            "the certificate names *.example.com, a, b and 1 more, the node says "
            "host-7.example.com" +
                std::string(kWhatToDo));
  EXPECT_EQ(as("n1"), "(let in)");
}

TEST_F(CertificateNames, DoNotMatterWhereOneIsSharedOrNoneIsAskedFor) {
  ASSERT_TRUE(open_tls(true));
  EXPECT_EQ(as("n3"), "(let in)");
  const TlsFiles server = files("server");
  ASSERT_TRUE(open({"127.0.0.1:0", {"", server.cert, server.key}, true}));
  EXPECT_EQ(as("n3"), "(let in)");
  EXPECT_EQ(logged("TLS without tls_client_ca lets in everybody"), 1);
  ASSERT_TRUE(open());
  EXPECT_EQ(refusal({}, "127.0.0.1", "n3"), "(let in)");
}

class Revoked : public RelayTlsTest {
 protected:
  void SetUp() override {
    RelayTlsTest::SetUp();
    if (IsSkipped()) return;
    authority_->sign("stolen", "DNS:n");
    authority_->revoke("stolen");
  }
  Result<> open_with(const std::string& list) {
    TlsFiles server = files("server");
    server.crl = list;
    return open({"127.0.0.1:0", server, true});
  }
  std::string open_error(const std::string& list) {
    const auto opened = open_with(list);
    return opened ? "(listens)" : opened.error().message();
  }
  void replace(const std::string& list, const std::string& by) const {
    std::filesystem::rename(by, list);
  }
};

TEST_F(Revoked, CertificatesAreRefused) {
  const std::string list = authority_->list("list");
  ASSERT_TRUE(open_with(list));
  EXPECT_TRUE(refuses(files("stolen"), "the other side refuses our certificate: it is revoked"));
  EXPECT_TRUE(refuses(files("stolen"), "the other side refuses our certificate: it is revoked"));
  EXPECT_EQ(logged("127.0.0.1: TLS: the certificate of the other side is refused: certificate "),
            1);
  EXPECT_EQ(logged(" of n is revoked by tls_crl"), 2) << "the complaint, the audit";
  EXPECT_EQ(logged("audit=listener-refused who=\"node unknown\" from=\"127.0.0.1\""), 1);
  EXPECT_EQ(refusal(files("client")), "(let in)");
}

TEST_F(Revoked, CertificatesOfConnectedListenersEndTheirConnection) {
  const std::string list = authority_->list("list");
  ASSERT_TRUE(open_with(list));
  const auto one = listener("n1", {}, false, {}, files("client"));
  authority_->sign("other", "DNS:n2");
  const auto other = listener("n2", {}, false, {}, files("other"));
  ASSERT_TRUE(until([&] { return connected() == 2; }));
  authority_->revoke("client");
  replace(list, authority_->list("next"));
  EXPECT_EQ(last_words(*one).rfind("the certificate of the listener is revoked by tls_crl", 0), 0u);
  EXPECT_EQ(logged("n1: the certificate of the listener is revoked"), 1);
  EXPECT_EQ(logged("audit=listener-refused who=\"node=n1\""), 1);
  EXPECT_EQ(connected(), 1u) << "the other one stays";
}

TEST_F(Revoked, ListsThatHaveRunOutRefuseEverythingAndSaySo) {
  const std::string list = authority_->list("list", -10s);
  ASSERT_TRUE(open_with(list)) << "the rest of lbd runs";
  EXPECT_TRUE(refuses(files("client"), "the other side refuses our certificate"));
  const std::string why = "tls_crl: the list of CN=lbd test CA ran out at 20";
  EXPECT_EQ(logged("127.0.0.1: TLS: the certificate of the other side is refused: " + why), 1);
  const auto warns = [&](const std::string& words) {
    const auto warnings = server_->warnings();
    return std::any_of(warnings.begin(), warnings.end(), [&](const std::string& warning) {
      return warning.find(words) != std::string::npos;
    });
  };
  EXPECT_TRUE(warns("tls_crl " + list + ": the list of CN=lbd test CA ran out at 20"));
  replace(list, authority_->list("next", 60s));
  EXPECT_EQ(refusal(files("client")), "(let in)");
  EXPECT_FALSE(warns("ran out"));
  EXPECT_TRUE(warns("tls_crl " + list + ": the list of CN=lbd test CA runs out at 20"));
  // One that has run out does not replace one that is good, nor does junk.
  replace(list, authority_->list("next", -5s));
  EXPECT_EQ(refusal(files("client")), "(let in)");
  EXPECT_EQ(logged("ran out at 20"), 3);
  EXPECT_EQ(logged("all certificates of that authority are refused; the ones before stay in use"),
            1);
  std::ofstream(list) << "junk\n";
  EXPECT_EQ(refusal(files("client")), "(let in)");
  EXPECT_EQ(logged("tls_crl " + list + " holds no list of revoked certificates in PEM"), 1);
  std::filesystem::remove(list);
  EXPECT_EQ(refusal(files("client")), "(let in)");
  EXPECT_EQ(logged("tls_crl: open " + list + ": No such file"), 1);
  EXPECT_TRUE(refuses(files("stolen"), "it is revoked"));
}

TEST_F(Revoked, ListsThatAreWrongAreNamed) {
  EXPECT_EQ(open_error(file("none")),
            "tls_crl: open " + file("none") + ": No such file or directory");
  const std::string cert = authority_->cert("server");
  EXPECT_NE(
      open_error(cert).find("tls_crl " + cert + " holds no list of revoked certificates in PEM"),
      std::string::npos);
  const std::string list = authority_->list("list");
  std::ofstream(list, std::ios::app) << "-----BEGIN X509 CRL-----\n%\n-----END X509 CRL-----\n";
  EXPECT_NE(open_error(list).find("tls_crl " + list + " holds no list"), std::string::npos);
  TlsFiles alone{"", authority_->cert("server"), authority_->key("server"),
                 authority_->list("list")};
  const auto opened = open({"127.0.0.1:0", alone, true});
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().message().find("tls_crl " + alone.crl + " needs tls_client_ca"),
            std::string::npos);
}

TEST_F(Revoked, ListsOfOtherAuthoritiesDoNotSuffice) {
  test::Certificates foreign(file("foreign"), "other CA");
  ASSERT_TRUE(open_with(foreign.list("list")));
  EXPECT_TRUE(refuses(files("client"), "the other side refuses our certificate"));
  EXPECT_GE(logged("tls_crl has no list of CN=lbd test CA: put one of each authority into it"), 1);
}

}  // namespace
}  // namespace lb::relay
