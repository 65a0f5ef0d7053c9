#include "marathon/events.h"

#include <gtest/gtest.h>

#include <random>

namespace lb::marathon {
namespace {

using Kind = EventHint::Kind;
using Fate = EventHint::Fate;
using Events = std::vector<SseEvent>;

constexpr std::size_t kLimit = 1000;

Events parse(std::string_view text) { return SseParser(kLimit).feed(text); }

TEST(SseParser, ReadsEveryKindOfLineEnd) {
  const Events want{{"a", "1"}, {"b", "2"}};
  EXPECT_EQ(parse("event: a\r\ndata: 1\r\n\r\nevent: b\r\ndata: 2\r\n\r\n"), want);
  EXPECT_EQ(parse("event: a\ndata: 1\n\nevent: b\ndata: 2\n\n"), want);
  EXPECT_EQ(parse("event: a\rdata: 1\r\revent: b\rdata: 2\r\r"), want);
}

TEST(SseParser, GivesTheSameHoweverTheBytesAreCut) {
  const std::string text =
      "\r\nevent: a\r\ndata: {\"x\":1}\r\n\r\n\r\n: comment\r\ndata: 1\r\ndata: 2\r\nid: 5\r\n\r\n"
      "\r\n\r\nevent: end\rdata:x\r\r\n\n";
  const Events whole = parse(text);
  ASSERT_EQ(whole.size(), 3U);
  EXPECT_EQ(whole[1].data, "1\n2");
  EXPECT_EQ(whole[2], (SseEvent{"end", "x"}));
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    SseParser parser(kLimit);
    Events cut;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t size = std::min<std::size_t>(1 + random() % 5, text.size() - at);
      for (auto& event : parser.feed(text.substr(at, size))) cut.push_back(std::move(event));
      at += size;
    }
    EXPECT_EQ(cut, whole);
  }
}

TEST(SseParser, DispatchesNothingForHeartbeats) {
  SseParser parser(kLimit);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(parser.feed("\r").empty());
    EXPECT_TRUE(parser.feed("\n").empty());
  }
  EXPECT_EQ(parser.feed("data: x\r\n\r"), (Events{{"", "x"}}));
  EXPECT_TRUE(parser.feed("\n\r").empty());
}

TEST(SseParser, TakesOneBlankAfterTheColonAndNoMore) {
  EXPECT_EQ(parse("data:  x\n\n"), (Events{{"", " x"}}));
  EXPECT_EQ(parse("data:x\n\n"), (Events{{"", "x"}}));
  EXPECT_EQ(parse("data\n\n"), (Events{{"", ""}}));
  EXPECT_TRUE(parse("event: lonely\n\n").empty());
  EXPECT_EQ(parse("\xef\xbb\xbf"
                  "data: x\n\n"),
            (Events{{"", "x"}}));
}

TEST(SseParser, DropsWhatIsTooLargeAndKeepsItsName) {
  SseParser parser(100);
  Events all = parser.feed("event: big\ndata: ");
  for (int i = 0; i < 100; ++i)
    for (auto& event : parser.feed(std::string(50, 'x'))) all.push_back(std::move(event));
  for (auto& event : parser.feed("\n\nevent: small\ndata: y\n\n")) all.push_back(std::move(event));
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0], (SseEvent{"big", "", true}));
  EXPECT_EQ(all[1], (SseEvent{"small", "y"}));
}

TEST(SseParser, CountsTheLinesOfAnEventTogether) {
  SseParser parser(100);
  std::string text = "event: big\n";
  for (int i = 0; i < 10; ++i) text += "data: " + std::string(20, 'x') + "\n";
  EXPECT_EQ(parser.feed(text + "\n"), (Events{{"big", "", true}}));
}

EventHint status(const std::string& state) {
  return read_event(
      {"status_update_event", R"({"taskId":"a.1","taskStatus":")" + state + R"(","appId":"/a"})"});
}

