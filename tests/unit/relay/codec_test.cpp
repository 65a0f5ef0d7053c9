// What is encoded is decoded again, and how large it is.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include "relay/feed.h"
#include "support/snapshot_builder.h"
#include "unit/relay/compare.h"

namespace lb::relay {
namespace {

SysTime at(const char* text) { return parse_iso8601(text).value(); }

FleetOrder order() {
  return {"u1-7", at("2026-11-22T02:13:55.123Z"), "10.0.0.7:31000", "web", true, {"a", "b"}};
}

Backend marathon_backend(int number, int port) {
  Backend out = listed(fmt::format("10.0.{}.17:{}", number, port));
  out.id = fmt::format("my-app.instance-00000000-0000-11ea-8000-0000000000{:02}._app.1", number);
  out.host = fmt::format("mesos-agent-{:03}.dc1.example.com", number);
  out.origin = "/group/my-app";
  return out;
}

ServicePtr marathon_service(int changed_port) {
  std::vector<Backend> backends;
  for (int i = 0; i < 10; ++i)
    backends.push_back(marathon_backend(i, i == 4 ? changed_port : 31000 + i));
  return offered("127.0.0.1:8080", std::move(backends), "/group/my-app");
}

TEST(RelayCodec, CarriesAHelloOfAListener) {
  const ListenerHello hello{1, "host-1", "0.1.0", Position{"e1", 41}, true, {order()}, true};
  const ListenerHello out = sent(hello);
  EXPECT_EQ(out.protocol, 1);
  EXPECT_EQ(out.node, "host-1");
  EXPECT_EQ(out.version, "0.1.0");
  EXPECT_EQ(out.have, hello.have);
  EXPECT_TRUE(out.wants_state);
  EXPECT_TRUE(out.observes);
  EXPECT_EQ(out.orders, hello.orders);
  EXPECT_EQ(sent(ListenerHello{1, "host-1", "0.1.0", {}, false, {}}).have, std::nullopt);
}

TEST(RelayCodec, CarriesAHelloOfAnUpdater) {
  const UpdaterHello out = sent(UpdaterHello{1, "updater", "0.1.0", {"e1", 57}, {order()}});
  EXPECT_EQ(out.at, (Position{"e1", 57}));
  EXPECT_EQ(out.node, "updater");
  EXPECT_EQ(out.orders, std::vector{order()});
}

TEST(RelayCodec, CarriesWhatListenersSay) {
  EXPECT_EQ(sent(Feed{true, Position{"e", 1}}).have, (Position{"e", 1}));
  EXPECT_FALSE(sent(Feed{false, {}}).wants_state);
  EXPECT_EQ(sent(Ack{{"e", 18'000'000'000'000'000'000u}}).applied.sequence,
            18'000'000'000'000'000'000u);
  (void)sent(Resync{});
  const Counts counts{
      true,
      {{ServiceKey::parse("10.9.9.9:80").value(), Address::parse("10.0.0.1:31000").value(), 5},
       {ServiceKey::parse("udp://[::1]:53").value(), Address::parse("[fd00::1]:53").value(), 0}}};
  EXPECT_EQ(sent(counts).items, counts.items);
  EXPECT_TRUE(sent(counts).complete);
  EXPECT_FALSE(sent(Counts{}).complete);
  const OrderReport report{{{"u1-7", true, false, 3}, {"u1-8", false, true, 0}}};
  EXPECT_EQ(sent(report).items, report.items);
}

TEST(RelayCodec, CarriesOrdersPingsAndGoodbyes) {
  EXPECT_EQ(sent(Orders{{order()}}).orders, std::vector{order()});
  EXPECT_EQ(sent(Ping{false, at("2026-11-22T02:13:55.123Z")}).read_at,
            at("2026-11-22T02:13:55.123Z"));
  EXPECT_FALSE(sent(Ping{false, {}}).ok);
  EXPECT_TRUE(sent(Ping{}).ok);
  EXPECT_EQ(sent(Goodbye{"too \"slow\""}).reason, "too \"slow\"");
}

TEST(RelayCodec, CarriesEveryFieldOfAService) {
  auto service = std::make_shared<Service>(*marathon_service(31004));
  service->balance = Balance::SourceHash;
  service->drain_timeout = std::chrono::seconds(90);
  service->launder = false;
  service->check = HealthCheck{HealthCheck::Type::Http,
                               "/alive?a=\"b\"",
                               8081,
                               std::chrono::milliseconds(250),
                               std::chrono::seconds(1),
                               3,
                               4};
  service->backends[3].weight = 7;
  service->backends[4].state = BackendState::Draining;
  service->backends[4].reason = Reason::Source;
  service->backends[5].id = "päth /ü";
  service->backends[6] = listed("10.0.6.17:31006");
  const SnapshotMessage snapshot{
      {"e1", 3},
      {{"marathon", "rev", at("2026-11-22T02:13:55.123Z"), at("2026-11-22T02:13:56.000Z"), false}},
      {service}};
  const SnapshotMessage out = sent(snapshot);
  EXPECT_EQ(out.at, snapshot.at);
  EXPECT_EQ(out.sources, snapshot.sources);
  EXPECT_TRUE(same(out.services, snapshot.services));
}

// A number means another user on another host.
TEST(RelayCodec, DoesNotCarryTheUserOfABackend) {
  auto service = std::make_shared<Service>(*offered("10.0.0.5:90", {listed("10.0.0.1:9000")}));
  service->backends[0].uid = 1001;
  const SnapshotMessage out = sent(SnapshotMessage{{"e1", 3}, {}, {service}});
  EXPECT_EQ(out.services[0]->backends.at(0).uid, std::nullopt);
}

TEST(RelayCodec, PutsTheListenersAddressWhereTheSourceNamedNone) {
  auto service = std::make_shared<Service>(*marathon_service(31004));
  service->default_address = true;
  const auto fixed = offered("10.0.0.5:90", {});
  const SnapshotMessage out = sent(SnapshotMessage{{"e1", 3}, {}, {fixed, service}});
  ASSERT_EQ(out.services.size(), 2u);
  EXPECT_EQ(out.services[0]->key.to_string(), "tcp://10.0.0.5:90");
  EXPECT_FALSE(out.services[0]->default_address);
  EXPECT_EQ(out.services[1]->key.to_string(), "tcp://10.9.9.9:8080");
  EXPECT_TRUE(out.services[1]->default_address);
  EXPECT_NE(encode(SnapshotMessage{{"e1", 3}, {}, {service}}).find("\"key\":\"tcp://:8080\""),
            std::string::npos);
}

TEST(RelayCodec, ReplacesBytesThatAreNoUtf8) {
  const auto service = offered("10.0.0.5:90", {}, "a\xff\n");
  const SnapshotMessage out = sent(SnapshotMessage{{"e1", 3}, {}, {service}});
  EXPECT_EQ(out.services[0]->name, "a\xef\xbf\xbd\n");
}

TEST(RelayCodec, IsOneLine) {
  const auto service = offered("10.0.0.5:90", {}, "a\nb");
  const std::string line = encode(SnapshotMessage{{"e1", 3}, {}, {service}});
  EXPECT_EQ(line.find('\n'), line.size() - 1);
}

TEST(RelayCodec, TellsOfOneMovedBackendOfTenInLessThanOneKibibyte) {
  Delta delta = make_delta({marathon_service(31004)}, {marathon_service(31999)});
  delta.at = {"0123456789abcdef", 123'456};
  delta.base = 123'455;
  delta.sources = {
      {"marathon", "4711", at("2026-11-22T02:13:55.123Z"), at("2026-11-22T02:13:56.000Z"), true},
      {"etcd", "0123456789abcdef:123456789", at("2026-11-22T02:13:55.123Z"),
       at("2026-11-22T02:13:56.000Z"), true}};
  EXPECT_LT(encode(delta).size(), 700u) << encode(delta);
}

TEST(RelayCodec, NamesEachBackendOnce) {
  // 1,000 of these are a snapshot that goes to thousands of listeners.
  const std::string line = encode(SnapshotMessage{{"e1", 3}, {}, {marathon_service(31004)}});
  EXPECT_LT(line.size(), 1'800u) << line;
}

}  // namespace
}  // namespace lb::relay
