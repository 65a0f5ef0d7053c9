// What is not an etcd with a v2 API that lets us in.
#include <cerrno>

#include "netns/etcd_api/fixture.h"
#include "support/fake_http.h"

namespace lb::etcd {
namespace {

using namespace std::chrono_literals;
using Strings = std::vector<std::string>;
using test::FakeHttp;
using test::FakeReply;

constexpr auto kEtcdHeaders = "X-Etcd-Cluster-Id: 1f\r\nX-Etcd-Index: 7\r\n";

std::string reply(const std::string& status, const std::string& headers, const std::string& body) {
  return fmt::format("HTTP/1.1 {}\r\n{}Content-Length: {}\r\n\r\n{}", status, headers, body.size(),
                     body);
}

// The same bytes for everybody.
FakeHttp::Handler always(std::string bytes, FakeReply::Then then = FakeReply::Then::Close) {
  return [answer = FakeReply{std::move(bytes), then}](const auto&) { return answer; };
}

class V2Off : public V2ApiTest {
  void start() override {
    const auto started = etcd_.start(false);
    ASSERT_TRUE(started) << started.error().message();
  }
};

TEST_F(V2Off, IsSaidByEveryCall) {
  const std::string at = etcd_.url();
  const auto expect = [&at](const auto& result) {
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code.value(), ENOTSUP) << result.error().message();
    EXPECT_NE(result.error().context.find(at), std::string::npos);
  };
  expect(run(api_.list(at, "/a/")));
  expect(run(api_.has_keys(at, "/a/")));
  expect(run(api_.watch(at, 1, {{"/a/", 1}})));
  expect(run(api_.probe(at, "/a/")));
  expect(run(api_.put(at, "/a/b", "1")));
  expect(run(api_.create(at, "/a/b", "1")));
  expect(run(api_.remove(at, "/a/b")));
  expect(run(api_.remove_prefix(at, "/a/")));
  expect(run(api_.keep_alive(at, {0, 5s}, {"/a/b"})));
}

class V2Access : public V2ApiTest {
 protected:
  // A user who may read and write /conf/* and nothing else.
  void start() override {
    V2ApiTest::start();
    const auto put = [this](const std::string& path, const std::string& body) {
      etcd_.call("PUT", "/v2/auth" + path, body, "root", "application/json");
    };
    put("/users/root", R"({"user":"root","password":"secret"})");
    put("/roles/conf",
        R"({"role":"conf","permissions":{"kv":{"read":["/conf/*"],"write":["/conf/*"]}}})");
    put("/users/lbd", R"({"user":"lbd","password":"secret","roles":["conf"]})");
    etcd_.call("PUT", "/v2/keys/conf/a", "value=1");
    put("/enable", "");
    etcd_.call("PUT", "/v2/auth/roles/guest",
               R"({"role":"guest","revoke":{"kv":{"read":["/*"],"write":["/*"]}}})", "root",
               "application/json");
    access_.username = "lbd";
    access_.password_file = folder_.write("password", "secret\n");
  }
  TempFolder folder_;
};

TEST_F(V2Access, LetsTheRightPasswordIn) {
  EXPECT_EQ(keys("/conf/"), Strings{"/conf/a=1"});
  const Header now = list("/conf/").header;
  auto watch = run(api_.watch(etcd_.url(), now.cluster, {{"/conf/", now.revision + 1}}));
  ASSERT_TRUE(watch) << watch.error().message();
  EXPECT_TRUE(run(api_.put(etcd_.url(), "/conf/b", "2")));
  EXPECT_EQ(events(**watch, 1), Strings{"put /conf/b=2"});
  EXPECT_TRUE(run(api_.probe(etcd_.url(), "/conf/")));
  EXPECT_TRUE(run(api_.remove_prefix(etcd_.url(), "/conf/")));
}

TEST_F(V2Access, SaysWhatToCheckWhenItIsRefused) {
  const auto expect_refusal = [this](const std::string& prefix) {
    const auto listing = run(api_.list(etcd_.url(), prefix));
    ASSERT_FALSE(listing);
    EXPECT_EQ(listing.error().code.value(), EACCES) << listing.error().message();
    EXPECT_NE(listing.error().context.find(etcd_.url() + ": list of " + prefix), std::string::npos);
    EXPECT_NE(listing.error().context.find("check username"), std::string::npos);
    const auto watch = run(api_.watch(etcd_.url(), 1, {{prefix, 1}}));
    ASSERT_FALSE(watch);
    EXPECT_EQ(watch.error().code.value(), EACCES) << watch.error().message();
  };
  expect_refusal("/other/");
  folder_.write("password", "wrong");
  expect_refusal("/conf/");
  access_.username.clear();
  expect_refusal("/conf/");
}

TEST_F(V2Access, NamesThePasswordFileThatCannotBeRead) {
  access_.password_file = folder_.file("absent");
  const auto listing = run(api_.list(etcd_.url(), "/conf/"));
  ASSERT_FALSE(listing);
  EXPECT_NE(listing.error().message().find(folder_.file("absent")), std::string::npos);
}

class V2Strangers : public testing::Test {
 protected:
  template <class T>
  T run(asio::awaitable<T> work) {
    return run_on(io_, std::move(work));
  }
  asio::io_context io_{1};
  Access access_;
  HttpClient http_{io_};
  V2Api v2_{http_, access_};
  Api& api_ = v2_;
};

struct Stranger {
  const char* name;
  std::string reply;
  int code;
  const char* text;
};
class V2StrangeAnswers : public V2Strangers, public testing::WithParamInterface<Stranger> {};

TEST_P(V2StrangeAnswers, AreErrorsThatNameEndpointAndKey) {
  const FakeHttp server(io_, always(GetParam().reply));
  const auto listing = run(api_.list(server.url(), "/conf/"));
  ASSERT_FALSE(listing);
  EXPECT_EQ(listing.error().code.value(), GetParam().code) << listing.error().message();
  EXPECT_NE(listing.error().context.find(server.url() + ": list of /conf/: "), std::string::npos);
  EXPECT_NE(listing.error().context.find(GetParam().text), std::string::npos)
      << listing.error().context;
  EXPECT_FALSE(run(api_.has_keys(server.url(), "/conf/")));
  EXPECT_FALSE(run(api_.probe(server.url(), "/conf/")));
  const auto watch = run(api_.watch(server.url(), 31, {{"/conf/", 8}}));
  // A watch sees only the header first, and may end later.
  if (watch) {
    const auto batch = run((*watch)->read(std::chrono::steady_clock::now() + 10s));
    ASSERT_FALSE(batch);
    EXPECT_NE(batch.error().context.find(server.url() + ": watch of /conf/: "), std::string::npos);
  } else {
    EXPECT_NE(watch.error().context.find(server.url() + ": watch of /conf/: "), std::string::npos);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Answers, V2StrangeAnswers,
    testing::Values(Stranger{"html", reply("200 OK", "", "<html>hello</html>"), EBADMSG,
                             "<html>hello"},
                    Stranger{"gateway", reply("502 Bad Gateway", "", "<html>down</html>"), EBADMSG,
                             "<html>down"},
                    Stranger{"missing", reply("404 Not Found", "", "404 page not found\n"), ENOTSUP,
                             "--enable-v2"},
                    Stranger{"no_header", reply("200 OK", "", R"({"node":{"dir":true}})"), EBADMSG,
                             "X-Etcd-Cluster-Id"},
                    Stranger{"cut_json", reply("200 OK", kEtcdHeaders, R"({"action":"get","no)"),
                             EBADMSG, "cannot be read"},
                    Stranger{"cut_body",
                             fmt::format("HTTP/1.1 200 OK\r\n{}Content-Length: 100\r\n\r\n{{\"ac",
                                         kEtcdHeaders),
                             ECONNRESET, "GET http://"},
                    Stranger{"raft",
                             reply("500 Internal Server Error", kEtcdHeaders,
                                   R"({"errorCode":300,"message":"Raft Internal Error",
                                             "cause":"etcdserver: request timed out","index":7})"),
                             EREMOTEIO, "Raft Internal Error: etcdserver: request timed out"}),
    [](const auto& test) { return test.param.name; });

TEST_F(V2Strangers, ThatAreSilentTakeNoLongerThanAProbeMay) {
  const FakeHttp server(io_, always("", FakeReply::Then::Hang));
  const auto start = std::chrono::steady_clock::now();
  const auto probe = run(api_.probe(server.url(), "/conf/"));
  EXPECT_LT(std::chrono::steady_clock::now() - start, 4s);
  ASSERT_FALSE(probe);
  EXPECT_EQ(probe.error().code.value(), ETIMEDOUT);
  EXPECT_NE(probe.error().context.find(server.url() + ": probe of /conf/: "), std::string::npos);
}

TEST_F(V2Strangers, SeeTheirConnectionsClosedWithTheWatch) {
  const FakeHttp server(
      io_,
      always(fmt::format("HTTP/1.1 200 OK\r\n{}Transfer-Encoding: chunked\r\n\r\n", kEtcdHeaders),
             FakeReply::Then::Hang));
  auto watch = run(api_.watch(server.url(), 31, {{"/conf/", 8}, {"/up/", 5}}));
  ASSERT_TRUE(watch) << watch.error().message();
  EXPECT_EQ(server.requests().size(), 2U);
  EXPECT_EQ(run((*watch)->read(std::chrono::steady_clock::now() + 100ms)).error().code.value(),
            ETIMEDOUT);
  EXPECT_EQ(server.hanging(), 2U);
  watch->reset();
  const auto start = std::chrono::steady_clock::now();
  io_.restart();
  while (server.hanging() > 0 && std::chrono::steady_clock::now() - start < 10s)
    io_.run_one_for(100ms);
  EXPECT_EQ(server.hanging(), 0U);
}

TEST_F(V2Strangers, ThatEndPollsWithoutAnEventAreAskedAgainFromTheirIndex) {
  const FakeHttp server(io_, always(reply("200 OK", kEtcdHeaders, "")));
  const auto watch = run(api_.watch(server.url(), 31, {{"/conf/", 3}}));
  ASSERT_TRUE(watch) << watch.error().message();
  const auto start = std::chrono::steady_clock::now();
  io_.restart();
  while (server.requests().size() < 3 && std::chrono::steady_clock::now() - start < 10s)
    io_.run_one_for(100ms);
  ASSERT_EQ(server.requests().size(), 3U);
  EXPECT_TRUE(server.requests()[0].path.ends_with("waitIndex=3"));
  EXPECT_TRUE(server.requests()[1].path.ends_with("waitIndex=8"));
  EXPECT_TRUE(server.requests()[2].path.ends_with("waitIndex=8"));
}

}  // namespace
}  // namespace lb::etcd
