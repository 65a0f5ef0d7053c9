// What etcd itself cannot be made to do: garbage, silence, other versions. No sandbox: loopback only.
#include <cerrno>
#include <filesystem>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>

#include "base/text.h"
#include "netns/etcd_api/v3_fixture.h"
#include "support/fake_http.h"
#include "support/temp_folder.h"

namespace lb::etcd {
namespace {

using test::answer;
using test::FakeReply;
using test::FakeRequest;

const std::string kHeader = R"("header":{"cluster_id":"9","revision":"5"})";

std::string version(const std::string& text) {
  return R"({"etcdserver":")" + text + R"(","etcdcluster":"3.4.0"})";
}

class V3Faults : public testing::Test {
 protected:
  // What POST is answered; GET /version by `version_`.
  void serve(test::FakeHttp::Handler handler) {
    server_ = std::make_unique<test::FakeHttp>(
        io_, [this, handler = std::move(handler)](const FakeRequest& request) {
          return request.path == "/version" ? version_ : handler(request);
        });
    access_.endpoints = {server_->url()};
    http_ = std::make_unique<HttpClient>(io_);
    api_ = std::make_unique<V3Api>(*http_, access_);
  }
  void serve_always(FakeReply reply) {
    serve([reply = std::move(reply)](const FakeRequest&) { return reply; });
  }

  [[nodiscard]] std::string url() const { return server_->url(); }
  Result<Listing> list() { return run_on(io_, api_->list(url(), "/svc/")); }
  Result<Header> probe() { return run_on(io_, api_->probe(url(), "/svc/")); }
  Result<std::unique_ptr<Watch>> watch(std::int64_t start = 6) {
    return run_on(io_, api_->watch(url(), 9, {{"/svc/", start}}));
  }

  asio::io_context io_{1};
  Access access_;
  FakeReply version_ = answer(200, version("3.4.23"));
  std::unique_ptr<test::FakeHttp> server_;
  std::unique_ptr<HttpClient> http_;
  std::unique_ptr<V3Api> api_;
};

TEST_F(V3Faults, LooksTheGatewayUpOnce) {
  serve_always(answer(200, "{" + kHeader + "}"));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(list());
  EXPECT_TRUE(probe());
  EXPECT_EQ(server_->count("/version"), 1);
  EXPECT_EQ(server_->count("/v3/kv/range"), 4);
}

TEST_F(V3Faults, GoesOnWithAnotherVersionAtTheSameAddress) {
  version_ = answer(200, version("3.3.27"));
  std::string path = "/v3beta/kv/range";
  serve([&](const FakeRequest& request) {
    return request.path == path ? answer(200, "{" + kHeader + "}")
                                : answer(404, "404 page not found\n", "text/plain");
  });
  EXPECT_TRUE(list());
  version_ = answer(200, version("3.4.23"));
  path = "/v3/kv/range";
  EXPECT_TRUE(list());
  EXPECT_EQ(server_->count("/version"), 2);
}

TEST_F(V3Faults, SaysThatThereIsNoV3) {
  serve_always(answer(404, "404 page not found\n", "text/plain"));
  EXPECT_TRUE(fails(list(), ENOTSUP, {url(), "range of /svc/", "404 page not found"}));
  EXPECT_TRUE(fails(watch(), ENOTSUP, {url(), "watch /svc/", "404 page not found"}));
  version_ = answer(200, version("2.3.8"));
  EXPECT_TRUE(fails(list(), ENOTSUP, {url(), "etcd 2.3.8 has no v3 API"}));
  version_ = answer(404, "no", "text/plain");
  EXPECT_TRUE(fails(list(), ENOTSUP, {url(), "/version", "404"}));
}

TEST_F(V3Faults, SaysThatItIsNoEtcd) {
  const FakeReply html = answer(200, "<html><h1>It works!</h1>", "text/html");
  serve_always(html);
  EXPECT_TRUE(fails(list(), EBADMSG, {url(), "range of /svc/", "<html>", "is this etcd?"}));
  EXPECT_TRUE(fails(watch(), EBADMSG, {url(), "watch /svc/"}));
  EXPECT_TRUE(fails(run_on(io_, api_->put(url(), "/k", "v", {})), EBADMSG, {url(), "put /k"}));
  version_ = html;
  EXPECT_TRUE(fails(list(), EBADMSG, {url(), "/version", "is this etcd?"})) << "looked up anew";
  version_ = answer(502, "<html>Bad Gateway</html>", "text/html");
  EXPECT_TRUE(fails(list(), EBADMSG, {url(), "502", "Bad Gateway", "is this etcd?"}));
}

TEST_F(V3Faults, RefusesHalfAnAnswer) {
  FakeReply reply;
  serve([&](const FakeRequest&) { return reply; });
  reply = answer(200, "");
  EXPECT_TRUE(fails(list(), EBADMSG, {url(), "range of /svc/", "empty answer"}));
  reply = answer(200, R"({"header":{"cluster_id":"9","revi)");
  EXPECT_TRUE(fails(list(), EBADMSG, {url(), "range of /svc/", "cannot be read"}));
  reply = test::stream("{" + kHeader, FakeReply::Then::Close);
  EXPECT_TRUE(fails(list(), ECONNRESET, {url(), "range of /svc/"}));
  reply = {"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{" + kHeader, FakeReply::Then::Close};
  EXPECT_TRUE(fails(list(), ECONNRESET, {url(), "range of /svc/"}));
  reply = {"", FakeReply::Then::Close};
  EXPECT_TRUE(fails(list(), ECONNRESET, {url(), "range of /svc/"}));
  reply = answer(200, "{" + kHeader + "}");
  EXPECT_TRUE(list()) << "and goes on when all is well again";
}

TEST_F(V3Faults, ReadsSevenMegabytesAndRefusesTooMuch) {
  std::string body;
  serve([&](const FakeRequest&) { return answer(200, body); });
  const std::string value(5 << 20, 'x');
  body = "{" + kHeader + R"(,"kvs":[{"key":"YQ==","mod_revision":"5","value":")" +
         base64_encode(value) + R"("}],"count":"1"})";
  ASSERT_GT(body.size(), std::size_t{6} << 20);
  const auto listed = list();
  ASSERT_TRUE(listed) << listed.error().message();
  EXPECT_EQ(listed->kvs.at(0).value, value);
  body.resize((std::size_t{8} << 20) + 1);
  EXPECT_TRUE(fails(list(), EMSGSIZE, {url(), "range of /svc/", "8388608 bytes"}));
}

