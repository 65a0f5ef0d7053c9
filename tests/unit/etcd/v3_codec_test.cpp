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

TEST(EtcdCodec, AsksForARangeInBase64) {
  EXPECT_EQ(range_request("/svc/"), R"({"key":"L3N2Yy8=","range_end":"L3N2YzA="})");
}

TEST(EtcdCodec, AsksForSeveralWatchesLineByLine) {
  const std::string body = watch_request({{"/svc/", 4}, {"/a/", 7}});
  EXPECT_EQ(std::count(body.begin(), body.end(), '\n'), 2);
  EXPECT_NE(body.find(R"("start_revision":"4")"), std::string::npos);
  EXPECT_NE(body.find(R"("prev_kv":true)"), std::string::npos);
  EXPECT_NE(body.find(R"("progress_notify":true)"), std::string::npos);
}

TEST(EtcdCodec, ReadsARange) {
  const auto range = parse_range(200, R"({"header":{"cluster_id":"14841639068965178418",
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
  const auto range = parse_range(200, R"({"header":{"cluster_id":"1","revision":"5"}})");
  ASSERT_TRUE(range);
  EXPECT_TRUE(range->kvs.empty());
}

struct ErrorCase {
  const char* name;
  int status;
  const char* body;
  const char* text;
};
class EtcdErrors : public testing::TestWithParam<ErrorCase> {};

TEST_P(EtcdErrors, SayWhatEtcdSaid) {
  const auto range = parse_range(GetParam().status, GetParam().body);
  ASSERT_FALSE(range);
  EXPECT_NE(range.error().message().find(GetParam().text), std::string::npos)
      << range.error().message();
}
INSTANTIATE_TEST_SUITE_P(
    Cases, EtcdErrors,
    testing::Values(
        ErrorCase{
            "v34", 503,
            R"({"error":"etcdserver: no leader","message":"etcdserver: no leader","code":14})",
            "HTTP status 503: etcdserver: no leader"},
        ErrorCase{"v36", 400, R"({"code":11,"message":"compacted","details":[]})",
                  "400: compacted"},
        ErrorCase{"v32", 400, R"({"error":"old","code":3})", "400: old"},
        ErrorCase{"object", 500, R"({"error":{"message":"inner"}})", "500: inner"},
        ErrorCase{"html", 502, "<html>\r\n<b>Bad Gateway</b>", "<html>\\x0d\\x0a<b>Bad"},
        ErrorCase{"empty", 404, "", "HTTP status 404"},
        ErrorCase{"html_200", 200, "<html>", "answer of a range"},
        ErrorCase{"cut", 200, R"({"header":{"cluster_id":"1","rev)", "answer of a range"},
        ErrorCase{"foreign", 200, R"({"hello":"world"})", "no revision"},
        ErrorCase{"array", 200, "[]", "no revision"},
        ErrorCase{"number", 200, R"({"header":{"cluster_id":"1","revision":"x"}})", "not a number"},
        ErrorCase{"base64", 200, R"({"header":{"revision":"1"},"kvs":[{"key":"?"}]})", "base64"},
        ErrorCase{"types", 200, R"({"header":{"revision":"1"},"kvs":[{"key":7}]})", "answer of"}),
    [](const auto& test) { return test.param.name; });

TEST(EtcdCodec, ReadsCreatedProgressAndEvents) {
  const auto created = parse_watch_message(
      R"({"result":{"header":{"cluster_id":"9","revision":"3"},"created":true,"watch_id":"1"}})");
  EXPECT_TRUE(created.value().created);
  EXPECT_EQ(created.value().watch_id, 1);
  const auto put = parse_watch_message(
      R"({"result":{"header":{"cluster_id":"9","revision":"4"},"events":[{"kv":{"key":"L3N2Yy9h",
      "create_revision":"2","mod_revision":"4","version":"2","value":"djI="}}]}})");
  ASSERT_EQ(put.value().events.size(), 1U);
  EXPECT_FALSE(put->events[0].is_delete);
  EXPECT_EQ(put->events[0].kv.value, "v2");
  EXPECT_FALSE(put->events[0].previous);
  const auto gone = parse_watch_message(
      R"({"result":{"header":{"revision":"5"},"events":[{"type":"DELETE","kv":{"key":"L3N2Yy9i",
      "mod_revision":"5"},"prev_kv":{"key":"L3N2Yy9i","mod_revision":"3","lease":"77"}}]}})");
  ASSERT_EQ(gone.value().events.size(), 1U);
  EXPECT_TRUE(gone->events[0].is_delete);
  EXPECT_EQ(gone->events[0].previous.value().lease, 77);
  const auto progress = parse_watch_message(R"({"result":{"header":{"revision":"10"}}})");
  EXPECT_EQ(progress.value().header.revision, 10);
  EXPECT_FALSE(progress->created);
}

TEST(EtcdCodec, ReadsHowWatchesEnd) {
  const auto compacted = parse_watch_message(
      R"({"result":{"header":{"cluster_id":"9"},"canceled":true,"compact_revision":"4"}})");
  EXPECT_TRUE(compacted.value().canceled);
  EXPECT_EQ(compacted->compact_revision, 4);
  const auto denied = parse_watch_message(
      R"({"result":{"watch_id":"-1","created":true,"canceled":true,"cancel_reason":"denied"}})");
  EXPECT_TRUE(denied.value().created && denied->canceled);
  EXPECT_EQ(denied->reason, "denied");
  const auto error = parse_watch_message(
      R"({"error":{"grpc_code":14,"http_code":503,"message":"etcdserver: no leader"}})");
  EXPECT_TRUE(error.value().canceled);
  EXPECT_EQ(error->reason, "etcdserver: no leader");
  EXPECT_TRUE(parse_watch_message("{}").value().canceled);
  for (const char* bad :
       {"", "<html>", R"({"result":{"events":[{}]}})", R"({"result":{"events":7}})"})
    EXPECT_FALSE(parse_watch_message(bad)) << bad;
}

TEST(LineSplitter, CutsLinesHoweverTheyArrive) {
  const std::string text = "{\"a\":1}\n\n{\"b\":2}\n{\"c\"";
  for (std::size_t step = 1; step <= text.size(); ++step) {
    LineSplitter splitter(100);
    std::vector<std::string> lines;
    for (std::size_t at = 0; at < text.size(); at += step)
      if (const auto fed = splitter.feed(std::string_view(text).substr(at, step)); fed)
        lines.insert(lines.end(), fed->begin(), fed->end());
    EXPECT_EQ(lines, (std::vector<std::string>{"{\"a\":1}", "{\"b\":2}"})) << step;
  }
}

TEST(LineSplitter, RefusesALineWithoutEnd) {
  LineSplitter splitter(10);
  EXPECT_TRUE(splitter.feed("0123456789"));
  EXPECT_EQ(splitter.feed("0").error().code.value(), EMSGSIZE);
}

}  // namespace
}  // namespace lb::etcd
