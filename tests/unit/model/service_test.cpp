#include "model/service.h"

#include <gtest/gtest.h>

#include "model/desired.h"

namespace lb {
namespace {

TEST(ServiceKeyTest, IsTcpUnlessItSaysOtherwise) {
  EXPECT_EQ(ServiceKey::parse("127.0.0.1:80").value().to_string(), "tcp://127.0.0.1:80");
  EXPECT_EQ(ServiceKey::parse("tcp://127.0.0.1:80").value(),
            ServiceKey::parse("127.0.0.1:80").value());
  EXPECT_EQ(ServiceKey::parse("udp://[::1]:53").value().to_string(), "udp://[::1]:53");
}

TEST(ServiceKeyTest, TellsProtocolsApart) {
  EXPECT_NE(ServiceKey::parse("udp://127.0.0.1:53").value(),
            ServiceKey::parse("tcp://127.0.0.1:53").value());
}

TEST(ServiceKeyTest, RefusesOtherSchemesAndBrokenAddresses) {
  EXPECT_EQ(ServiceKey::parse("http://127.0.0.1:80").error().message(),
            "'http' is not a protocol: use tcp, udp");
  EXPECT_EQ(ServiceKey::parse("tcp://localhost:80").error().message(),
            "'localhost' is not an IP address");
  EXPECT_FALSE(ServiceKey::parse("tcp://"));
  EXPECT_FALSE(ServiceKey::parse("://127.0.0.1:80"));
}

// Every enumerator has a name of its own and is found by it.
template <class Enum, class Parse>
void expect_round_trip(int count, Parse parse) {
  for (int i = 0; i < count; ++i) {
    const auto value = static_cast<Enum>(i);
    const auto back = parse(to_string(value));
    ASSERT_TRUE(back) << i;
    EXPECT_EQ(*back, value) << to_string(value);
  }
}

TEST(Names, AreReadAsTheyAreWritten) {
  expect_round_trip<Protocol>(2, parse_protocol);
  expect_round_trip<Balance>(5, parse_balance);
  expect_round_trip<BackendState>(7, parse_backend_state);
  expect_round_trip<Reason>(12, parse_reason);
}

TEST(Names, ErrorsListWhatThereIs) {
  EXPECT_EQ(parse_balance("leastconn").error().message(),
            "'leastconn' is not a balance method: use least-conn, p2c, random, round-robin, "
            "source-hash");
  EXPECT_FALSE(parse_backend_state("up"));
  EXPECT_FALSE(parse_reason("because"));
}

TEST(Names, OfConditionsAreThoseOfTheDesign) {
  EXPECT_EQ(to_string(Condition::Ok), "ok");
  EXPECT_EQ(to_string(Condition::FailOpen), "fail-open");
  EXPECT_EQ(to_string(Condition::LastResort), "last-resort");
  EXPECT_EQ(to_string(Condition::NoBackends), "no-backends");
  EXPECT_EQ(to_string(Condition::Conflict), "conflict");
  EXPECT_EQ(to_string(Condition::Refused), "refused");
}

TEST(Names, OfReasonsAreFixedCodes) {
  EXPECT_EQ(to_string(Reason::None), "");
  EXPECT_EQ(to_string(Reason::Operator), "operator");
  EXPECT_EQ(to_string(Reason::NeverSeen), "never-seen");
}

}  // namespace
}  // namespace lb