TEST_F(V3Faults, ProbesWithPatienceOfItsOwn) {
  serve_always({"", FakeReply::Then::Hang});
  const auto begin = steady_clock::now();
  EXPECT_TRUE(fails(probe(), ETIMEDOUT, {url(), "probe of /svc/"}));
  EXPECT_LT(steady_clock::now() - begin, 4500ms);
}

TEST_F(V3Faults, DoesNotWaitForeverForAWatch) {
  FakeReply reply{"", FakeReply::Then::Hang};
  serve([&](const FakeRequest&) { return reply; });
  EXPECT_TRUE(fails(watch(), ETIMEDOUT, {url(), "watch /svc/"})) << "no header";
  reply = test::stream("");
  EXPECT_TRUE(fails(watch(), ETIMEDOUT, {url(), "watch /svc/"})) << "no confirmation";
}

TEST_F(V3Faults, ListsAnewWhenThePagesAreCompacted) {
  int compactions = 2;
  const std::string page =
      "{" + kHeader + R"(,"more":true,"count":"2","kvs":[{"key":"YQ==","mod_revision":"5"}]})";
  const std::string last =
      "{" + kHeader + R"(,"count":"1","kvs":[{"key":"Yg==","mod_revision":"4"}]})";
  serve([&](const FakeRequest& request) {
    if (request.body.find("revision") == std::string::npos) return answer(200, page);
    EXPECT_NE(request.body.find(R"("revision":"5")"), std::string::npos);
    EXPECT_NE(request.body.find(base64_encode(std::string("a\0", 2))), std::string::npos);
    if (compactions-- > 0)
      return answer(400, R"({"error":"etcdserver: mvcc: required revision has been compacted",
                          "code":11})");
    return answer(200, last);
  });
  const auto listing = list();
  ASSERT_TRUE(listing) << listing.error().message();
  ASSERT_EQ(listing->kvs.size(), 2U);
  EXPECT_EQ(listing->kvs[0].key + listing->kvs[1].key, "ab");
  compactions = 100;
  const int before = server_->count("/v3/kv/range");
  EXPECT_TRUE(fails(list(), ESTALE, {url(), "range of /svc/", "compacted"}));
  EXPECT_EQ(server_->count("/v3/kv/range") - before, 6) << "three times two pages";
}

