#include "support/fake_marathon_auth.h"

#include <openssl/evp.h>
#include <openssl/pem.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <memory>
#include <stdexcept>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/text.h"

namespace lb::test {
namespace {

std::string base64url_decode(std::string text) {
  std::replace(text.begin(), text.end(), '-', '+');
  std::replace(text.begin(), text.end(), '_', '/');
  while (text.size() % 4 != 0) text += '=';
  const auto out = base64_decode(text);
  if (!out) throw std::runtime_error("not base64url");
  return *out;
}

std::string base64url_encode(const std::string& bytes) {
  std::string out = base64_encode(bytes);
  std::replace(out.begin(), out.end(), '+', '-');
  std::replace(out.begin(), out.end(), '/', '_');
  while (out.ends_with('=')) out.pop_back();
  return out;
}

struct Closer {
  void operator()(std::FILE* file) const { std::fclose(file); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

bool signature_is_good(const std::string& key_file, const std::string& text,
                       const std::string& signature) {
  const std::unique_ptr<std::FILE, Closer> file(std::fopen(key_file.c_str(), "r"));
  if (!file) throw std::runtime_error("cannot read " + key_file);
  const std::unique_ptr<EVP_PKEY, Closer> key(
      PEM_read_PUBKEY(file.get(), nullptr, nullptr, nullptr));
  const std::unique_ptr<EVP_MD_CTX, Closer> context(EVP_MD_CTX_new());
  const auto* bytes = reinterpret_cast<const unsigned char*>(signature.data());
  const auto* data = reinterpret_cast<const unsigned char*>(text.data());
  return key &&
         EVP_DigestVerifyInit(context.get(), nullptr, EVP_sha256(), nullptr, key.get()) == 1 &&
         EVP_DigestVerify(context.get(), bytes, signature.size(), data, text.size()) == 1;
}

// Why the login is refused, or "".
std::string objection(const FakeMarathonOptions& options, const std::string& body) {
  const auto json = nlohmann::json::parse(body);
  if (json.at("uid") != options.dcos_uid) return "unknown uid";
  const std::string token = json.at("token");
  const auto first = token.find('.');
  const auto second = token.rfind('.');
  if (first == std::string::npos || first == second) return "not a JWT";
  const auto header = nlohmann::json::parse(base64url_decode(token.substr(0, first)));
  const auto claims =
      nlohmann::json::parse(base64url_decode(token.substr(first + 1, second - first - 1)));
  if (header.at("alg") != "RS256") return "alg is not RS256";
  if (claims.at("uid") != options.dcos_uid) return "uid of another";
  const auto left = claims.at("exp").get<std::int64_t>() - std::time(nullptr);
  if (left <= 0 || left > 60) return "exp is not within the next 60 s";
  const std::string signature = base64url_decode(token.substr(second + 1));
  if (!signature_is_good(options.dcos_public_key, token.substr(0, second), signature))
    return "bad signature";
  return "";
}

}  // namespace

bool FakeMarathonAuth::allows(const MarathonRequest& request) const {
  const std::string given = request.header("authorization");
  if (!options_.basic.empty()) return given == "Basic " + base64_encode(options_.basic);
  if (!options_.token.empty()) return given == "token=" + options_.token;
  if (options_.dcos_public_key.empty()) return true;
  const auto it = given.starts_with("token=") ? tokens_.find(given.substr(6)) : tokens_.end();
  return it != tokens_.end() && std::chrono::steady_clock::now() < it->second;
}

MarathonReply FakeMarathonAuth::refusal() {
  return {
      401,
      "text/html;charset=iso-8859-1",
      "<html>\n<head>\n<title>Error 401 </title>\n</head>\n<body>\n<h2>HTTP ERROR: 401</h2>\n"
      "<p>Problem accessing /v2/apps. Reason:\n<pre>    Unauthorized</pre></p>\n</body>\n</html>\n",
      {"WWW-Authenticate: basic realm=\"Mesosphere\""}};
}

MarathonReply FakeMarathonAuth::login(const MarathonRequest& request) {
  std::string problem;
  try {
    problem = request.method == "POST" ? objection(options_, request.body) : "POST, please";
  } catch (const std::exception& e) {
    problem = e.what();
  }
  if (!problem.empty())
    return {401,
            "application/json",
            nlohmann::json{{"title", "Bad login"}, {"description", problem}}.dump(),
            {}};
  // As real ones, it says when it ends.
  const nlohmann::json claims{{"uid", options_.dcos_uid},
                              {"exp", std::time(nullptr) + options_.token_life.count()}};
  const std::string token = fmt::format("e30.{}.{}", base64url_encode(claims.dump()), ++given_);
  tokens_[token] = std::chrono::steady_clock::now() + options_.token_life;
  MarathonReply reply{200, "application/json", "{}", {}};
  if (!options_.dcos_cookie) reply.body = nlohmann::json{{"token", token}}.dump();
  reply.headers = {fmt::format("Set-Cookie: dcos-acs-auth-cookie={}; Path=/; HttpOnly", token),
                   "Set-Cookie: dcos-acs-info-cookie=e30=; Path=/"};
  return reply;
}

}  // namespace lb::test
