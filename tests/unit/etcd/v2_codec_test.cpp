// Answers are those that etcd 3.4.23 gave.
#include "etcd/v2_codec.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <vector>

#include <fmt/format.h>

namespace lb::etcd::v2 {
namespace {

using namespace std::chrono_literals;

Answer good(std::string_view body) { return {200, "6c438ba6ce8a0f60", "10", body}; }

TEST(V2Keys, ArePathsWithEachSegmentPercentEncoded) {
  EXPECT_EQ(key_path("/a/b").value(), "/v2/keys/a/b");
  EXPECT_EQ(key_path("/a b/\xc3\xbc%+?#").value(), "/v2/keys/a%20b/%C3%BC%25%2B%3F%23");
  EXPECT_EQ(key_path("/a/").value(), "/v2/keys/a/");
  EXPECT_EQ(key_path("/").value(), "/v2/keys/");
  EXPECT_EQ(directory_path("/svc/web/").value(), "/v2/keys/svc/web/");
  EXPECT_EQ(directory_path("/svc/we").value(), "/v2/keys/svc/");
  EXPECT_EQ(directory_path("").value(), "/v2/keys/");
}

TEST(V2Keys, ThatCannotBeAreRefused) {
  for (const char* key : {"", "a", "a/b", "//a", "/a//b", "/a/../b", "/.", "/a//"}) {
    const auto path = key_path(key);
    ASSERT_FALSE(path) << key;
    EXPECT_EQ(path.error().code.value(), EINVAL);
    EXPECT_NE(path.error().context.find("v2"), std::string::npos);
  }
  EXPECT_FALSE(directory_path("a/"));
  EXPECT_FALSE(directory_path("/a//"));
}

TEST(V2Forms, EncodeWhatAFormWouldChange) {
  EXPECT_EQ(value_form("14:20+00:00 &=\n", 0s), "value=14%3A20%2B00%3A00%20%26%3D%0A");
  EXPECT_EQ(value_form("", 30s), "value=&ttl=30");
  EXPECT_EQ(create_form("1", 30s), "value=1&ttl=30&prevExist=false");
  EXPECT_EQ(refresh_form(30s), "refresh=true&prevExist=true&ttl=30");
}

TEST(V2Headers, TellClusterAndIndex) {
  EXPECT_EQ(parse_header({200, "6c438ba6ce8a0f60", "10", ""}).value(),
            (Header{0x6c438ba6ce8a0f60, 10}));
  EXPECT_EQ(parse_header({200, "ffffffffffffffff", "0", ""}).value().cluster, ~0ULL);
  for (const Answer& bad :
       {Answer{200, "", "10", "<html>"}, Answer{200, "1", "", "<html>"},
        Answer{200, "xyz", "10", "<html>"}, Answer{200, "1", "-1", "<html>"},
        Answer{200, "1", "1x", "<html>"}, Answer{200, "1", "99999999999999999999", "<html>"},
        Answer{200, "10000000000000000", "1", "<html>"}}) {
    const auto header = parse_header(bad);
    ASSERT_FALSE(header) << bad.cluster << " " << bad.index;
    EXPECT_EQ(header.error().code.value(), EBADMSG);
    EXPECT_NE(header.error().context.find("<html>"), std::string::npos);
  }
}

constexpr auto kTree = R"({"action":"get","node":{"key":"/a","dir":true,"nodes":[
  {"key":"/a/dir2","dir":true,"modifiedIndex":6,"createdIndex":6},
  {"key":"/a/file","value":"127.0.0.1:8001","modifiedIndex":5,"createdIndex":5},
  {"key":"/a/td","dir":true,"expiration":"2026-11-22T05:49:27.911086986Z","ttl":100,"nodes":[
    {"key":"/a/td/k","value":"1+2 3","modifiedIndex":9,"createdIndex":9}],
   "modifiedIndex":8,"createdIndex":8},
  {"key":"/a/file-2","value":"","modifiedIndex":4,"createdIndex":4},
  {"key":"/a/ttl","value":"x","expiration":"2026-11-22T05:49:27.887420908Z","ttl":100,
   "modifiedIndex":7,"createdIndex":7}],"modifiedIndex":4,"createdIndex":4}})";

