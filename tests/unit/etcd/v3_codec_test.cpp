// Answers are those that etcd 3.4.23 gave, shortened.
#include "etcd/v3_codec.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>

#include "base/text.h"

namespace lb::etcd {
namespace {

TEST(EtcdCodec, EndsAPrefixAtItsLastBytePlusOne) {
  EXPECT_EQ(prefix_end("/svc/"), "/svc0");
  EXPECT_EQ(prefix_end("a\xff"), "b");
  EXPECT_EQ(prefix_end("\xff\xff"), std::string(1, '\0'));
  EXPECT_EQ(prefix_end(""), std::string(1, '\0'));
}

TEST(EtcdCodec, AsksForAllKeysFromTheLowestOn) {
  EXPECT_EQ(prefix_begin(""), std::string(1, '\0'));
  EXPECT_EQ(prefix_begin("/svc/"), "/svc/");
}

TEST(EtcdCodec, AsksForARangeInBase64) {
  EXPECT_EQ(range_request({.key = "/svc/", .end = "/svc0"}),
            R"({"key":"L3N2Yy8=","range_end":"L3N2YzA="})");
  EXPECT_EQ(range_request({.key = "/svc/", .count_only = true}),
            R"({"count_only":true,"key":"L3N2Yy8="})");
  EXPECT_EQ(range_request({.key = "/svc/", .revision = 7, .limit = 2, .keys_only = true}),
            R"({"key":"L3N2Yy8=","keys_only":true,"limit":"2","revision":"7"})");
}

TEST(EtcdCodec, AsksForSeveralWatchesLineByLine) {
  const std::string body = watch_request({{"/svc/", 4}, {"/a/", 7}}, true);
  EXPECT_EQ(std::count(body.begin(), body.end(), '\n'), 2);
  for (const char* part : {R"("start_revision":"4")", R"("start_revision":"7")",
                           R"("prev_kv":true)", R"("progress_notify":true)", R"("fragment":true)"})
    EXPECT_NE(body.find(part), std::string::npos) << part;
  EXPECT_EQ(watch_request({{"/svc/", 4}}, false).find("fragment"), std::string::npos);
}

TEST(EtcdCodec, WritesWhatChangesKeysAndLeases) {
  EXPECT_EQ(put_request("/svc/", "v2", 0), R"({"key":"L3N2Yy8=","value":"djI="})");
  EXPECT_EQ(put_request("/svc/", "", 77), R"({"key":"L3N2Yy8=","lease":"77","value":""})");
  EXPECT_EQ(create_request("/svc/", "v2", 77),
            R"({"compare":[{"key":"L3N2Yy8=","result":"EQUAL","target":"VERSION","version":"0"}],)"
            R"("success":[{"request_put":{"key":"L3N2Yy8=","lease":"77","value":"djI="}}]})");
  EXPECT_EQ(remove_request("/svc/"), R"({"key":"L3N2Yy8="})");
  EXPECT_EQ(remove_request("/svc/", "/svc0"), R"({"key":"L3N2Yy8=","range_end":"L3N2YzA="})");
  EXPECT_EQ(grant_request(std::chrono::seconds(3)), R"({"TTL":"3"})");
  EXPECT_EQ(lease_request(2324035526767551767), R"({"ID":"2324035526767551767"})");
  EXPECT_EQ(authenticate_request("lbd", "a\"b"), R"({"name":"lbd","password":"a\"b"})");
  EXPECT_NE(authenticate_request("lbd", "\xff"), "");
}

TEST(EtcdCodec, FindsTheGatewayOfEachVersion) {
  const auto of = [](const std::string& version) {
    return parse_version(R"({"etcdserver":")" + version + R"(","etcdcluster":"3.0.0"})");
  };
  for (const char* version : {"3.0.17", "3.1.0", "3.2.32"})
    EXPECT_EQ(of(version).value(), (Gateway{"/v3alpha", false})) << version;
  EXPECT_EQ(of("3.3.27").value(), (Gateway{"/v3beta", false}));
  for (const char* version : {"3.4.23", "3.5.0-alpha.0", "3.6.1", "3.10.2", "4.0.0"})
    EXPECT_EQ(of(version).value(), (Gateway{"/v3", true})) << version;
  EXPECT_EQ(of("2.3.8").error().code.value(), ENOTSUP);
  EXPECT_EQ(parse_version("etcd 0.4.9").error().code.value(), ENOTSUP);
  for (const char* body : {"", "<html>", "{}", "[]", R"({"etcdserver":"new"})",
                           R"({"etcdserver":"3"})", R"({"etcdserver":3.4})"}) {
    EXPECT_EQ(parse_version(body).error().code.value(), EBADMSG) << body;
    EXPECT_NE(parse_version(body).error().context.find("is this etcd?"), std::string::npos);
  }
}

TEST(EtcdCodec, ReadsARange) {
  const auto range = parse_range(R"({"header":{"cluster_id":"14841639068965178418",
    "member_id":"3319814642761637952","revision":"3","raft_term":"2"},"kvs":[{"key":"L3N2Yy9h",
    "create_revision":"2","mod_revision":"2","version":"1","value":"MTI3LjAuMC4xOjgwMDE="},
    {"key":"L3N2Yy9i","mod_revision":3,"lease":"2324035526767551767"}],"count":"2"})");
  ASSERT_TRUE(range) << range.error().message();
  EXPECT_EQ(range->header.cluster, 14841639068965178418ULL);
  EXPECT_EQ(range->header.revision, 3);
  ASSERT_EQ(range->kvs.size(), 2U);
  EXPECT_EQ(range->kvs[0], (KeyValue{"/svc/a", "127.0.0.1:8001", 2, 0}));
  EXPECT_EQ(range->kvs[1], (KeyValue{"/svc/b", "", 3, 2324035526767551767}));
}

