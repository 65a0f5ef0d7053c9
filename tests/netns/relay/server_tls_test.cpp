// TLS 1.3 with client certificates, and everything that may be wrong with it.
#include <cerrno>
#include <filesystem>

#include "netns/relay/server_fixture.h"
#include "support/process.h"

namespace lb::relay {
namespace {

class ServerTls : public RelayTlsTest {
 protected:
  Result<> open_tls() { return open({"127.0.0.1:0", files("server"), true}); }
};

TEST_F(ServerTls, LetsAListenerWithACertificateIn) {
  ASSERT_TRUE(open_tls());
  EXPECT_TRUE(server_->warnings().size() == 1 &&
              server_->warnings()[0].find("runs out at") != std::string::npos);  // in two days
  server_->publish({web(1)}, {});
  const auto one = listener("n1", {}, true, {}, files("client"));
  (void)hear_a<UpdaterHello>(*one);
  EXPECT_EQ(*hear_a<SnapshotMessage>(*one).services[0], *web(1));
  EXPECT_TRUE(one->is_tls() && server_->listeners()[0].tls);
  ASSERT_TRUE(one->peer_expiry());
  const auto left = *one->peer_expiry() - std::chrono::system_clock::now();
  EXPECT_TRUE(left > 24h && left < 72h);
  EXPECT_EQ(refusal(files("client"), "localhost"), "(let in)");
}

TEST_F(ServerTls, CarriesSnapshotsOfManyRecords) {
  ASSERT_TRUE(open_tls());
  std::vector<ServicePtr> services;
  for (int i = 0; i < 100; ++i)
    services.push_back(
        offered("10.0.0.5:" + std::to_string(1000 + i), {}, std::string(30'000, 'x')));
  server_->publish(services, {});
  const auto one = listener("n1", {}, true, {}, files("client"));
  (void)hear_a<UpdaterHello>(*one);
  EXPECT_EQ(hear_a<SnapshotMessage>(*one).services.size(), 100u);
}

TEST_F(ServerTls, RefusesCertificatesOfOthersAndNone) {
  ASSERT_TRUE(open({"0.0.0.0:0", files("server"), true}));
  test::Certificates foreign(file("foreign"));
  foreign.sign("client", "DNS:listener");
  EXPECT_TRUE(refuses({authority_->ca(), foreign.cert("client"), foreign.key("client")},
                      "the other side refuses our certificate"));
  EXPECT_TRUE(refuses({authority_->ca(), {}, {}}, "a client certificate is required"));
  EXPECT_TRUE(refuses({foreign.ca(), authority_->cert("client"), authority_->key("client")},
                      "the certificate of the other side is refused"));
  EXPECT_TRUE(refuses(files("client"), "IP address mismatch", "127.0.0.2"));
  EXPECT_GE(logged("127.0.0.1: TLS"), 2);
  EXPECT_EQ(refusal(files("client")), "(let in)");
}

TEST_F(ServerTls, RefusesCertificatesThatHaveRunOut) {
  sign_for("old", -10s);
  ASSERT_TRUE(open_tls());
  EXPECT_TRUE(refuses(files("old"), "the other side refuses our certificate"));
  EXPECT_EQ(logged("certificate has expired"), 2) << "the complaint, the audit";
  ASSERT_TRUE(open({"127.0.0.1:0", files("old"), true}));
  EXPECT_NE(server_->warnings().at(0).find("ran out at"), std::string::npos);
  EXPECT_TRUE(refuses(files("client"), "certificate has expired"));
}

TEST_F(ServerTls, EndsAConnectionWhoseCertificateRunsOut) {
  sign_for("short", 3s);
  ASSERT_TRUE(open_tls());
  const auto one = listener("n1", {}, false, {}, files("short"));
  (void)hear_a<UpdaterHello>(*one);
  EXPECT_NE(last_words(*one).find("the certificate of the listener ran out at 20"),
            std::string::npos);
  EXPECT_EQ(logged("n1: the certificate of the listener ran out"), 1);
}

TEST_F(ServerTls, TellsPlainAndTlsApart) {
  ASSERT_TRUE(open_tls());
  EXPECT_TRUE(refuses({}, "so does an updater that wants TLS"));
  EXPECT_TRUE(until([&] { return logged("speaks no TLS") == 1; }));
  ASSERT_TRUE(open());
  const std::string words = refusal(files("client"));
  EXPECT_TRUE(until([&] { return logged("the other side speaks TLS, and here tls_cert") == 1; }));
  EXPECT_NE(words.find("is it plain TCP there?"), std::string::npos) << words;
}

TEST_F(ServerTls, SpeaksNothingOlderThanTls13) {
  ASSERT_TRUE(open_tls());
  const auto try_version = [&](const char* version) {
    test::Process client({"openssl", "s_client", "-connect", server_->address(), version, "-cert",
                          authority_->cert("client"), "-key", authority_->key("client"), "-brief"},
                         file(version));
    EXPECT_TRUE(until([&] {
      return !client.running() || client.log().find("CONNECTION ESTABLISHED") != std::string::npos;
    }));
    return client.log().find("CONNECTION ESTABLISHED") != std::string::npos;
  };
  EXPECT_FALSE(try_version("-tls1_2"));
  EXPECT_TRUE(try_version("-tls1_3"));
}

TEST_F(ServerTls, UsesRenewedFilesForNewConnections) {
  sign_for("changing", 1h);
  ASSERT_TRUE(open({"127.0.0.1:0", files("changing"), true}));
  const auto old = listener("n1", {}, false, {}, files("client"));
  (void)hear_a<UpdaterHello>(*old);
  sign_for("changing", 2h);
  const auto fresh = listener("n2", {}, false, {}, files("client"));
  (void)hear_a<UpdaterHello>(*fresh);
  EXPECT_GT(*fresh->peer_expiry() - *old->peer_expiry(), 50min);
  std::filesystem::remove(authority_->key("changing"));
  EXPECT_EQ(refusal(files("client")), "(let in)");  // the ones before stay in use
  EXPECT_EQ(logged("changing.key"), 1);
}

TEST_F(ServerTls, NamesTheFileThatIsWrong) {
  const auto open_error = [&](TlsFiles tls) {
    const auto opened = open({"127.0.0.1:0", std::move(tls), false});
    return opened ? "(listens)" : opened.error().message();
  };
  const TlsFiles good = files("server");
  EXPECT_EQ(open_error({good.ca, file("none"), good.key}),
            "tls_cert: open " + file("none") + ": No such file or directory");
  EXPECT_NE(open_error({good.ca, good.cert, good.cert}).find("tls_key " + good.cert + " holds no"),
            std::string::npos);
  EXPECT_NE(open_error({good.ca, good.cert, authority_->key("client")}).find("is not the key of"),
            std::string::npos);
  EXPECT_NE(open_error({good.key, good.cert, good.key}).find("tls_client_ca"), std::string::npos);
  EXPECT_NE(open_error({good.ca, good.cert, ""}).find("tls_key"), std::string::npos);
  EXPECT_NE(open_error({good.ca, "", ""}).find("tls_cert"), std::string::npos);
}

}  // namespace
}  // namespace lb::relay