const std::string kCreated = R"({"result":{)" + kHeader + R"(,"created":true}})" + "\n";

TEST_F(V3Faults, EndsAWatchThatWasCutOff) {
  serve([](const FakeRequest& request) {
    EXPECT_NE(request.body.find(R"("fragment":true)"), std::string::npos);
    EXPECT_EQ(request.headers.at("grpc-metadata-hasleader"), "true");
    return test::stream(kCreated);
  });
  auto opened = watch();
  ASSERT_TRUE(opened) << opened.error().message();
  EXPECT_TRUE(fails(run_on(io_, (*opened)->read(steady_clock::now() + 50ms)), ETIMEDOUT, {}));
  // The newline in a chunk of its own, as etcd does it.
  server_->push(test::chunk(R"({"result":{)" + kHeader +
                            R"(,"fragment":true,"events":)"
                            R"([{"kv":{"key":"YQ==","mod_revision":"6"}}]}})"));
  EXPECT_TRUE(fails(run_on(io_, (*opened)->read(steady_clock::now() + 50ms)), ETIMEDOUT, {}));
  server_->push(test::chunk("\n"));
  EXPECT_FALSE(run_on(io_, (*opened)->read(steady_clock::now() + 50ms)));
  server_->push(test::chunk(""));
  EXPECT_FALSE(run_on(io_, (*opened)->read(steady_clock::now() + 5s))) << "half a transaction";
}

TEST_F(V3Faults, ConfirmsAWatchOnlyOfTheSameClusterAndNotAnOlderOne) {
  serve_always(test::stream(kCreated));
  EXPECT_TRUE(watch(6));
  EXPECT_TRUE(fails(watch(7), ESTALE, {url(), "watch /svc/", "older"}));
  EXPECT_TRUE(fails(run_on(io_, api_->watch(url(), 8, {{"/svc/", 6}})), ESTALE,
                    {url(), "another cluster"}));
}

TEST_F(V3Faults, AsksOlderVersionsForNoFragments) {
  version_ = answer(200, version("3.3.27"));
  serve([](const FakeRequest& request) {
    EXPECT_EQ(request.path, "/v3beta/watch");
    EXPECT_EQ(request.body.find("fragment"), std::string::npos);
    return test::stream(kCreated);
  });
  EXPECT_TRUE(watch());
}

// Authentication with a server that does what the test says.
class V3Tokens : public V3Faults {
 protected:
  V3Tokens() {
    access_.username = "lbd";
    access_.password_file = folder_.path() + "/secret";
    test::replace_file(access_.password_file, "pass-word\n");
  }
  void serve_tokens() {
    serve([this](const FakeRequest& request) {
      if (request.path == "/v3/auth/authenticate") {
        EXPECT_FALSE(request.headers.contains("authorization"));
        EXPECT_EQ(request.body, R"({"name":"lbd","password":"pass-word"})");
        return authenticated_;
      }
      const auto token = request.headers.find("authorization");
      const std::string said = token == request.headers.end() ? "" : token->second;
      return said == wanted_ ? answer(200, "{" + kHeader + "}") : refused_;
    });
  }
  [[nodiscard]] int authentications() const { return server_->count("/v3/auth/authenticate"); }

  TempFolder folder_;
  std::string wanted_ = "first.15";
  FakeReply authenticated_ = answer(200, "{" + kHeader + R"(,"token":"first.15"})");
  FakeReply refused_ = answer(401, R"({"error":"etcdserver: invalid auth token","code":16})");
};

TEST_F(V3Tokens, AuthenticatesOnceForCallsAtOnce) {
  serve_tokens();
  int done = 0;
  for (int i = 0; i < 5; ++i)
    asio::co_spawn(io_, api_->list(url(), "/svc/"), [&](const auto&, const auto& listing) {
      EXPECT_TRUE(listing) << listing.error().message();
      ++done;
    });
  io_.restart();
  while (done < 5) io_.run_one();
  EXPECT_EQ(authentications(), 1);
  EXPECT_TRUE(probe());
  EXPECT_EQ(authentications(), 1);
}