TEST(V2Listing, IsFlattenedAndSorted) {
  const auto listing = parse_listing(good(kTree), "/a/");
  ASSERT_TRUE(listing) << listing.error().message();
  EXPECT_EQ(listing->header, (Header{0x6c438ba6ce8a0f60, 10}));
  EXPECT_EQ(listing->kvs, (std::vector<KeyValue>{{"/a/file", "127.0.0.1:8001", 5, 0},
                                                 {"/a/file-2", "", 4, 0},
                                                 {"/a/td/k", "1+2 3", 9, 1},
                                                 {"/a/ttl", "x", 7, 1}}));
}

TEST(V2Listing, HoldsOnlyWhatStartsWithThePrefix) {
  const auto some = parse_listing(good(kTree), "/a/t");
  ASSERT_EQ(some.value().kvs.size(), 2U);
  EXPECT_EQ(some->kvs[0].key, "/a/td/k");
  EXPECT_TRUE(parse_listing(good(R"({"action":"get","node":{"key":"/a","value":"1",
    "modifiedIndex":4,"createdIndex":4}})"),
                            "/a/")
                  .value()
                  .kvs.empty());
}

TEST(V2Listing, OfNothingIsEmpty) {
  const auto absent =
      parse_listing({404, "6c438ba6ce8a0f60", "3",
                     R"({"errorCode":100,"message":"Key not found","cause":"/nope","index":3})"},
                    "/nope/");
  ASSERT_TRUE(absent) << absent.error().message();
  EXPECT_TRUE(absent->kvs.empty());
  EXPECT_EQ(absent->header.revision, 3);
  EXPECT_TRUE(
      parse_listing(good(R"({"action":"get","node":{"dir":true}})"), "/").value().kvs.empty());
  EXPECT_TRUE(parse_listing(good(R"({"node":{"key":"/a","dir":true,"nodes":null}})"), "/a/")
                  .value()
                  .kvs.empty());
}

TEST(V2Listing, ReadsNumbersThatAreTexts) {
  const auto listing =
      parse_listing(good(R"({"node":{"key":"/a","value":"1","modifiedIndex":"7"}})"), "/a");
  EXPECT_EQ(listing.value().kvs.at(0).mod_revision, 7);
}

TEST(V2Listing, LeavesOutHiddenNamesBelowThePrefixOnly) {
  constexpr auto kHidden = R"({"node":{"key":"/_x","dir":true,"nodes":[
    {"key":"/_x/a","value":"1"},{"key":"/_x/_b","value":"1"},{"key":"/_x/c_d","value":"1"}]}})";
  const auto listing = parse_listing(good(kHidden), "/_x/");
  ASSERT_EQ(listing.value().kvs.size(), 2U);
  EXPECT_EQ(listing->kvs[1].key, "/_x/c_d");
}

std::string nested(int directories) {
  std::string body = R"({"node":)";
  for (int i = 0; i < directories; ++i) body += R"({"dir":true,"nodes":[)";
  body += R"({"key":"/a","value":"1"})";
  for (int i = 0; i < directories; ++i) body += "]}";
  return body + "}";
}

TEST(V2Listing, IsAsDeepAsAPathMayBe) {
  EXPECT_EQ(parse_listing(good(nested(250)), "/").value().kvs.size(), 1U);
  const auto deep = parse_listing(good(nested(50'000)), "/");
  ASSERT_FALSE(deep);
  EXPECT_EQ(deep.error().code.value(), EBADMSG);
  EXPECT_NE(deep.error().context.find("brackets within brackets"), std::string::npos);
}

TEST(V2Listing, TakesMembersInAnyOrder) {
  const auto listing = parse_listing(good(R"({"node":{"nodes":[{"value":"1","key":"/a/b"},
    {"modifiedIndex":3,"x":[{"nodes":[{}]}],"key":"/a/c","value":"2"}],"ttl":7}})"),
                                     "/a/");
  EXPECT_EQ(listing.value().kvs, (std::vector<KeyValue>{{"/a/b", "1", 0, 1}, {"/a/c", "2", 3, 1}}));
}

