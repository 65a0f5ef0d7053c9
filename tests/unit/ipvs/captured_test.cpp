// What real kernels have answered (tests/data/ipvs), decoded.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/ip_vs.h>

#include <cerrno>
#include <string>
#include <vector>

#include "ipvs/codec.h"
#include "ipvs/fixtures.h"

namespace lb::ipvs {
namespace {

using test::Answer;
using test::id;
using testing::ElementsAre;

IpAddress ip(const std::string& text) { return IpAddress::parse(text).value(); }

ObservedServer observed(const std::string& address, Port port, std::uint32_t weight,
                        Forwarding forwarding) {
  return {{{ip(address), port}, weight, forwarding}, 0, 0, 0};
}

// ObservedServer has no comparison of its own.
auto is(const ObservedServer& want) {
  return testing::AllOf(testing::Field(&ObservedServer::server, want.server),
                        testing::Field(&ObservedServer::active, want.active),
                        testing::Field(&ObservedServer::inactive, want.inactive),
                        testing::Field(&ObservedServer::connections, want.connections));
}

class Captured : public testing::TestWithParam<std::string> {
 protected:
  static Buffer file(const std::string& name) {
    return test::read_bytes(std::string(LB_TEST_DATA) + "/ipvs/" + GetParam() + "/" + name +
                            ".bin");
  }
  static std::vector<ObservedServer> servers(const std::string& name, bool service_is_v6) {
    const Answer answer(file(name));
    std::vector<ObservedServer> out;
    for (const Message& message : answer.data())
      out.push_back(decode_server(message, service_is_v6).value());
    return out;
  }
  static int error_of(const std::string& name) {
    const Answer answer(file(name));
    return decode_error(answer.messages.back()).value();
  }
};

std::string folder_to_name(const testing::TestParamInfo<std::string>& info) {
  return info.param == "6.1" ? "Linux61" : "Linux612";
}
INSTANTIATE_TEST_SUITE_P(Kernels, Captured, testing::Values("6.1", "6.12"), folder_to_name);

TEST_P(Captured, InfoTellsVersionAndSizeOfTheConnectionTable) {
  const Answer answer(file("info"));
  const auto info = decode_info(answer.messages.front());
  ASSERT_TRUE(info) << info.error().message();
  EXPECT_EQ(info->version, 0x010201U);
  EXPECT_EQ(info->connection_table, 4096U);
}

TEST_P(Captured, ServicesAreFoundWithSchedulerFlagsAndPersistence) {
  const Answer answer(file("services"));
  std::vector<VirtualService> services;
  for (const Message& message : answer.data()) {
    const auto service = decode_service(message);
    ASSERT_TRUE(service) << service.error().message();
    if (*service) services.push_back(**service);
  }
  EXPECT_THAT(services,
              testing::UnorderedElementsAre(
                  VirtualService{id("tcp://10.9.0.1:443"), "wlc", IP_VS_SVC_F_PERSISTENT, 60},
                  VirtualService{id("tcp://127.0.0.1:8080"), "wlc", 0, 0},
                  VirtualService{id("udp://10.9.0.1:53"), "rr", IP_VS_SVC_F_ONEPACKET, 0},
                  VirtualService{id("udp://127.0.0.1:5353"), "rr", 0, 0},
                  VirtualService{id("tcp://[::1]:8080"), "mh", 0, 0},
                  VirtualService{ServiceId::of_mark(77, true), "wrr", 0, 0},
                  VirtualService{ServiceId::of_mark(0x5a000001, false), "sh",
                                 IP_VS_SVC_F_PERSISTENT, 300}));
}

TEST_P(Captured, AServiceOfAnotherProtocolIsPassedOver) {
  const Answer answer(file("services"));  // one of them is SCTP
  std::size_t passed_over = 0;
  for (const Message& message : answer.data())
    passed_over += decode_service(message).value() ? 0 : 1;
  EXPECT_EQ(passed_over, 1U);
}

TEST_P(Captured, ServersOfAnIPv4ServiceHaveWeightsAndCounts) {
  ObservedServer busy = observed("127.0.0.1", 9001, 100, Forwarding::Masquerade);
  busy.active = 2;
  busy.inactive = 1;
  busy.connections = 3;
  EXPECT_THAT(servers("servers_v4", false),
              ElementsAre(is(observed("10.9.0.11", 9011, 0, Forwarding::Masquerade)), is(busy)));
}

TEST_P(Captured, ServersOfAnIPv6ServiceAreIPv6) {
  EXPECT_THAT(servers("servers_v6", true),
              ElementsAre(is(observed("fd09::11", 9011, 70000, Forwarding::Masquerade)),
                          is(observed("::1", 9001, 7, Forwarding::Masquerade))));
}

TEST_P(Captured, ServersOfFirewallMarksAreFoundWithTheirForwarding) {
  EXPECT_THAT(servers("servers_mark_v4", false),
              ElementsAre(is(observed("10.9.0.12", 0, 3, Forwarding::Route))));
  EXPECT_THAT(servers("servers_mark_v6", true),
              ElementsAre(is(observed("fd09::12", 0, 4, Forwarding::Tunnel))));
}

TEST_P(Captured, AServerMayBeOfAnotherFamilyThanItsService) {
  EXPECT_THAT(servers("servers_mixed", false),
              ElementsAre(is(observed("fd09::13", 443, 2, Forwarding::Tunnel)),
                          is(observed("10.9.0.13", 443, 1, Forwarding::Tunnel))));
}

TEST_P(Captured, AnAbsentServiceHasNoServersAndIsNoError) {
  EXPECT_THAT(servers("servers_absent", false), testing::IsEmpty());
  EXPECT_EQ(error_of("servers_absent"), 0);
}

TEST_P(Captured, ErrorsAreTheKernelsErrno) {
  EXPECT_EQ(error_of("done"), 0);
  EXPECT_EQ(error_of("service_exists"), EEXIST);
  EXPECT_EQ(error_of("scheduler_missing"), ENOENT);
  EXPECT_EQ(error_of("settings_missing"), EINVAL);
  EXPECT_EQ(error_of("service_missing"), ESRCH);
  EXPECT_EQ(error_of("server_exists"), EEXIST);
  EXPECT_EQ(error_of("server_missing"), ENOENT);
  EXPECT_EQ(error_of("weight_too_large"), ERANGE);
}

// Every prefix of every answer: what is cut off is told, and nothing behind it is read (the
// sanitizers look on).
TEST_P(Captured, ATruncatedAnswerIsAnErrorOrShorter) {
  for (const std::string name : {"services", "servers_v4", "servers_mixed", "info"}) {
    const Buffer whole = file(name);
    for (std::size_t size = 0; size < whole.size(); ++size) {
      const Buffer cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
      const auto messages = split_messages(cut);
      if (!messages) {
        EXPECT_EQ(messages.error().code, std::errc::bad_message);
        continue;
      }
      EXPECT_LT(messages->size(), Answer(whole).messages.size()) << name << " " << size;
    }
  }
}

}  // namespace
}  // namespace lb::ipvs