TEST_F(V3Tokens, RenewsATokenOnceAndAsksOnceMore) {
  serve_tokens();
  EXPECT_TRUE(list());
  wanted_ = "second.16";
  authenticated_ = answer(200, R"({"token":"second.16"})");
  EXPECT_TRUE(list());
  EXPECT_EQ(authentications(), 2);
  wanted_ = "never";
  const auto refused = list();
  EXPECT_TRUE(fails(refused, EACCES, {url(), "range of /svc/", "invalid auth token"}));
  EXPECT_EQ(refused.error().message().find("second.16"), std::string::npos);
  EXPECT_EQ(authentications(), 3) << "no loop";
}

TEST_F(V3Tokens, GoesOnWithoutWhereAuthenticationIsOff) {
  serve_tokens();
  authenticated_ = answer(412, R"({"error":"etcdserver: authentication is not enabled","code":9})");
  wanted_ = "";
  EXPECT_TRUE(list());
  EXPECT_TRUE(list());
  EXPECT_EQ(authentications(), 1);
  // Somebody has turned it on.
  authenticated_ = answer(200, R"({"token":"first.15"})");
  refused_ = answer(400, R"({"error":"etcdserver: user name is empty","code":3})");
  wanted_ = "first.15";
  EXPECT_TRUE(list());
  EXPECT_EQ(authentications(), 2);
}

TEST_F(V3Tokens, SaysWhoseWhatPasswordIsWrong) {
  serve_tokens();
  authenticated_ = answer(
      400,
      R"({"error":"etcdserver: authentication failed, invalid user ID or password","code":3})");
  const auto refused = list();
  EXPECT_TRUE(fails(refused, EACCES,
                    {url(), "user 'lbd'", access_.password_file, "invalid user ID or password"}));
  EXPECT_EQ(refused.error().message().find("pass-word"), std::string::npos);
  EXPECT_EQ(authentications(), 1);
  std::filesystem::remove(access_.password_file);
  EXPECT_TRUE(fails(list(), EACCES, {url(), "password_file", access_.password_file}));
}

TEST_F(V3Tokens, RenewsTheTokenOfAWatch) {
  std::string wanted = "first.15";
  serve([&](const FakeRequest& request) {
    if (request.path == "/v3/auth/authenticate")
      return answer(200, R"({"token":")" + wanted + R"("})");
    if (request.headers.at("authorization") == wanted) return test::stream(kCreated);
    return test::stream(
        R"({"result":{"header":{"cluster_id":"9"},"watch_id":"-1","created":true,"canceled":true,)"
        R"("cancel_reason":"rpc error: code = Unauthenticated desc = etcdserver: invalid auth token"}})"
        "\n");
  });
  EXPECT_TRUE(watch());
  wanted = "second.16";
  EXPECT_TRUE(watch());
  EXPECT_EQ(authentications(), 2);
}

TEST_F(V3Tokens, WaitersGoOnWhenTheOneThatAsksIsCancelled) {
  serve_tokens();
  const FakeReply good = std::exchange(authenticated_, {"", FakeReply::Then::Hang});
  asio::cancellation_signal cancel;
  bool first = false;
  bool second = false;
  asio::co_spawn(io_, api_->list(url(), "/svc/"),
                 asio::bind_cancellation_slot(cancel.slot(), [&](const auto&, const auto& listing) {
                   EXPECT_FALSE(listing);
                   first = true;
                 }));
  io_.restart();
  while (authentications() == 0) io_.run_one();
  authenticated_ = good;
  asio::co_spawn(io_, api_->list(url(), "/svc/"), [&](const auto&, const auto& listing) {
    EXPECT_TRUE(listing) << listing.error().message();
    second = true;
  });
  io_.poll();
  EXPECT_EQ(authentications(), 1) << "the second waits for the first";
  cancel.emit(asio::cancellation_type::all);
  while (!first || !second) io_.run_one();
  EXPECT_EQ(authentications(), 2);
}

}  // namespace
}  // namespace lb::etcd