TEST(EtcdCodec, ReadsAnEmptyRange) {
  const auto range = parse_range(R"({"header":{"cluster_id":"1","revision":"5"}})");
  ASSERT_TRUE(range);
  EXPECT_TRUE(range->kvs.empty());
}

TEST(EtcdCodec, ReadsAnswersToWrites) {
  const std::string header =
      R"("header":{"cluster_id":"324952591200643719","member_id":"3319814642761637952",
      "revision":"6","raft_term":"2"})";
  EXPECT_EQ(parse_header("{" + header + "}").value(), (Header{324952591200643719U, 6}));
  EXPECT_EQ(parse_header("{" + header + R"(,"deleted":"1"})").value().revision, 6);
  EXPECT_TRUE(parse_created("{" + header + R"(,"succeeded":true,"responses":[{"response_put":
      {"header":{"revision":"6"}}}]})")
                  .value());
  EXPECT_FALSE(parse_created("{" + header + "}").value());
  const auto lease = parse_grant("{" + header + R"(,"ID":"2324035526767551767","TTL":"3"})");
  EXPECT_EQ(lease.value().id, 2324035526767551767);
  EXPECT_EQ(lease->ttl, std::chrono::seconds(3));
  EXPECT_EQ(parse_grant("{" + header + "}").error().code.value(), EBADMSG);
  EXPECT_TRUE(parse_keep_alive(R"({"result":{)" + header + R"(,"ID":"7","TTL":"3"}})" + "\n"));
  EXPECT_EQ(parse_keep_alive(R"({"result":{)" + header + R"(,"ID":"7"}})").error().code.value(),
            ENOENT);
  EXPECT_EQ(parse_keep_alive(R"({"error":{"grpc_code":14,"message":"etcdserver: no leader"}})")
                .error()
                .message()
                .find("etcdserver: no leader"),
            0U);
  EXPECT_EQ(parse_token("{" + header + R"(,"token":"yEKcBJHOBuRecUkg.15"})").value(),
            "yEKcBJHOBuRecUkg.15");
}

