#include "ipvs/records.h"

#include <gtest/gtest.h>

namespace lb::ipvs {
namespace {

TEST(ServiceId, IsWrittenAsAddressOrMark) {
  const auto key = ServiceKey::parse("udp://[::1]:53").value();
  EXPECT_EQ(ServiceId::of(key).to_string(), "udp://[::1]:53");
  EXPECT_TRUE(ServiceId::of(key).v6);
  EXPECT_EQ(ServiceId::of_mark(0x5a000001, false).to_string(), "fwmark 0x5a000001 IPv4");
  EXPECT_EQ(ServiceId::of_mark(7, true).to_string(), "fwmark 0x7 IPv6");
}

TEST(Command, IsWrittenAsASentence) {
  using Kind = Command::Kind;
  Command command{Kind::AddService,
                  {ServiceId::of(ServiceKey::parse("tcp://127.0.0.1:8080").value()), "", 0, 0},
                  {Address::parse("10.0.0.1:80").value(), 1, {}}};
  const auto text = [&](Kind kind) {
    command.kind = kind;
    return command.to_string();
  };
  EXPECT_EQ(text(Kind::AddService), "add service tcp://127.0.0.1:8080");
  EXPECT_EQ(text(Kind::SetService), "set service tcp://127.0.0.1:8080");
  EXPECT_EQ(text(Kind::RemoveService), "remove service tcp://127.0.0.1:8080");
  EXPECT_EQ(text(Kind::AddServer), "add server 10.0.0.1:80 to tcp://127.0.0.1:8080");
  EXPECT_EQ(text(Kind::SetServer), "set server 10.0.0.1:80 of tcp://127.0.0.1:8080");
  EXPECT_EQ(text(Kind::RemoveServer), "remove server 10.0.0.1:80 from tcp://127.0.0.1:8080");
}

}  // namespace
}  // namespace lb::ipvs
