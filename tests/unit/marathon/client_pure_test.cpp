// What the client decides without a socket: where redirects may lead, whom to ask, when to read.
#include <gtest/gtest.h>

#include "marathon/answer.h"
#include "marathon/endpoints.h"
#include "marathon/plan.h"

namespace lb::marathon {
namespace {

using namespace std::chrono_literals;
using TimePoint = std::chrono::steady_clock::time_point;

const TimePoint kStart = TimePoint(1000s);

TEST(Answer, FindsTheReasonOfARefusal) {
  EXPECT_EQ(reason_in(R"({"message":"Futures timed out"})"), "Futures timed out");
  EXPECT_EQ(reason_in("<html><head>\n<TITLE>Error 401\n Unauthorized</TITLE>"),
            "Error 401 Unauthorized");
  EXPECT_EQ(reason_in("  plain\n\n words "), "plain words");
  EXPECT_EQ(reason_in(""), "");
  EXPECT_EQ(reason_in("\x01"), "\\x01");
  EXPECT_LE(reason_in(std::string(100'000, 'x')).size(), 130U);
}

TEST(Answer, ComparesOriginsWithTheirPorts) {
  EXPECT_EQ(origin_of("HTTP://Marathon1/v2/events?x"), "http://marathon1:80");
  EXPECT_EQ(origin_of("https://m:8443"), "https://m:8443");
  EXPECT_EQ(origin_of("https://[::1]/x"), "https://[::1]:443");
  EXPECT_EQ(origin_of("http://[::1]:8080/x"), "http://[::1]:8080");
  for (const char* bad : {"", "/v2/events", "ftp://m:80", "http://", "http://user:pw@m:80/",
                          "http://m:80\\@evil", "//m:80"})
    EXPECT_EQ(origin_of(bad), std::nullopt) << bad;
}

TEST(Answer, FollowsRedirectsOnlyToWhomWeKnow) {
  const std::vector<std::string> known{"http://m1:8080", "https://m2:8443/marathon"};
  EXPECT_EQ(follow("http://M1:8080/v2/events", known[0], known, ""), known[0]);
  EXPECT_EQ(follow("https://m2:8443/v2/events", known[0], known, ""), known[1]);
  EXPECT_EQ(follow("http://evil:8080/v2/events", known[0], known, ""), std::nullopt);
  EXPECT_EQ(follow("http://m3:8080/v2/events", known[0], known, "m3:8080"), "http://m3:8080");
  EXPECT_EQ(follow("http://m3:8081/v2/events", known[0], known, "m3:8080"), std::nullopt);
  // Not from https to http, whoever names it; the other way is fine.
  EXPECT_EQ(follow("http://m3:8080/v2/events", known[1], known, "m3:8080"), std::nullopt);
  EXPECT_EQ(follow("https://m3:8080/v2/events", known[0], known, "m3:8080"), "https://m3:8080");
  EXPECT_EQ(follow("/v2/events", known[0], known, "m3:8080"), std::nullopt);
}

TEST(Answer, ReadsTheLeader) {
  EXPECT_EQ(leader_in(R"({"leader":"m1:8080"})"), "m1:8080");
  EXPECT_EQ(leader_in(R"({"leader":"a@b:8080"})"), "");
  for (const char* bad : {"", "{}", "[]", R"({"leader":7})", R"({"message":"There is no leader"})"})
    EXPECT_EQ(leader_in(bad), "") << bad;
}

TEST(Answer, EscapesSelectors) {
  EXPECT_EQ(label_query("marathoner_haproxy_enabled"), "label=marathoner_haproxy_enabled");
  EXPECT_EQ(label_query("a b/c&d"), "label=a%5C%20b%5C%2Fc%5C%26d");
  EXPECT_EQ(label_query("\xc3\xa4"), "label=%C3%A4");
}

TEST(Answer, TellsMarathonsDenialOfAnAppFromEveryOther404) {
  EXPECT_TRUE(denies_app(R"({"message":"App '/web' does not exist"})", "/web"));
  EXPECT_FALSE(denies_app(R"({"message":"App '/web/api' does not exist"})", "/web"));
  EXPECT_FALSE(denies_app(R"({"message":"App '/v2/apps/web' does not exist"})", "/web"));
  EXPECT_FALSE(denies_app(R"({"message":"HTTP 404 Not Found"})", "/web"));
  EXPECT_FALSE(denies_app("<html><title>404: '/web' does not exist</title></html>", "/web"));
  EXPECT_FALSE(denies_app("", "/web"));
}

TEST(Answer, MakesPathsOfPlainIdsOnly) {
  for (const char* id : {"/web", "/a/b-c.d", "/x_1"}) EXPECT_TRUE(is_plain_id(id)) << id;
  for (const char* id : {"", "/", "web", "/a?b", "/a b", "/*", "/a%2f", "/a#b"})
    EXPECT_FALSE(is_plain_id(id)) << id;
}

TEST(Endpoints, RestsLongestAtOnceWhereItIsOfNoUseToAskAgainSoon) {
  Endpoints endpoints(2, 30s);
  endpoints.rest_longest(0, kStart, 0.0);
  for (const double random : {0.0, 0.99}) EXPECT_EQ(endpoints.choose(kStart, random).index, 1U);
  EXPECT_EQ(endpoints.choose(kStart, 0.0).not_before, kStart) << "the other one may be asked";
  endpoints.rest_longest(1, kStart, 1.0);
  EXPECT_EQ(endpoints.choose(kStart, 0.0).not_before, kStart + 15s);
  endpoints.rest_longest(0, kStart, 1.0);
  EXPECT_EQ(endpoints.choose(kStart, 0.0).not_before, kStart + 30s);
}

TEST(Endpoints, AsksARandomOneOfThoseThatWork) {
  Endpoints endpoints(3, 30s);
  EXPECT_EQ(endpoints.choose(kStart, 0.0).index, 0U);
  EXPECT_EQ(endpoints.choose(kStart, 0.5).index, 1U);
  EXPECT_EQ(endpoints.choose(kStart, 0.999).index, 2U);
  EXPECT_NE(endpoints.choose(kStart, 0.5, 1).index, 1U);
  endpoints.failed(1, kStart, 0.5);
  for (const double random : {0.0, 0.4, 0.6, 0.99})
    EXPECT_NE(endpoints.choose(kStart, random).index, 1U);
  EXPECT_EQ(endpoints.choose(kStart, 0.5).not_before, kStart);
}

TEST(Endpoints, WaitsForTheFirstToComeBackWhenAllRest) {
  Endpoints endpoints(2, 30s);
  endpoints.failed(0, kStart, 1.0);
  endpoints.failed(0, kStart, 1.0);
  EXPECT_FALSE(endpoints.all_fail());
  EXPECT_TRUE(endpoints.has_other(0));
  EXPECT_FALSE(endpoints.has_other(1));
  endpoints.failed(1, kStart, 1.0);
  EXPECT_TRUE(endpoints.all_fail());
  const auto choice = endpoints.choose(kStart, 0.0);
  EXPECT_EQ(choice.index, 1U);
  EXPECT_EQ(choice.not_before, kStart + 250ms);
  endpoints.succeeded(1);
  EXPECT_EQ(endpoints.choose(kStart, 0.9).not_before, kStart);
}

TEST(Endpoints, RestsNoLongerThanItIsTold) {
  Endpoints endpoints(1, 2s);
  for (int i = 0; i < 100; ++i) endpoints.failed(0, kStart, 1.0);
  EXPECT_EQ(endpoints.choose(kStart, 0.0).not_before, kStart + 2s);
  // Avoiding the only one is no reason not to ask it.
  EXPECT_EQ(endpoints.choose(kStart + 3s, 0.0, 0).index, 0U);
}

TEST(ReadPlan, ReadsAtOnceThenWithinEachInterval) {
  ReadPlan plan(10s);
  EXPECT_LE(plan.due(), kStart);
  plan.begin(kStart);
  plan.succeeded(kStart + 1s, 0.0);
  EXPECT_EQ(plan.due(), kStart + 8s);
  plan.begin(kStart + 8s);
  plan.succeeded(kStart + 9s, 0.999999);
  EXPECT_GT(plan.due(), kStart + 17990ms);
  EXPECT_LE(plan.due(), kStart + 18s);
}

TEST(ReadPlan, GathersEventsForFiftyMilliseconds) {
  ReadPlan plan(10s);
  plan.begin(kStart);
  plan.succeeded(kStart, 0.0);
  plan.hint(kStart + 1s);
  EXPECT_EQ(plan.due(), kStart + 1050ms);
  plan.hint(kStart + 1040ms);
  EXPECT_EQ(plan.due(), kStart + 1090ms);
  for (auto at = 1040ms; at < 3s; at += 40ms) plan.hint(kStart + at);
  EXPECT_EQ(plan.due(), kStart + 2s);  // a second at most
}

TEST(ReadPlan, ReadsAgainAfterAnEventThatCameDuringAReading) {
  ReadPlan plan(10s);
  plan.begin(kStart);
  plan.hint(kStart + 100ms);
  plan.succeeded(kStart + 200ms, 0.0);
  // As long after the reading as it took.
  EXPECT_EQ(plan.due(), kStart + 400ms);
  plan.begin(kStart + 400ms);
  plan.at_once();
  plan.succeeded(kStart + 500ms, 0.0);
  EXPECT_LE(plan.due(), kStart + 500ms);
}

TEST(ReadPlan, RepeatsADoubtfulReadingUntilTheGuardHasDecided) {
  ReadPlan plan(60s);
  plan.begin(kStart);
  plan.succeeded(kStart, 0.0);
  plan.doubt(kStart);
  std::vector<TimePoint::duration> at;
  while (plan.doubts() && at.size() < 20) {
    const TimePoint due = plan.due();
    at.push_back(due - kStart);
    plan.begin(due);
    plan.succeeded(due, 0.0);
  }
  const std::vector<TimePoint::duration> want{1s, 4s, 7s, 10s, 13s};
  EXPECT_EQ(at, want);
  plan.doubt(kStart + 20s);
  plan.trust();
  EXPECT_GT(plan.due(), kStart + 50s);
}

TEST(ReadPlan, LetsAFailureDecideAlone) {
  ReadPlan plan(10s);
  plan.begin(kStart);
  plan.hint(kStart);
  plan.failed(kStart + 5s);
  EXPECT_EQ(plan.due(), kStart + 5s);
}

}  // namespace
}  // namespace lb::marathon
