#include <gtest/gtest.h>

#include <openssl/evp.h>
#include <openssl/pem.h>

#include <algorithm>
#include <memory>

#include <nlohmann/json.hpp>

#include "base/text.h"
#include "marathon/login.h"

namespace lb::marathon {
namespace {

using namespace std::chrono_literals;
using Json = nlohmann::json;

struct Free {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};
using Key = std::unique_ptr<EVP_PKEY, Free>;

std::string pem_of(EVP_PKEY* key) {
  const std::unique_ptr<BIO, Free> bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return std::string(data, static_cast<std::size_t>(size));
}

std::string decode(std::string text) {
  std::replace(text.begin(), text.end(), '-', '+');
  std::replace(text.begin(), text.end(), '_', '/');
  while (text.size() % 4 != 0) text += '=';
  return base64_decode(text).value();
}

bool verifies(EVP_PKEY* key, const std::string& text, const std::string& signature) {
  const std::unique_ptr<EVP_MD_CTX, Free> context(EVP_MD_CTX_new());
  return EVP_DigestVerifyInit(context.get(), nullptr, EVP_sha256(), nullptr, key) == 1 &&
         EVP_DigestVerify(context.get(), reinterpret_cast<const unsigned char*>(signature.data()),
                          signature.size(), reinterpret_cast<const unsigned char*>(text.data()),
                          text.size()) == 1;
}

const WallTime kNow{1'700'000'000s};

TEST(Login, ProvesWhoWeAreForLessThanAMinute) {
  const Key key(EVP_RSA_gen(2048));
  const auto body = login_request("lbd \"x\"", pem_of(key.get()), kNow);
  ASSERT_TRUE(body) << body.error().message();
  const Json json = Json::parse(*body);
  EXPECT_EQ(json.at("uid"), "lbd \"x\"");
  const std::string token = json.at("token");
  const auto first = token.find('.');
  const auto last = token.rfind('.');
  EXPECT_EQ(Json::parse(decode(token.substr(0, first))), (Json{{"alg", "RS256"}, {"typ", "JWT"}}));
  const Json claims = Json::parse(decode(token.substr(first + 1, last - first - 1)));
  EXPECT_EQ(claims.at("uid"), "lbd \"x\"");
  EXPECT_GT(claims.at("exp"), 1'700'000'000);
  EXPECT_LE(claims.at("exp"), 1'700'000'060);
  EXPECT_TRUE(verifies(key.get(), token.substr(0, last), decode(token.substr(last + 1))));
  EXPECT_EQ(token.find_first_of("+/="), std::string::npos);
}

TEST(Login, RefusesWhatIsNoRsaKeyWithoutShowingIt) {
  const Key curve(EVP_EC_gen("P-256"));
  for (const std::string& pem :
       {std::string("-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n"),
        std::string(), std::string("secret"), pem_of(curve.get())}) {
    const auto body = login_request("lbd", pem, kNow);
    ASSERT_FALSE(body);
    EXPECT_EQ(body.error().message().find("secret"), std::string::npos);
    EXPECT_NE(body.error().message().find("RSA private key"), std::string::npos);
  }
}

TEST(Login, FindsTheTokenInTheAnswerOrInACookie) {
  EXPECT_EQ(parse_login(R"({"token":"a.b.c"})", {}).value(), "a.b.c");
  const std::map<std::string, std::string> headers{
      {"set-cookie", "dcos-acs-info-cookie=x; Path=/, dcos-acs-auth-cookie=d.e.f; Path=/"}};
  EXPECT_EQ(parse_login("{}", headers).value(), "d.e.f");
  EXPECT_EQ(parse_login(R"({"token":"a.b.c"})", headers).value(), "a.b.c");
}

TEST(Login, NeverRepeatsAnAnswerThatItDoesNotUnderstand) {
  for (const char* body : {"", "[]", "{\"secret\":1}", R"({"token":""})", R"({"token":7})",
                           "{\"token\":\"se cret\"}", "{\"token\":\"secret\\r\\nX-Evil: 1\"}"}) {
    const auto token = parse_login(body, {});
    ASSERT_FALSE(token) << body;
    EXPECT_EQ(token.error().message().find("cret"), std::string::npos);
  }
}

TEST(Login, ReadsWhenATokenEnds) {
  const std::string token = "e30." + base64_encode(R"({"exp":1700000100})") + ".x";
  ASSERT_TRUE(end_of_token(token));
  EXPECT_EQ(*end_of_token(token) - kNow, 100s);
  for (const std::string& claims :
       {std::string("{}"), std::string("[]"), std::string("x"), std::string(R"({"exp":"soon"})")})
    EXPECT_FALSE(end_of_token("e30." + base64_encode(claims) + ".x")) << claims;
  for (const std::string exp : {"1e300", "32503680000", "-1e300"})
    EXPECT_TRUE(end_of_token("e30." + base64_encode("{\"exp\":" + exp + "}") + ".x")) << exp;
  for (const char* bad : {"", ".", "..", "a.b", "opaque"}) EXPECT_FALSE(end_of_token(bad)) << bad;
}

TEST(Login, TakesNothingThatCannotStandInAHeader) {
  EXPECT_TRUE(is_token("eyJ.a-b_c.d"));
  for (const char* bad : {"", "a b", "a\nb", "a\x7f", "\xc3\xa4"})
    EXPECT_FALSE(is_token(bad)) << bad;
}

}  // namespace
}  // namespace lb::marathon
