// TLS with certificates of the test's own.
#include <cerrno>

#include "netns/etcd_api/v3_fixture.h"
#include "support/net_namespace.h"

namespace lb::etcd {
namespace {

class V3Tls : public V3Test {
 protected:
  void start_tls(bool auth = false) {
    test::EtcdOptions options;
    options.tls = true;
    options.auth = auth;
    options.readable = {"/r/"};
    start(std::move(options));
  }
  Result<Listing> list_with(HttpTls tls) {
    access_.tls = std::move(tls);
    HttpClient http(io_);
    V3Api other(http, access_);
    return run(other.list(url(), "/r/"));
  }
};

TEST_F(V3Tls, SpeaksToEtcdWithAClientCertificate) {
  start_tls(true);
  const Header header = list("/r/").header;
  EXPECT_NE(watch("/r/", header.revision + 1, header.cluster), nullptr);
}

TEST_F(V3Tls, SaysWhatIsWrongWithTheCertificates) {
  start_tls();
  const HttpTls good = access_.tls;
  const test::Certificates foreign(sandbox_->folder() + "/foreign");
  foreign.sign("client", "DNS:lbd.test");

  EXPECT_TRUE(list_with(good));
  EXPECT_TRUE(fails(list_with({"", good.cert, good.key}), EPROTO,
                    {url(), "certificate", "`ca`", "the system's authorities"}));
  EXPECT_TRUE(fails(list_with({foreign.ca(), good.cert, good.key}), EPROTO,
                    {url(), "certificate", "`ca`", foreign.ca()}));
  EXPECT_TRUE(fails(list_with({"/nowhere/ca.pem", good.cert, good.key}), EPROTO,
                    {url(), "/nowhere/ca.pem"}));
  EXPECT_TRUE(fails(list_with({good.ca, "", ""}), EPROTO, {url(), "`cert` and `key`"}));
  // etcd's alert may be lost in the reset that follows it.
  const auto refused = list_with({good.ca, foreign.cert("client"), foreign.key("client")});
  ASSERT_FALSE(refused);
  EXPECT_TRUE(fails(refused, refused.error().code.value(),
                    {url(), "`cert` and `key`", foreign.cert("client")}));
  EXPECT_TRUE(
      fails(list_with({good.ca, good.cert, foreign.key("client")}), EPROTO, {url(), "`cert`"}));
}

TEST_F(V3Tls, TakesAReplacedAuthorityFileWithoutARestart) {
  start_tls();
  const std::string good = test::read_text(access_.tls.ca);
  const std::string file = sandbox_->folder() + "/ca.pem";
  const test::Certificates foreign(sandbox_->folder() + "/foreign");
  test::replace_file(file, test::read_text(foreign.ca()));
  access_.tls.ca = file;
  EXPECT_FALSE(run(api().list(url(), "/r/")));
  test::replace_file(file, good);
  EXPECT_TRUE(run(api().list(url(), "/r/")));
}

TEST_F(V3Tls, SaysThatTheSchemeIsWrong) {
  start_tls();
  const HttpTls good = access_.tls;
  std::string& endpoint = access_.endpoints.front();
  endpoint.replace(0, 5, "http");
  EXPECT_TRUE(fails(list_with(good), ECONNRESET, {url(), "https://"}));
}

TEST_F(V3Tls, SaysThatAServerSpeaksNoTls) {
  start();
  std::string& endpoint = access_.endpoints.front();
  endpoint.replace(0, 4, "https");
  EXPECT_TRUE(fails(list_with({}), EPROTO, {url(), "http://"}));
}

TEST_F(V3Tls, SaysThatTheCertificateIsForAnotherName) {
  start_tls();
  const HttpTls good = access_.tls;
  // The same member under an address that its certificate does not have.
  test::run_or_throw({"nft",
                      "add table ip other; add chain ip other out { type nat hook output priority "
                      "-100; }; add rule ip other out ip daddr 10.77.0.99 dnat to 10.77.0.1"});
  access_.endpoints = {"https://10.77.0.99:2379"};
  EXPECT_TRUE(fails(list_with(good), EPROTO, {url(), "10.77.0.99", "subjectAltName"}));
}

TEST_F(V3Tls, PassesOnThatACommonNameIsRefused) {
  start_tls(true);
  cluster_->certificates()->sign("named", "DNS:lbd.test", "lbd");
  const HttpTls named{cluster_->certificates()->ca(), cluster_->certificates()->cert("named"),
                      cluster_->certificates()->key("named")};
  EXPECT_TRUE(fails(list_with(named), EACCES, {url(), "CommonName", "has no CN"}));
}

}  // namespace
}  // namespace lb::etcd
