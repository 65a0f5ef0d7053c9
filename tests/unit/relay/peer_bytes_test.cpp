#include "relay/peer_bytes.h"

#include <gtest/gtest.h>

namespace lb::relay {
namespace {

bool says(std::string_view bytes, std::string_view what) {
  return not_our_protocol(bytes).find(what) != std::string::npos;
}

TEST(PeerBytes, WaitsForMoreWhileItMayBeAMessage) {
  EXPECT_EQ(not_our_protocol(""), "");
  EXPECT_EQ(not_our_protocol("{"), "");
  EXPECT_EQ(not_our_protocol(R"({"t":"hello")"), "");
  EXPECT_EQ(not_our_protocol("GE"), "");
  EXPECT_EQ(not_our_protocol("\x16"), "");
}

TEST(PeerBytes, KnowsHttp) {
  EXPECT_TRUE(says("HTTP/1.1 400 Bad Request\r\n", "is that port an lbd updater?"));
  EXPECT_TRUE(says("GET / HTTP/1.1\r\n", "this port is for listeners of lbd"));
  EXPECT_TRUE(says("PRI * HTTP/2.0\r\n", "HTTP"));
}

TEST(PeerBytes, KnowsTls) {
  EXPECT_TRUE(says("\x16\x03\x01", "tls_cert"));
  EXPECT_TRUE(says("\x15\x03\x03", "TLS"));
}

TEST(PeerBytes, QuotesWhatItDoesNotKnow) {
  EXPECT_TRUE(says("SSH-2.0-OpenSSH_9.2\r\n", "'SSH-2.0-OpenSSH_9.2"));
  EXPECT_TRUE(says("\xff", "'\\xff'"));
  EXPECT_TRUE(says("no\n", "'no"));
  EXPECT_TRUE(says("A\n", "'A"));
}

TEST(PeerBytes, ExplainsWhatOpensslSays) {
  EXPECT_NE(relay_tls_hint("wrong version number").find("plain TCP"), std::string::npos);
  EXPECT_NE(relay_tls_hint("tlsv13 alert certificate required").find("client certificate"),
            std::string::npos);
  EXPECT_NE(relay_tls_hint("tlsv1 alert unknown ca").find("refuses our"), std::string::npos);
  EXPECT_EQ(relay_tls_hint("sslv3 alert certificate revoked"),
            "the other side refuses our certificate: it is revoked");
  EXPECT_EQ(relay_tls_hint("something else"), "");
}

}  // namespace
}  // namespace lb::relay
