#include "state/json_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/snapshot_builder.h"

namespace lb {
namespace {

using nlohmann::json;
using testing::HasSubstr;

Snapshot sample() {
  Backend named = listed("10.0.0.2:9002", BackendState::Stale, Reason::NotSeen);
  named.id = "node 2 \"ü\"";
  named.host = "node2.example.com";
  named.origin = "/conf/merlion/web";
  named.uid = 1001;
  Snapshot s = snapshot({offered("127.0.0.1:80", {listed("10.0.0.1:9001", 7), named}),
                         offered("udp://[::1]:53", {listed("[2001:db8::1]:53", 0)}, "dns"),
                         offered("127.0.0.1:81", {}, "empty")},
                        Absence::Guarded);
  s.revision = "cluster:42";
  s.as_of = SysTime(std::chrono::milliseconds(1'795'313'635'123));
  return s;
}

void expect_same(const Snapshot& a, const Snapshot& b) {
  ASSERT_EQ(a.services.size(), b.services.size());
  for (std::size_t i = 0; i < a.services.size(); ++i) EXPECT_EQ(*a.services[i], *b.services[i]);
  EXPECT_EQ(a.absence, b.absence);
  EXPECT_EQ(a.revision, b.revision);
  EXPECT_EQ(a.as_of, b.as_of);
}

TEST(SnapshotCodec, ReadsWhatItWrites) {
  expect_same(decode_snapshot(encode_snapshot(sample())).value(), sample());
  expect_same(decode_snapshot(encode_snapshot(Snapshot{})).value(), Snapshot{});
}

TEST(SnapshotCodec, WritesServicesAsTheirTreeIs) {
  Backend odd = listed("10.0.0.1:80");
  odd.id = "tab\t quote\" backslash\\ \xc3\xbc \x7f \x01";
  odd.host = "\xff";
  for (const ServicePtr& service : {sample().services[0], offered("[::1]:1", {odd}, "\"\"")}) {
    const json root = json::parse(encode_snapshot(snapshot({service})));
    // Through text, so that what is no UTF-8 has been replaced on both sides.
    EXPECT_EQ(root["services"][0], json::parse(encode_json(to_json(*service))));
  }
}

TEST(SnapshotCodec, KeepsTheSettingsOfAService) {
  Service service = *offered("127.0.0.1:80", {listed("10.0.0.1:9001")});
  service.default_address = true;
  service.launder = false;
  service.drain_timeout = std::chrono::seconds(90);
  service.check =
      HealthCheck{.type = HealthCheck::Type::Http, .path = "/\"ok", .port = 81, .rise = 1};
  const Snapshot with = snapshot({std::make_shared<const Service>(service)});
  expect_same(decode_snapshot(encode_snapshot(with)).value(), with);
  EXPECT_EQ(json::parse(encode_snapshot(with))["services"][0], to_json(service));
  EXPECT_FALSE(to_json(*offered("127.0.0.1:80", {})).contains("check"));
}

TEST(SnapshotCodec, LeavesOutAHealthCheckThatIsOutOfBounds) {
  Service service = *offered("127.0.0.1:80", {});
  service.check = HealthCheck{};
  for (const auto& [key, value] : {std::pair<const char*, json>("interval", "0ms"),
                                   {"timeout", "0ms"},
                                   {"rise", 0},
                                   {"fall", -1},
                                   {"path", "@127.0.0.1:2379/v2/keys/secret"},
                                   {"path", "/a\r\nX: y"},
                                   {"interval", "1ms"},
                                   {"timeout", "2h"},
                                   {"port", 65536}}) {
    json root = json::parse(encode_snapshot(snapshot({std::make_shared<const Service>(service)})));
    root["services"][0]["check"][key] = value;
    const auto loaded = decode_snapshot(root.dump());
    ASSERT_TRUE(loaded) << loaded.error().message();
    ASSERT_EQ(loaded->services.size(), 1U) << key;
    EXPECT_FALSE(loaded->services[0]->check) << key;
    ASSERT_EQ(loaded->warnings.size(), 1U) << key;
    EXPECT_NE(loaded->warnings[0].find("health check"), std::string::npos);
  }
}

TEST(SnapshotCodec, WritesTheVersionAndWordsThatPeopleKnow) {
  const json root = json::parse(encode_snapshot(sample()));
  EXPECT_EQ(root["version"], 1);
  EXPECT_EQ(root["absence"], "guarded");
  EXPECT_EQ(root["as_of"], "2026-11-22T02:13:55.123Z");
  const json& service = root["services"][0];
  EXPECT_EQ(service["key"], "tcp://127.0.0.1:80");
  EXPECT_EQ(service["balance"], "least-conn");
  EXPECT_EQ(service["backends"][1]["address"], "10.0.0.2:9002");
  EXPECT_EQ(service["backends"][1]["state"], "stale");
  EXPECT_EQ(service["backends"][1]["reason"], "not-seen");
}

TEST(SnapshotCodec, BytesThatAreNoUtf8DoNotKeepTheRestFromBeingSaved) {
  Backend junk = listed("10.0.0.1:80");
  junk.id = "\xff\xfe";
  const auto back = decode_snapshot(encode_snapshot(snapshot({offered("127.0.0.1:80", {junk})})));
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_EQ(back->services[0]->backends[0].address, junk.address);
}

// What a broken or foreign file can look like: the sample, changed in one place.
struct BrokenCase {
  const char* name;
  const char* pointer;
  json value;
  const char* error;
};

class BrokenSnapshot : public testing::TestWithParam<BrokenCase> {};

TEST_P(BrokenSnapshot, IsRefusedWithTheReason) {
  json root = json::parse(encode_snapshot(sample()));
  root[json::json_pointer(GetParam().pointer)] = GetParam().value;
  const auto decoded = decode_snapshot(root.dump());
  ASSERT_FALSE(decoded);
  EXPECT_THAT(decoded.error().message(), HasSubstr(GetParam().error));
}

INSTANTIATE_TEST_SUITE_P(
    Cases, BrokenSnapshot,
    testing::Values(
        BrokenCase{"version", "/version", 2, "has version 2, this lbd reads 1"},
        BrokenCase{"version_text", "/version", "1", "has no version"},
        BrokenCase{"absence", "/absence", "maybe", "'maybe' is not believed or guarded"},
        BrokenCase{"time", "/as_of", "yesterday", "'yesterday' is not a time"},
        BrokenCase{"services", "/services", 7, "is not what this lbd writes"},
        BrokenCase{"service", "/services/0", "x", "is not what this lbd writes"},
        BrokenCase{"key", "/services/0/key", "80", "'80' is not of the form address:port"},
        BrokenCase{"balance", "/services/0/balance", "best", "'best' is not a balance method"},
        BrokenCase{"twice", "/services/1/key", "tcp://127.0.0.1:80", "out of order or there twice"},
        BrokenCase{"address", "/services/0/backends/0/address", "x:1", "'x' is not an IP address"},
        BrokenCase{"negative", "/services/0/backends/0/weight", -1,
                   "weight -1 is not between 0 and 65535"},
        BrokenCase{"large", "/services/0/backends/0/weight", 65536,
                   "weight 65536 is not between 0 and 65535"},
        BrokenCase{"fraction", "/services/0/backends/0/weight", 1.5, "weight 1.5 is not between"},
        BrokenCase{"state", "/services/0/backends/0/state", "up", "'up' is not a backend state"},
        BrokenCase{"reason", "/services/0/backends/0/reason", 1, "is not what this lbd writes"},
        BrokenCase{"order", "/services/0/backends/0/address", "10.0.0.3:1",
                   "backend 10.0.0.2:9002 of service tcp://127.0.0.1:80 is out of order"}),
    [](const auto& c) { return std::string(c.param.name); });

TEST(SnapshotCodec, EveryTruncationIsAnErrorAndNoCrash) {
  const std::string whole = encode_snapshot(sample());
  for (std::size_t length = 0; length < whole.size(); ++length)
    EXPECT_FALSE(decode_snapshot(std::string_view(whole).substr(0, length))) << length;
}

TEST(SnapshotCodec, WhatIsNoObjectIsRefused) {
  for (const char* text : {"[]", "1", "null", "\"x\"", "{}", "{\"version\":1}"})
    EXPECT_FALSE(decode_snapshot(text)) << text;
}

}  // namespace
}  // namespace lb