TEST(V2Listing, ThatIsNotEtcdsIsRefused) {
  for (const char* body :
       {"", "<html>", "[]", "7", "{}", R"({"node":7})", R"({"node":{}})",
        R"({"node":{"value":"1"}})", R"({"node":{"key":7,"value":"1"}})",
        R"({"node":{"key":"/a","value":7}})", R"({"node":{"key":"a","value":"1"}})",
        R"({"node":{"dir":true,"nodes":{}}})", R"({"node":{"dir":true,"nodes":[7]}})",
        R"({"node":{"key":"/a","modifiedIndex":-1}})",
        R"({"node":{"key":"/a","modifiedIndex":1.5}})",
        R"({"node":{"key":"/a","modifiedIndex":"x"}})",
        R"({"node":{"key":"/a","modifiedIndex":18446744073709551615}})",
        R"({"action":"get","node":{"key":"/a","dir":true,"nodes":[{"key":"/a/b","val)"}) {
    const auto listing = parse_listing(good(body), "/");
    ASSERT_FALSE(listing) << body;
    EXPECT_EQ(listing.error().code.value(), EBADMSG) << body;
    EXPECT_LT(listing.error().context.size(), 500U);
  }
}

TEST(V2Presence, IsKnownWithoutDescendingWhereThereIsAKey) {
  const auto presence = [](std::string_view body, std::string_view prefix) {
    return parse_presence(good(body), prefix).value();
  };
  EXPECT_EQ(presence(kTree, "/a/"), std::optional(true));
  EXPECT_EQ(presence(R"({"node":{"key":"/a","dir":true}})", "/a/"), std::optional(false));
  EXPECT_EQ(presence(R"({"node":{"key":"/a","value":"1"}})", "/a/"), std::optional(false));
  EXPECT_EQ(
      presence(R"({"node":{"key":"/a","dir":true,"nodes":[{"key":"/a/b","dir":true}]}})", "/a/"),
      std::nullopt);
  EXPECT_EQ(parse_presence({404, "1", "1", R"({"errorCode":100})"}, "/a/").value(),
            std::optional(false));
}

struct Refusal {
  const char* name;
  int status;
  const char* body;
  int code;
  const char* text;
};
class V2Refusals : public testing::TestWithParam<Refusal> {};

TEST_P(V2Refusals, SayWhatEtcdSaid) {
  const Error error = failure({GetParam().status, "1", "1", GetParam().body});
  EXPECT_EQ(error.code.value(), GetParam().code) << error.message();
  EXPECT_NE(error.context.find(GetParam().text), std::string::npos) << error.context;
  EXPECT_EQ(parse_listing({GetParam().status, "1", "1", GetParam().body}, "/a/").error().code,
            error.code);
}
INSTANTIATE_TEST_SUITE_P(
    Cases, V2Refusals,
    testing::Values(
        Refusal{"off", 404, "404 page not found\n", ENOTSUP, "--enable-v2"},
        Refusal{
            "cleared", 400,
            R"({"errorCode":401,"message":"The event in requested index is outdated and cleared",
                "cause":"the requested history has been cleared [110/5]","index":1109})",
            ESTALE, "outdated and cleared: the requested history has been cleared [110/5]"},
        Refusal{"unauthorized", 401, R"({"message":"Insufficient credentials"})", EACCES,
                "Insufficient credentials; check username"},
        Refusal{"unauthorized_in_words", 401, "Unauthorized", EACCES, "Unauthorized; check"},
        Refusal{"forbidden", 403, "<html>no</html>", EACCES, "<html>no"},
        Refusal{"not_a_file", 403,
                R"({"errorCode":102,"message":"Not a file","cause":"/a/dir2","index":11})",
                EREMOTEIO, "HTTP status 403: Not a file: /a/dir2 (etcd's error 102)"},
        Refusal{
            "no_quorum", 500,
            R"({"errorCode":300,"message":"Raft Internal Error","cause":"etcdserver: request timed out","index":0})",
            EREMOTEIO, "etcdserver: request timed out"},
        Refusal{"words_alone", 500, R"({"message":"Internal Server Error"})", EREMOTEIO,
                "Internal Server Error"},
        Refusal{"html", 502, "<html>\r\n<b>Bad Gateway</b>", EBADMSG, "<html>\\x0d\\x0a<b>Bad"},
        Refusal{"html_404", 404, "<html>404</html>", EBADMSG, "<html>404"},
        Refusal{"empty", 500, "", EBADMSG, "HTTP status 500"},
        Refusal{"odd_code", 500, R"({"errorCode":"100","message":7})", EBADMSG, "errorCode"},
        Refusal{"huge_code", 500, R"({"errorCode":18446744073709551615})", EBADMSG, "errorCode"}),
    [](const auto& test) { return test.param.name; });

