#include "daemon/changes.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/snapshot_builder.h"

namespace lb {
namespace {

const SysTime kTime = parse_iso8601("2026-11-22T02:13:55.123Z").value();

nlohmann::json changes(const std::vector<ServicePtr>& before,
                       const std::vector<ServicePtr>& after) {
  const std::string line = describe_changes(before, after, kTime, "updater1:7676");
  EXPECT_EQ(line.find('\n'), std::string::npos);
  return line.empty() ? nlohmann::json(nullptr) : nlohmann::json::parse(line);
}

TEST(Changes, OfNothingAreNoLine) {
  const auto web = offered("127.0.0.1:80", {listed("10.0.0.1:80")});
  EXPECT_EQ(describe_changes({web}, {web}, kTime, ""), "");
  EXPECT_EQ(describe_changes({}, {}, kTime, ""), "");
}

TEST(Changes, StartWithTimeAndWhereTheyComeFrom) {
  const auto line = describe_changes({}, {offered("127.0.0.1:80", {})}, kTime, "updater1:7676");
  EXPECT_TRUE(line.starts_with(
      R"({"time":"2026-11-22T02:13:55.123Z","from":"updater1:7676","changes":[{"change":"service-added")"))
      << line;
}

TEST(Changes, NameWhatCameAndWent) {
  const auto before = offered("127.0.0.1:80", {listed("10.0.0.1:80"), listed("10.0.0.2:80")});
  const auto after = offered("127.0.0.1:80", {listed("10.0.0.2:80"), listed("10.0.0.3:80")});
  const auto gone = offered("127.0.0.1:81", {listed("10.0.0.9:80")}, "old");
  const auto json = changes({before, gone}, {after});
  ASSERT_EQ(json["changes"].size(), 4U);
  EXPECT_EQ(json["changes"][0]["change"], "backend-removed");
  EXPECT_EQ(json["changes"][0]["backend"], "10.0.0.1:80");
  EXPECT_EQ(json["changes"][1]["change"], "backend-added");
  EXPECT_EQ(json["changes"][2]["change"], "service-removed");
  EXPECT_EQ(json["changes"][2]["name"], "old");
  EXPECT_EQ(json["changes"][3]["backend"], "10.0.0.9:80");
}

TEST(Changes, SayFromWhatToWhat) {
  Backend task = listed("10.0.0.1:80");
  const auto before = offered("127.0.0.1:80", {task});
  task.state = BackendState::Draining;
  task.reason = Reason::Source;
  task.weight = 7;
  const auto json = changes({before}, {offered("127.0.0.1:80", {task})});
  ASSERT_EQ(json["changes"].size(), 1U);
  const auto& change = json["changes"][0];
  EXPECT_EQ(change["change"], "backend-changed");
  EXPECT_EQ(change["state"], (nlohmann::json{{"from", "active"}, {"to", "draining"}}));
  EXPECT_EQ(change["weight"], (nlohmann::json{{"from", 100}, {"to", 7}}));
  EXPECT_FALSE(change.contains("host"));
}

TEST(Changes, OfSettingsAreShown) {
  Service slow = *offered("127.0.0.1:80", {});
  slow.drain_timeout = std::chrono::seconds(5);
  const auto json = changes({offered("127.0.0.1:80", {})}, {std::make_shared<const Service>(slow)});
  EXPECT_EQ(json["changes"][0]["change"], "service-changed");
  EXPECT_EQ(json["changes"][0]["settings"]["to"]["drain_timeout"], "5s");
}

TEST(Changes, SurviveBytesThatAreNoText) {
  Backend odd = listed("10.0.0.1:80");
  odd.id = "\xff\n";
  EXPECT_NE(describe_changes({}, {offered("127.0.0.1:80", {odd})}, kTime, ""), "");
  EXPECT_EQ(nlohmann::json::parse(describe_state({offered("127.0.0.1:80", {odd})}, kTime,
                                                 "u"))["services"][0]["backends"]
                .size(),
            1U);
}

}  // namespace
}  // namespace lb
