// The words are those of curl 7.88 with OpenSSL 3.
#include "http/tls_hint.h"

#include <gtest/gtest.h>

namespace lb {
namespace {

struct HintCase {
  const char* name;
  const char* words;
  HttpTls tls;
  const char* hint;  // "": none
};
class TlsHint : public testing::TestWithParam<HintCase> {};

TEST_P(TlsHint, SaysWhatToDo) {
  const std::string hint = tls_hint(GetParam().words, GetParam().tls);
  const std::string want = GetParam().hint;
  EXPECT_EQ(hint.empty(), want.empty()) << hint;
  EXPECT_NE(hint.find(want), std::string::npos) << hint;
}
INSTANTIATE_TEST_SUITE_P(
    Cases, TlsHint,
    testing::Values(
        HintCase{"untrusted",
                 "SSL certificate problem: unable to get local issuer certificate",
                 {},
                 "(now the system's authorities)"},
        HintCase{"self_signed",
                 "SSL certificate problem: self-signed certificate",
                 {"/etc/ca.pem", "", ""},
                 "`ca` must name a PEM file"},
        HintCase{"expired", "SSL certificate problem: certificate has expired", {}, "clock"},
        HintCase{"name",
                 "SSL: no alternative certificate subject name matches target host name '::1'",
                 {},
                 "subjectAltName"},
        HintCase{"no_client_certificate",
                 "OpenSSL SSL_read: error:0A00045C:SSL routines::tlsv13 alert certificate "
                 "required, errno 0",
                 {},
                 "set `cert` and `key` (now none)"},
        HintCase{"plain_server",
                 "error:0A00010B:SSL routines::wrong version number",
                 {},
                 "http:// URL?"},
        HintCase{"wrong_key",
                 "unable to set private key file: '/a.key' type PEM",
                 {"", "/b.crt", "/a.key"},
                 "`key` /a.key must be the key of `cert` /b.crt"},
        HintCase{"other", "Failed to connect to 127.0.0.1 port 1", {}, ""}),
    [](const auto& test) { return test.param.name; });

TEST(HangUpHint, NamesTheOtherScheme) {
  EXPECT_NE(hang_up_hint("http://a:1/", {}).find("https://"), std::string::npos);
  EXPECT_NE(hang_up_hint("https://a:1/", {}).find("(now none)"), std::string::npos);
}

}  // namespace
}  // namespace lb