struct EventCase {
  const char* name;
  const char* body;
  const char* expected;  // "": nothing that is a key
};
class V2Events : public testing::TestWithParam<EventCase> {};

std::string describe(const Event& event) {
  std::string out =
      fmt::format("{} {}={} @{} lease {}", event.is_delete ? "delete" : "put", event.kv.key,
                  event.kv.value, event.kv.mod_revision, event.kv.lease);
  if (event.is_directory) out += " dir";
  if (event.previous)
    out += fmt::format(" before {}={} @{} lease {}", event.previous->key, event.previous->value,
                       event.previous->mod_revision, event.previous->lease);
  return out;
}

TEST_P(V2Events, AreReadAs) {
  const auto told = parse_watch_event(GetParam().body, "/a/");
  ASSERT_TRUE(told) << told.error().message();
  EXPECT_EQ(told->index, 9);
  EXPECT_EQ(told->event ? describe(*told->event) : "", GetParam().expected);
}
INSTANTIATE_TEST_SUITE_P(
    Cases, V2Events,
    testing::Values(
        EventCase{
            "set",
            R"({"action":"set","node":{"key":"/a/k","value":"1","modifiedIndex":9,"createdIndex":9}})",
            "put /a/k=1 @9 lease 0"},
        EventCase{"set_again",
                  R"({"action":"set","node":{"key":"/a/k","value":"2","modifiedIndex":9},
                  "prevNode":{"key":"/a/k","value":"1","ttl":5,"modifiedIndex":4}})",
                  "put /a/k=2 @9 lease 0 before /a/k=1 @4 lease 1"},
        EventCase{
            "create_with_ttl",
            R"({"action":"create","node":{"key":"/a/k","value":"1","ttl":5,"modifiedIndex":9}})",
            "put /a/k=1 @9 lease 1"},
        EventCase{"update",
                  R"({"action":"update","node":{"key":"/a/k","value":"1","modifiedIndex":9}})",
                  "put /a/k=1 @9 lease 0"},
        EventCase{
            "swap",
            R"({"action":"compareAndSwap","node":{"key":"/a/k","value":"1","modifiedIndex":9}})",
            "put /a/k=1 @9 lease 0"},
        EventCase{"mkdir", R"({"action":"set","node":{"key":"/a/d","dir":true,"modifiedIndex":9}})",
                  ""},
        EventCase{"directory_for_value",
                  R"({"action":"set","node":{"key":"/a/k","dir":true,"modifiedIndex":9},
                  "prevNode":{"key":"/a/k","value":"x","modifiedIndex":4}})",
                  "delete /a/k= @9 lease 0 before /a/k=x @4 lease 0"},
        EventCase{"ttl_of_directory",
                  R"({"action":"update","node":{"key":"/a/d","dir":true,"ttl":5,"modifiedIndex":9},
                  "prevNode":{"key":"/a/d","dir":true,"modifiedIndex":4}})",
                  ""},
        EventCase{"delete",
                  R"({"action":"delete","node":{"key":"/a/k","modifiedIndex":9,"createdIndex":4},
                  "prevNode":{"key":"/a/k","value":"x","ttl":5,"modifiedIndex":4,"createdIndex":4}})",
                  "delete /a/k= @9 lease 0 before /a/k=x @4 lease 0"},
        EventCase{"delete_without_before",
                  R"({"action":"delete","node":{"key":"/a/k","modifiedIndex":9}})",
                  "delete /a/k= @9 lease 0 before /a/k= @0 lease 0"},
        EventCase{"compare_and_delete",
                  R"({"action":"compareAndDelete","node":{"key":"/a/k","modifiedIndex":9},
                  "prevNode":{"key":"/a/k","value":"x","modifiedIndex":4}})",
                  "delete /a/k= @9 lease 0 before /a/k=x @4 lease 0"},
        EventCase{"expire",
                  R"({"action":"expire","node":{"key":"/a/k","modifiedIndex":9,"createdIndex":4},
                  "prevNode":{"key":"/a/k","value":"x","expiration":"2026-11-22T05:49:27Z","modifiedIndex":4}})",
                  "delete /a/k= @9 lease 0 before /a/k=x @4 lease 1"},
        EventCase{"rmdir", R"({"action":"delete","node":{"key":"/a/d","dir":true,"modifiedIndex":9},
                  "prevNode":{"key":"/a/d","dir":true,"modifiedIndex":4}})",
                  "delete /a/d= @9 lease 0 dir before /a/d= @4 lease 0"},
        EventCase{"expired_directory",
                  R"({"action":"expire","node":{"key":"/a/d","dir":true,"modifiedIndex":9},
                  "prevNode":{"key":"/a/d","dir":true,"modifiedIndex":4}})",
                  "delete /a/d= @9 lease 0 dir before /a/d= @4 lease 1"},
        EventCase{"the_directory_itself",
                  R"({"action":"delete","node":{"key":"/a","dir":true,"modifiedIndex":9}})",
                  "delete /a= @9 lease 0 dir before /a= @0 lease 0"},
        EventCase{"a_directory_with_a_like_name",
                  R"({"action":"delete","node":{"key":"/ab","dir":true,"modifiedIndex":9}})", ""},
        EventCase{"another_key",
                  R"({"action":"set","node":{"key":"/b","value":"1","modifiedIndex":9}})", ""},
        EventCase{"hidden",
                  R"({"action":"set","node":{"key":"/a/_h/k","value":"1","modifiedIndex":9}})", ""},
        EventCase{"hidden_directory",
                  R"({"action":"delete","node":{"key":"/a/_h","dir":true,"modifiedIndex":9}})",
                  ""}),
    [](const auto& test) { return test.param.name; });