// Both as etcd 3.4.23 wrote them.
TEST(EtcdCodec, ReadsTheAlarmThatKeepsItFromTakingWrites) {
  const std::string status =
      R"({"header":{"cluster_id":"13455796455940752355","member_id":"443629905751424238",
      "revision":"2","raft_term":"2"},"version":"3.4.23","dbSize":"143360",
      "leader":"443629905751424238","raftIndex":"10","raftTerm":"2","raftAppliedIndex":"10")";
  EXPECT_EQ(parse_alarm(status + R"(,"dbSizeInUse":"139264"})").value(), "");
  EXPECT_EQ(parse_alarm(status + R"(,"errors":["memberID:443629905751424238 alarm:NOSPACE "],
      "dbSizeInUse":"139264"})")
                .value(),
            "alarm NOSPACE");
  EXPECT_EQ(parse_alarm(status + R"(,"errors":["etcdserver: no leader"]})").value(), "");
  EXPECT_EQ(parse_refusal(429, R"({"error":"etcdserver: mvcc: database space exceeded","code":8})")
                .error.code.value(),
            ENOSPC);
}

// What becomes a line of a header must not become two, and a token is never shown.
TEST(EtcdCodec, RefusesATokenThatFitsIntoNoHeader) {
  const auto token = parse_token(R"({"token":"secret\r\nHost: evil"})");
  EXPECT_EQ(token.error().code.value(), EBADMSG);
  EXPECT_EQ(token.error().message().find("secret"), std::string::npos);
}

TEST(EtcdCodec, TakesNothingElseForAnAnswer) {
  const std::string cut = R"({"header":{"cluster_id":"1","revision":"3"},"kvs":[{"key":"L3N2)";
  for (const std::string& body :
       {std::string(), std::string("<html>"), std::string("[]"), std::string("7"),
        std::string("{}"), std::string(R"({"hello":"world"})"), cut, std::string(R"({"header":7})"),
        std::string(R"({"header":{"cluster_id":"x"}})")}) {
    EXPECT_EQ(parse_range(body).error().code.value(), EBADMSG) << body;
    EXPECT_EQ(parse_header(body).error().code.value(), EBADMSG) << body;
    EXPECT_EQ(parse_created(body).error().code.value(), EBADMSG) << body;
    EXPECT_EQ(parse_grant(body).error().code.value(), EBADMSG) << body;
    EXPECT_EQ(parse_keep_alive(body).error().code.value(), EBADMSG) << body;
    EXPECT_EQ(parse_token(body).error().code.value(), EBADMSG) << body;
    EXPECT_NE(parse_range(body).error().context.find("is this etcd?"), std::string::npos) << body;
  }
  for (const char* kvs : {R"([{"key":"?"}])", R"([{"key":7}])", "[{}]", "[7]", "7"})
    EXPECT_EQ(parse_range(std::string(R"({"header":{"cluster_id":"1","revision":"1"},"kvs":)") +
                          kvs + "}")
                  .error()
                  .code.value(),
              EBADMSG)
        << kvs;
}

struct RefusalCase {
  const char* name;
  int status;
  const char* body;
  int code;
  const char* text;
  bool token = false;
};
class EtcdRefusals : public testing::TestWithParam<RefusalCase> {};