TEST(ReadEvent, KnowsTheEndOfATask) {
  for (const char* state : {"TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_ERROR",
                            "TASK_DROPPED", "TASK_GONE", "TASK_GONE_BY_OPERATOR"})
    EXPECT_EQ(status(state), (EventHint{Kind::Read, Fate::Gone, "a.1", "", ""})) << state;
  EXPECT_EQ(status("TASK_KILLING").fate, Fate::Ends);
  EXPECT_EQ(status("TASK_RUNNING").fate, Fate::Starts);
  for (const char* state : {"TASK_LOST", "TASK_UNREACHABLE", "TASK_UNKNOWN", "", "nonsense"})
    EXPECT_EQ(status(state), (EventHint{Kind::Read, Fate::None, "a.1", "", ""})) << state;
}

TEST(ReadEvent, KnowsTheEndsOfInstancesAndApps) {
  EXPECT_EQ(read_event({"unhealthy_instance_kill_event",
                        R"({"appId":"/a","instanceId":"a.marathon-1","taskId":null})"}),
            (EventHint{Kind::Read, Fate::Ends, "", "a.marathon-1", ""}));
  EXPECT_EQ(read_event({"unhealthy_task_kill_event", R"({"taskId":"a.1"})"}),
            (EventHint{Kind::Read, Fate::Ends, "a.1", "", ""}));
  EXPECT_EQ(read_event({"unknown_instance_terminated_event", R"({"instanceId":"a.marathon-1"})"}),
            (EventHint{Kind::Read, Fate::Gone, "", "a.marathon-1", ""}));
  EXPECT_EQ(read_event({"app_terminated_event", R"({"appId":"/a"})"}),
            (EventHint{Kind::Read, Fate::Gone, "", "", "/a"}));
}

TEST(ReadEvent, FindsTheTypeInTheDataWhereVersionsBefore011HaveIt) {
  EXPECT_EQ(read_event({"", R"({"eventType":"status_update_event","taskId":"a.1",)"
                            R"("taskStatus":"TASK_KILLED"})"})
                .fate,
            Fate::Gone);
  EXPECT_EQ(read_event({"", R"({"eventType":"event_stream_attached"})"}).kind, Kind::Ignored);
  EXPECT_EQ(read_event({"", "no json"}).kind, Kind::Ignored);
  EXPECT_EQ(read_event({"", "", true}).kind, Kind::Read);  // it may have been anything
}

TEST(ReadEvent, NeedsNoReadableDataToReadAgain) {
  for (const char* data : {"", "[]", "{", "null", R"({"taskId":7,"taskStatus":[]})"})
    EXPECT_EQ(read_event({"status_update_event", data}), (EventHint{Kind::Read})) << data;
  EXPECT_EQ(read_event({"deployment_success", "", true}).kind, Kind::Read);
  EXPECT_EQ(read_event({"health_status_changed_event", "x"}).kind, Kind::Read);
  EXPECT_EQ(read_event({"something_new", R"({"taskId":"a.1"})"}).kind, Kind::Ignored);
}

TEST(ReadEvent, TellsWhetherMarathonHasMesos) {
  EXPECT_EQ(read_event({"scheduler_disconnected_event", "{}"}).kind, Kind::LostMesos);
  EXPECT_EQ(read_event({"scheduler_reregistered_event", "{}"}).kind, Kind::FoundMesos);
}

TEST(IsOfInstance, KnowsBothFormsOfIds) {
  EXPECT_TRUE(is_of_instance("grp_a.instance-1._app.1", "grp_a.instance-1"));
  EXPECT_TRUE(is_of_instance("grp_a.instance-1._app.2", "grp_a.instance-1"));
  EXPECT_FALSE(is_of_instance("grp_a.instance-12._app.1", "grp_a.instance-1"));
  EXPECT_TRUE(is_of_instance("grp_a.0-1", "grp_a.marathon-0-1"));
  EXPECT_FALSE(is_of_instance("grp_b.0-1", "grp_a.marathon-0-1"));
  EXPECT_FALSE(is_of_instance("grp_a.0-12", "grp_a.marathon-0-1"));
  EXPECT_FALSE(is_of_instance("grp_a.0-1", ""));
}

}  // namespace
}  // namespace lb::marathon