TEST(V2Events, OfTheDirectoriesAroundThePrefixConcernIt) {
  const auto told = parse_watch_event(
      R"({"action":"delete","node":{"key":"/b","dir":true,"modifiedIndex":14}})", "/b/sub/deeper/");
  ASSERT_TRUE(told.value().event);
  EXPECT_EQ(told->event->kv.key, "/b");
  EXPECT_TRUE(told->event->is_directory);
}

TEST(V2Events, ThatAreNotEtcdsAreRefused) {
  for (const char* body :
       {"", "<html>", "{}", "[]", R"({"action":"set"})", R"({"action":"set","node":7})",
        R"({"action":"set","node":{"key":"/a/k","value":"1"}})",
        R"({"action":"get","node":{"key":"/a/k","value":"1","modifiedIndex":9}})",
        R"({"action":7,"node":{"key":"/a/k","value":"1","modifiedIndex":9}})",
        R"({"action":"set","node":{"key":"/a/k","value":"1","modifiedIndex":9},"prevNode":{}})",
        R"({"action":"set","node":{"key":"/a/k","value":"1","modifiedIndex":-9}})",
        R"({"action":"set","node":{"key":"/a/k","val)"}) {
    const auto told = parse_watch_event(body, "/a/");
    ASSERT_FALSE(told) << body;
    EXPECT_EQ(told.error().code.value(), EBADMSG);
  }
}

}  // namespace
}  // namespace lb::etcd::v2