TEST_P(EtcdRefusals, SayWhatEtcdSaid) {
  const auto& c = GetParam();
  const auto [error, token] = parse_refusal(c.status, c.body);
  EXPECT_EQ(error.code.value(), c.code) << error.message();
  EXPECT_EQ(token, c.token);
  EXPECT_NE(error.context.find(c.text), std::string::npos) << error.context;
}
INSTANTIATE_TEST_SUITE_P(
    Cases, EtcdRefusals,
    testing::Values(
        RefusalCase{
            "no_leader", 503,
            R"({"error":"etcdserver: no leader","message":"etcdserver: no leader","code":14})",
            EREMOTEIO, "HTTP status 503: etcdserver: no leader"},
        RefusalCase{"leader_changed", 503, R"({"error":"etcdserver: leader changed","code":14})",
                    EREMOTEIO, "503: etcdserver: leader changed"},
        RefusalCase{"no_quorum_range", 503,
                    R"({"error":"etcdserver: request timed out","code":14})", ETIMEDOUT,
                    "request timed out"},
        RefusalCase{"no_quorum_put", 500,
                    R"({"error":"context deadline exceeded","message":"context deadline exceeded",
                    "code":2})",
                    ETIMEDOUT, "context deadline exceeded"},
        RefusalCase{
            "compacted", 400,
            R"({"error":"etcdserver: mvcc: required revision has been compacted","code":11})",
            ESTALE, "has been compacted"},
        RefusalCase{"future", 400,
                    R"({"message":"etcdserver: mvcc: required revision is a future revision",
                    "code":11})",
                    ESTALE, "future revision"},
        RefusalCase{
            "v36", 400,
            R"({"code":11,"message":"etcdserver: mvcc: required revision has been compacted",
                    "details":[]})",
            ESTALE, "compacted"},
        RefusalCase{"v32", 400, R"({"error":"etcdserver: key is not provided","code":3})",
                    EREMOTEIO, "400: etcdserver: key is not provided"},
        RefusalCase{"wrong_password", 400,
                    R"({"error":"etcdserver: authentication failed, invalid user ID or password",
                    "message":"etcdserver: authentication failed, invalid user ID or password",
                    "code":3})",
                    EACCES, "invalid user ID or password"},
        RefusalCase{"no_token", 400, R"({"error":"etcdserver: user name is empty","code":3})",
                    EACCES, "user name is empty", true},
        RefusalCase{"old_token", 401, R"({"error":"etcdserver: invalid auth token","code":16})",
                    EACCES, "invalid auth token", true},
        RefusalCase{"old_permissions", 400,
                    R"({"error":"etcdserver: revision of auth store is old","code":3})", EACCES,
                    "is old", true},
        RefusalCase{"denied", 403, R"({"error":"etcdserver: permission denied","code":7})", EACCES,
                    "permission denied"},
        RefusalCase{"common_name", 400,
                    "CommonName of client sending a request against gateway will be ignored and "
                    "not used as expected\n",
                    EACCES, "whose subject has no CN"},
        RefusalCase{"no_lease", 404,
                    R"({"error":"etcdserver: requested lease not found","code":5})", ENOENT,
                    "requested lease not found"},
        RefusalCase{"no_gateway", 404, "404 page not found\n", ENOTSUP, "404 page not found"},
        RefusalCase{"no_gateway_v36", 404, R"({"code":5,"message":"Not Found","details":[]})",
                    ENOTSUP, "404: Not Found"},
        RefusalCase{"too_many_operations", 400,
                    R"({"error":"etcdserver: too many operations in txn request","code":3})",
                    EREMOTEIO, "too many operations"},
        RefusalCase{"object", 500, R"({"error":{"message":"inner"}})", EREMOTEIO, "500: inner"},
        RefusalCase{"html", 502, "<html>\r\n<b>Bad Gateway</b>", EBADMSG,
                    "502: <html>\\x0d\\x0a<b>Bad Gateway</b>; is this etcd?"},
        RefusalCase{"redirect", 301, "", EBADMSG, "is this etcd?"},
        RefusalCase{"empty", 500, "", EREMOTEIO, "HTTP status 500"},
        RefusalCase{"proxy_timeout", 504, "upstream", ETIMEDOUT, "504: upstream"},
        RefusalCase{"plain_http", 400, "Client sent an HTTP request to an HTTPS server.\n",
                    EREMOTEIO, "must be an https:// URL"},
        RefusalCase{"odd_code", 400, R"({"error":"x","code":"3"})", EREMOTEIO, "400: x"}),
    [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace lb::etcd
