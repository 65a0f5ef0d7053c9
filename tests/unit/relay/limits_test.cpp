// What is too long, too many or of the wrong side, and what becomes of the rest.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include "base/limits.h"
#include "relay/message.h"
#include "relay/order_json.h"
#include "relay/outbox.h"
#include "state/json_codec.h"

namespace lb::relay {
namespace {

const IpAddress kHost = IpAddress::v4(0x7f000001);

std::string refused_line(const std::string& line, From from = From::Anyone) {
  const auto out = decode(line, kHost, from);
  return out ? "(taken)" : out.error().context;
}

std::string repeated(std::string_view text, std::size_t times) {
  std::string out;
  for (std::size_t i = 0; i < times; ++i) out += text;
  return out;
}

FleetOrder order(std::size_t number, std::size_t length) {
  FleetOrder out;
  out.id = fmt::format("order-{:05}", number);
  out.time = SysTime(std::chrono::seconds(1'000'000 + number));
  out.target = fmt::format("host-{:05}-{}", number, std::string(length, 'h'));
  out.service = fmt::format("/a/{}", std::string(length, 's'));
  return out;
}

TEST(LineShape, KnowsTheTypeWithoutATree) {
  EXPECT_EQ(shape_of(R"({"t":"ping"})").kind, Kind::Ping);
  EXPECT_EQ(shape_of(R"( { "x" : {"t":"bye","u":["t","hello"]} , "t" : "counts" } )").kind,
            Kind::Counts);
  EXPECT_EQ(shape_of(R"({"x":"t","t":"telepathy"})").kind, Kind::Unknown);
  EXPECT_EQ(shape_of(R"({"x":"\"t\":\"ping\"","y":["t"]})").kind, Kind::None);
  EXPECT_EQ(shape_of(R"({"t":7,"x":"ping"})").kind, Kind::None);
  EXPECT_EQ(shape_of("").kind, Kind::None);
  EXPECT_EQ(shape_of("\"\\").kind, Kind::None);
  EXPECT_TRUE(shape_of(R"({"t":"ping","t":"counts"})").twice);
  EXPECT_EQ(shape_of("[[{[").depth, 4);
}

TEST(RelayLimits, ATypeThatIsHiddenIsRefused) {
  EXPECT_NE(refused_line(R"({"\u0074":"ping"})").find("openly"), std::string::npos);
  EXPECT_NE(refused_line(R"({"t":"\u0070ing"})").find("openly"), std::string::npos);
  EXPECT_NE(refused_line(R"({"t":"ping","t":"counts"})").find("twice"), std::string::npos);
}

TEST(RelayLimits, ALineOfLittleTextsIsNotParsed) {
  EXPECT_NE(refused_line(R"({"t":"counts","items":[)" + repeated("{},", 1'000'000)).find("values"),
            std::string::npos);
  EXPECT_NE(refused_line(R"({"t":"hello","x":[)" + repeated("0,", 100'000), From::Listener)
                .find("values"),
            std::string::npos);
  EXPECT_NE(refused_line(repeated("{},", 1'000'000)).find("values"), std::string::npos);
}

TEST(RelayLimits, EachKindHasItsLengthByWhoSendsIt) {
  const auto padded = [](const char* kind, std::size_t size) {
    return fmt::format(R"({{"t":"{}","x":"{}"}})", kind, std::string(size, 'x'));
  };
  for (const char* small : {"ping", "ack", "feed", "resync", "bye"})
    EXPECT_NE(refused_line(padded(small, limits::kSmallLine)).find("bytes"), std::string::npos)
        << small;
  EXPECT_NE(refused_line(padded("hello", limits::kHelloLine), From::Listener).find("bytes"),
            std::string::npos);
  EXPECT_NE(refused_line(padded("counts", limits::kListenerLine), From::Listener).find("bytes"),
            std::string::npos);
  EXPECT_EQ(refused_line(padded("counts", limits::kHelloLine), From::Listener), "(taken)");
  EXPECT_NE(refused_line(padded("snapshot", 1), From::Listener).find("must not send"),
            std::string::npos);
  EXPECT_NE(refused_line(padded("delta", 1), From::Listener).find("must not send"),
            std::string::npos);
  EXPECT_NE(refused_line(padded("report", 1), From::Updater).find("must not send"),
            std::string::npos);
  EXPECT_NE(refused_line(padded("orders", limits::kListenerLine), From::Updater).find("bytes"),
            std::string::npos);
  // Of a later version.
  EXPECT_EQ(refused_line(padded("telepathy", limits::kHelloLine), From::Listener), "(taken)");
}

TEST(RelayLimits, AnOrderOverTheLimitsCostsItselfAlone) {
  FleetOrder huge = order(1, 10);
  huge.target = std::string(2'000'000, 'x');
  FleetOrder many = order(2, 10);
  for (int i = 0; i < 65; ++i) many.ids.push_back(std::to_string(1000 + i));
  FleetOrder wide = order(3, 10);
  wide.ids = {std::string(limits::kOrder, 'i')};
  FleetOrder service = order(4, 10);
  service.service = std::string(limits::kText + 1, 's');
  for (const FleetOrder& bad : {huge, many, wide, service}) {
    EXPECT_FALSE(order_within_limits(bad));
    const auto out = decode(encode(Orders{{order(7, 10), bad, order(9, 10)}}), kHost);
    ASSERT_TRUE(out && *out) << bad.id;
    const auto& orders = std::get<Orders>(**out);
    EXPECT_EQ(orders.orders, (std::vector{order(7, 10), order(9, 10)})) << bad.id;
    EXPECT_FALSE(orders.refused.empty());
    EXPECT_LT(orders.refused.size(), 1000U);
    ListenerHello hello{1, "n", "1", {}, false, {bad, order(9, 10)}};
    const auto heard = decode(encode(hello), kHost);
    ASSERT_TRUE(heard && *heard);
    EXPECT_EQ(std::get<ListenerHello>(**heard).orders.size(), 1U);
    EXPECT_FALSE(std::get<ListenerHello>(**heard).refused.empty());
  }
}

// A tenant's name must not cost the fleet its state.
TEST(RelayLimits, TextsOfServicesAreCut) {
  Backend backend;
  backend.address = Address::parse("10.0.0.1:80").value();
  backend.id = backend.host = backend.origin = std::string(1023, 'x') + "\xc3\xa4";
  Service service;
  service.key = ServiceKey::parse("tcp://1.2.3.4:80").value();
  service.name = service.origin = std::string(100'000, 'n');
  service.backends = {backend};
  const auto cut = [](const Service& out) {
    EXPECT_EQ(out.name.size(), limits::kText);
    EXPECT_EQ(out.origin.size(), limits::kText);
    EXPECT_EQ(out.backends.at(0).id, std::string(1023, 'x')) << "no half of a character";
    EXPECT_EQ(out.backends.at(0).host.size(), 1023U);
    EXPECT_EQ(out.backends.at(0).origin.size(), 1023U);
  };
  const auto shared = std::make_shared<const Service>(service);
  const auto out = decode(encode(SnapshotMessage{{"e", 1}, {}, {shared}}), kHost);
  ASSERT_TRUE(out && *out);
  cut(*std::get<SnapshotMessage>(**out).services.at(0));
  Snapshot snapshot;
  snapshot.services = {shared};
  cut(*decode_snapshot(encode_snapshot(snapshot)).value().services.at(0));
}

TEST(RelayLimits, NumbersAreBoundedWhereTheyAreRead) {
  const auto report = [](const char* number) {
    return refused_line(
        std::string(R"({"t":"report","items":[{"id":"a","programmed":true,"ended":false,)") +
        R"("connections":)" + number + "}]}");
  };
  EXPECT_EQ(report("1000000000"), "(taken)");
  for (const char* number :
       {"1000000001", "18446744073709551611", "18446744073709551616", "-5", "0.5", "1e3"})
    EXPECT_NE(report(number).find("connections"), std::string::npos) << number;
  const auto count = [](const char* number) {
    return refused_line(std::string(R"({"t":"counts","items":[["tcp://1.2.3.4:80","10.0.0.1:1",)") +
                        number + "]]}");
  };
  EXPECT_EQ(count("5"), "(taken)");
  EXPECT_NE(count("18446744073709551611").find("connections"), std::string::npos);
}

TEST(RelayLimits, ADrainTimeoutOfAMillionYearsIsAYear) {
  const std::string line =
      R"({"t":"snapshot","epoch":"e","seq":1,"services":[{"key":"tcp://1.2.3.4:80","name":"n",)"
      R"("balance":"random","drain_timeout":"9000000000000000ms","backends":[]}],"count":1,)"
      R"("complete":true})";
  const auto out = decode(line, kHost);
  ASSERT_TRUE(out && *out);
  EXPECT_EQ(std::get<SnapshotMessage>(**out).services.at(0)->drain_timeout,
            std::chrono::hours(365 * 24));
}

TEST(RelayLimits, OfTwoReportsOnOneOrderTheWorseOneCounts) {
  const auto out = decode(
      encode(OrderReport{{{"b", true, true, 0}, {"a", true, true, 0}, {"b", true, false, 7}}}),
      kHost);
  ASSERT_TRUE(out && *out);
  EXPECT_EQ(std::get<OrderReport>(**out).items,
            (std::vector<OrderReport::Item>{{"a", true, true, 0}, {"b", true, false, 7}}));
}

// 10,000 honest orders with long names: no line of them is long, and every one is told.
TEST(RelayLimits, WhatAListenerTellsComesInBoundedPieces) {
  std::vector<FleetOrders::Known> known;
  auto report = std::make_shared<std::vector<OrderReport::Item>>();
  auto counts = std::make_shared<std::vector<Counts::Item>>();
  for (std::size_t i = 0; i < 10'000; ++i) {
    known.push_back({order(i, 250), false, {}});
    report->push_back({order(i, 0).id, true, false, 3});
    counts->push_back({ServiceKey::parse("tcp://1.2.3.4:80").value(),
                       Address{IpAddress::v4(0x0a000000U + static_cast<std::uint32_t>(i)), 80}, 5});
  }
  const auto first = first_piece(known);
  EXPECT_LT(encode(ListenerHello{1, "n", "1", {}, true, first}).size(), 2 * limits::kPiece);
  Outbox outbox;
  outbox.restart(first);
  outbox.orders_changed();
  outbox.report(report);
  outbox.counts(counts);
  outbox.ping();
  std::size_t orders = first.size(), reported = 0, counted = 0, whole = 0;
  while (const auto message = outbox.next(known)) {
    EXPECT_LT(encode(*message).size(), 2 * limits::kPiece);
    if (const auto* some = std::get_if<Orders>(&*message)) orders += some->orders.size();
    if (const auto* some = std::get_if<OrderReport>(&*message)) {
      reported += some->items.size();
      whole += some->complete ? 1 : 0;
    }
    if (const auto* some = std::get_if<Counts>(&*message)) {
      counted += some->items.size();
      whole += some->complete ? 1 : 0;
    }
  }
  EXPECT_EQ(orders, 10'000U);
  EXPECT_EQ(reported, 10'000U);
  EXPECT_EQ(counted, 10'000U);
  EXPECT_EQ(whole, 2U) << "the first piece of each replaces what was told before";
}

TEST(RelayLimits, AReportInPiecesIsReadAsOne) {
  const auto out = decode(encode(OrderReport{{{"a", true, false, 1}}, false}), kHost);
  ASSERT_TRUE(out && *out);
  EXPECT_FALSE(std::get<OrderReport>(**out).complete);
}

}  // namespace
}  // namespace lb::relay
