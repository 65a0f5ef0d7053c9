// Messages made by hand: what a kernel of today does not send, and what lbd sends.
#include "ipvs/codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/ip_vs.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <functional>

#include "ipvs/fixtures.h"

namespace lb::ipvs {
namespace {

using test::Answer;
using test::id;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr Envelope kEnvelope{30, 7};

Address address(const std::string& text) { return Address::parse(text).value(); }

using Fill = std::function<void(MessageWriter&)>;

// A message with one nested attribute, whose inside the test writes.
Buffer nested(std::uint16_t type, const Fill& fill) {
  Buffer out;
  MessageWriter writer(out, {30, 0, 7, 1, 1});
  writer.nest(type, [&] { fill(writer); });
  return out;
}

void put_v4(MessageWriter& writer, std::uint16_t type, std::initializer_list<std::uint8_t> octets) {
  Buffer wire(octets);
  wire.resize(16);
  writer.put(type, wire);
}

Result<ObservedServer> server_of(const Fill& fill, bool service_is_v6 = false) {
  const Answer answer(nested(IPVS_CMD_ATTR_DEST, fill));
  return decode_server(answer.messages.at(0), service_is_v6);
}

Result<std::optional<VirtualService>> service_of(const Fill& fill) {
  const Answer answer(nested(IPVS_CMD_ATTR_SERVICE, fill));
  return decode_service(answer.messages.at(0));
}

// What every kernel sends, but for one attribute.
void put_server_without(MessageWriter& w, std::uint16_t missing) {
  if (missing != IPVS_DEST_ATTR_ADDR) put_v4(w, IPVS_DEST_ATTR_ADDR, {10, 0, 0, 1});
  if (missing != IPVS_DEST_ATTR_PORT) w.put_number(IPVS_DEST_ATTR_PORT, htons(80));
  for (const std::uint16_t type : {IPVS_DEST_ATTR_FWD_METHOD, IPVS_DEST_ATTR_WEIGHT,
                                   IPVS_DEST_ATTR_ACTIVE_CONNS, IPVS_DEST_ATTR_INACT_CONNS})
    if (type != missing) w.put_number(type, std::uint32_t{2});
}

void put_service_without(MessageWriter& w, std::uint16_t missing) {
  if (missing != IPVS_SVC_ATTR_AF) w.put_number(IPVS_SVC_ATTR_AF, std::uint16_t{AF_INET});
  if (missing != IPVS_SVC_ATTR_PROTOCOL)
    w.put_number(IPVS_SVC_ATTR_PROTOCOL, std::uint16_t{IPPROTO_UDP});
  if (missing != IPVS_SVC_ATTR_ADDR) put_v4(w, IPVS_SVC_ATTR_ADDR, {127, 0, 0, 1});
  if (missing != IPVS_SVC_ATTR_PORT) w.put_number(IPVS_SVC_ATTR_PORT, htons(53));
  if (missing != IPVS_SVC_ATTR_SCHED_NAME) w.put_string(IPVS_SVC_ATTR_SCHED_NAME, "rr");
  if (missing != IPVS_SVC_ATTR_FLAGS)
    w.put_number(IPVS_SVC_ATTR_FLAGS, ip_vs_flags{IP_VS_SVC_F_HASHED | IP_VS_SVC_F_ONEPACKET, ~0U});
  if (missing != IPVS_SVC_ATTR_TIMEOUT) w.put_number(IPVS_SVC_ATTR_TIMEOUT, std::uint32_t{9});
}

TEST(DecodeService, LeavesOutTheKernelsOwnFlag) {
  const auto service = service_of([](MessageWriter& w) { put_service_without(w, 0); });
  ASSERT_TRUE(service) << service.error().message();
  EXPECT_EQ(service->value(),
            (VirtualService{id("udp://127.0.0.1:53"), "rr", IP_VS_SVC_F_ONEPACKET, 9}));
}

TEST(DecodeService, EachMissingAttributeIsNamed) {
  const std::vector<std::pair<std::uint16_t, std::string>> attributes{
      {IPVS_SVC_ATTR_AF, "no AF"},
      {IPVS_SVC_ATTR_PROTOCOL, "no PROTOCOL"},
      {IPVS_SVC_ATTR_ADDR, "no ADDR"},
      {IPVS_SVC_ATTR_PORT, "no PORT"},
      {IPVS_SVC_ATTR_SCHED_NAME, "no SCHED_NAME"},
      {IPVS_SVC_ATTR_FLAGS, "no FLAGS"},
      {IPVS_SVC_ATTR_TIMEOUT, "no TIMEOUT"}};
  for (const auto& [type, words] : attributes) {
    const auto service = service_of([&](MessageWriter& w) { put_service_without(w, type); });
    ASSERT_FALSE(service) << words;
    EXPECT_EQ(service.error().code, std::errc::bad_message);
    EXPECT_THAT(service.error().context, HasSubstr(words));
  }
}

TEST(DecodeService, AnotherAddressFamilyIsRefused) {
  const auto service = service_of([](MessageWriter& w) {
    put_service_without(w, IPVS_SVC_ATTR_AF);
    w.put_number(IPVS_SVC_ATTR_AF, std::uint16_t{AF_UNIX});
  });
  EXPECT_THAT(service.error().context, HasSubstr("address family 1"));
}

TEST(DecodeService, AnIPv6AddressNeedsAllItsBytes) {
  const auto service = service_of([](MessageWriter& w) {
    put_service_without(w, IPVS_SVC_ATTR_ADDR);
    w.put_number(IPVS_SVC_ATTR_AF, std::uint16_t{AF_INET6});
    w.put(IPVS_SVC_ATTR_ADDR, Buffer(15));
  });
  EXPECT_THAT(service.error().context, HasSubstr("an address of 15 bytes"));
}

TEST(DecodeService, AnIPv4AddressMayBeFourBytes) {
  const auto service = service_of([](MessageWriter& w) {
    put_service_without(w, IPVS_SVC_ATTR_ADDR);
    w.put(IPVS_SVC_ATTR_ADDR, Buffer{10, 1, 2, 3});
  });
  EXPECT_EQ(service.value()->id, id("udp://10.1.2.3:53"));
}

TEST(DecodeService, AMarkOfZeroIsNone) {
  const auto service = service_of([](MessageWriter& w) {
    put_service_without(w, 0);
    w.put_number(IPVS_SVC_ATTR_FWMARK, std::uint32_t{0});
  });
  EXPECT_THAT(service.error().context, HasSubstr("FWMARK is 0"));
}

TEST(DecodeService, AMessageWithoutAServiceIsRefused) {
  const Answer answer(nested(IPVS_CMD_ATTR_DEST, [](MessageWriter&) {}));
  EXPECT_THAT(decode_service(answer.messages.at(0)).error().context, HasSubstr("no SERVICE"));
}

TEST(DecodeService, AMessageWithoutAGenericHeaderIsRefused) {
  const Buffer payload{1, 1, 0};
  EXPECT_THAT(decode_service({30, 0, 7, payload}).error().context, HasSubstr("generic header"));
}

TEST(DecodeServer, EachMissingAttributeIsNamed) {
  const std::vector<std::pair<std::uint16_t, std::string>> attributes{
      {IPVS_DEST_ATTR_ADDR, "no ADDR"},
      {IPVS_DEST_ATTR_PORT, "no PORT"},
      {IPVS_DEST_ATTR_FWD_METHOD, "no FWD_METHOD"},
      {IPVS_DEST_ATTR_WEIGHT, "no WEIGHT"},
      {IPVS_DEST_ATTR_ACTIVE_CONNS, "no ACTIVE_CONNS"},
      {IPVS_DEST_ATTR_INACT_CONNS, "no INACT_CONNS"}};
  for (const auto& [type, words] : attributes) {
    const auto server = server_of([&](MessageWriter& w) { put_server_without(w, type); });
    ASSERT_FALSE(server) << words;
    EXPECT_THAT(server.error().context, HasSubstr(words));
  }
}

TEST(DecodeServer, WithoutAFamilyItIsOfItsServices) {
  const Fill fill = [](MessageWriter& w) { put_server_without(w, 0); };
  EXPECT_EQ(server_of(fill, false)->server.address, address("10.0.0.1:80"));
  EXPECT_EQ(server_of(fill, true)->server.address, address("[a00:1::]:80"));
}

TEST(DecodeServer, ItsOwnFamilyCountsMoreThanItsServices) {
  const Fill fill = [](MessageWriter& w) {
    put_server_without(w, 0);
    w.put_number(IPVS_DEST_ATTR_ADDR_FAMILY, std::uint16_t{AF_INET});
  };
  EXPECT_EQ(server_of(fill, true)->server.address, address("10.0.0.1:80"));
}

TEST(DecodeServer, WithoutItsFieldsOfTheConnectionOnlyTheMethodIsRead) {
  const auto server = server_of([](MessageWriter& w) {
    put_server_without(w, IPVS_DEST_ATTR_FWD_METHOD);
    w.put_number(IPVS_DEST_ATTR_FWD_METHOD, std::uint32_t{IP_VS_CONN_F_NOOUTPUT | 3});
  });
  EXPECT_EQ(server->server.forwarding, Forwarding::Route);
}

TEST(DecodeServer, AnUnknownForwardingMethodIsRefused) {
  const auto server = server_of([](MessageWriter& w) {
    put_server_without(w, IPVS_DEST_ATTR_FWD_METHOD);
    w.put_number(IPVS_DEST_ATTR_FWD_METHOD, std::uint32_t{5});
  });
  EXPECT_THAT(server.error().context, HasSubstr("forwarding method 5"));
}

TEST(DecodeServer, WithoutSixtyFourBitCountersItHasNoConnections) {
  const auto server = server_of([](MessageWriter& w) {
    put_server_without(w, 0);
    w.nest(IPVS_DEST_ATTR_STATS, [&] { w.put_number(IPVS_STATS_ATTR_CONNS, std::uint32_t{77}); });
  });
  EXPECT_EQ(server->connections, 0U);
}

TEST(DecodeServer, ConnectionsAreCountedBeyondThirtyTwoBits) {
  const auto server = server_of([](MessageWriter& w) {
    put_server_without(w, 0);
    w.nest(IPVS_DEST_ATTR_STATS64,
           [&] { w.put_number(IPVS_STATS_ATTR_CONNS, std::uint64_t{1} << 40); });
  });
  EXPECT_EQ(server->connections, std::uint64_t{1} << 40);
}

TEST(DecodeServer, ACounterThatIsCutIsRefused) {
  const auto server = server_of([](MessageWriter& w) {
    put_server_without(w, 0);
    w.nest(IPVS_DEST_ATTR_STATS64, [&] { w.put_number(IPVS_STATS_ATTR_CONNS, std::uint32_t{1}); });
  });
  EXPECT_THAT(server.error().context, HasSubstr("CONNS is 4 bytes long"));
}

TEST(DecodeInfo, EachMissingAttributeIsNamed) {
  Buffer bytes;
  {
    MessageWriter writer(bytes, {30, 0, 7, IPVS_CMD_SET_INFO, 1});
    writer.put_number(IPVS_INFO_ATTR_VERSION, std::uint32_t{1});
  }
  const Answer answer(std::move(bytes));
  EXPECT_THAT(decode_info(answer.messages.at(0)).error().context, HasSubstr("no CONN_TAB_SIZE"));
}

// ---- what lbd sends

Buffer encoded(const Command& command) {
  Buffer out;
  encode_command(out, kEnvelope, command);
  return out;
}

std::uint8_t command_of(const Message& message) { return message.payload[0]; }

Attributes part_of(const Message& message, std::uint16_t type) {
  return Attributes::parse(message.payload.subspan(4)).value().nested(type, "PART").value();
}

Command add_server(const std::string& service, const std::string& server) {
  return {Command::Kind::AddServer, {id(service), "", 0, 0}, {address(server), 5, {}}};
}

TEST(EncodeCommand, EachKindHasItsNumberAndAsksForAnAcknowledgement) {
  using Kind = Command::Kind;
  const std::vector<std::pair<Kind, int>> kinds{{Kind::AddService, 1},    {Kind::SetService, 2},
                                                {Kind::RemoveService, 3}, {Kind::AddServer, 5},
                                                {Kind::SetServer, 6},     {Kind::RemoveServer, 7}};
  for (const auto& [kind, number] : kinds) {
    Command command = add_server("tcp://127.0.0.1:80", "10.0.0.1:80");
    command.kind = kind;
    const Answer sent(encoded(command));
    ASSERT_EQ(sent.messages.size(), 1U);
    EXPECT_EQ(sent.messages[0].type, 30);
    EXPECT_EQ(sent.messages[0].sequence, 7U);
    EXPECT_EQ(sent.messages[0].flags, NLM_F_REQUEST | NLM_F_ACK);
    EXPECT_EQ(command_of(sent.messages[0]), number);
  }
}

TEST(EncodeCommand, AServiceIsReadBackAsItWasWritten) {
  for (const ServiceId& service :
       {id("tcp://127.0.0.1:80"), id("udp://[fd09::1]:53"), ServiceId::of_mark(0x5a000001, false),
        ServiceId::of_mark(3, true)}) {
    const VirtualService want{service, "wlc", IP_VS_SVC_F_PERSISTENT, 300};
    const Answer sent(encoded({Command::Kind::AddService, want, {}}));
    EXPECT_EQ(decode_service(sent.messages[0]).value(), want);
  }
}

TEST(EncodeCommand, TheFlagOfTheKernelIsNeverWritten) {
  const VirtualService service{id("tcp://127.0.0.1:80"), "rr", IP_VS_SVC_F_HASHED, 0};
  const Answer sent(encoded({Command::Kind::SetService, service, {}}));
  const auto flags = part_of(sent.messages[0], IPVS_CMD_ATTR_SERVICE)
                         .number<ip_vs_flags>(IPVS_SVC_ATTR_FLAGS, "FLAGS")
                         .value();
  EXPECT_EQ(flags.flags, 0U);
  EXPECT_EQ(flags.mask, ~std::uint32_t{IP_VS_SVC_F_HASHED});
}

TEST(EncodeCommand, PersistenceIsPerClientInBothFamilies) {
  const auto netmask = [](const std::string& service) {
    const Answer sent(encoded({Command::Kind::AddService, {id(service), "rr", 0, 0}, {}}));
    return part_of(sent.messages[0], IPVS_CMD_ATTR_SERVICE)
        .number<std::uint32_t>(IPVS_SVC_ATTR_NETMASK, "NETMASK")
        .value();
  };
  EXPECT_EQ(netmask("tcp://127.0.0.1:80"), 0xffffffffU);
  EXPECT_EQ(netmask("tcp://[::1]:80"), 128U);
}

TEST(EncodeCommand, AnIPv4AddressIsTheFirstFourOfSixteenBytes) {
  const Answer sent(encoded(add_server("tcp://127.0.0.1:80", "10.1.2.3:256")));
  const Attributes server = part_of(sent.messages[0], IPVS_CMD_ATTR_DEST);
  EXPECT_THAT(server.find(IPVS_DEST_ATTR_ADDR).value(),
              ElementsAre(10, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
  EXPECT_THAT(server.find(IPVS_DEST_ATTR_PORT).value(), ElementsAre(1, 0));
  EXPECT_EQ(server.number<std::uint16_t>(IPVS_DEST_ATTR_ADDR_FAMILY, "F").value(), AF_INET);
}

TEST(EncodeCommand, AServerHasAllThatTheKernelRequires) {
  Command command = add_server("tcp://127.0.0.1:80", "[fd09::1]:80");
  command.server.forwarding = Forwarding::Tunnel;
  const Answer sent(encoded(command));
  const Attributes server = part_of(sent.messages[0], IPVS_CMD_ATTR_DEST);
  const auto number = [&](std::uint16_t type) {
    return server.number<std::uint32_t>(type, "N").value();
  };
  EXPECT_EQ(number(IPVS_DEST_ATTR_FWD_METHOD), 2U);
  EXPECT_EQ(number(IPVS_DEST_ATTR_WEIGHT), 5U);
  EXPECT_EQ(number(IPVS_DEST_ATTR_U_THRESH), 0U);
  EXPECT_EQ(number(IPVS_DEST_ATTR_L_THRESH), 0U);
  EXPECT_EQ(server.number<std::uint16_t>(IPVS_DEST_ATTR_ADDR_FAMILY, "F").value(), AF_INET6);
}

TEST(EncodeCommand, OfAServerToRemoveOnlyTheAddressIsSent) {
  Command command = add_server("tcp://127.0.0.1:80", "10.0.0.1:80");
  command.kind = Command::Kind::RemoveServer;
  const Answer sent(encoded(command));
  EXPECT_FALSE(part_of(sent.messages[0], IPVS_CMD_ATTR_DEST).find(IPVS_DEST_ATTR_WEIGHT));
}

TEST(EncodeCommand, ManyFollowEachOtherInOneBuffer) {
  Buffer out;
  for (std::uint32_t i = 0; i < 64; ++i)
    encode_command(out, {30, i}, add_server("tcp://127.0.0.1:80", "10.0.0.1:80"));
  const Answer sent(std::move(out));
  ASSERT_EQ(sent.messages.size(), 64U);
  EXPECT_EQ(sent.messages[63].sequence, 63U);
}

TEST(EncodeRequest, ServersAreAskedForByService) {
  Buffer out;
  encode_servers_request(out, kEnvelope, id("udp://127.0.0.1:53"));
  const Answer sent(std::move(out));
  EXPECT_EQ(command_of(sent.messages[0]), IPVS_CMD_GET_DEST);
  EXPECT_EQ(sent.messages[0].flags, NLM_F_REQUEST | NLM_F_DUMP);
  const Attributes service = part_of(sent.messages[0], IPVS_CMD_ATTR_SERVICE);
  EXPECT_EQ(service.number<std::uint16_t>(IPVS_SVC_ATTR_PROTOCOL, "P").value(), IPPROTO_UDP);
}

TEST(EncodeRequest, ServicesAndInfoNeedNoAttributes) {
  Buffer out;
  encode_services_request(out, kEnvelope);
  encode_info_request(out, kEnvelope);
  const Answer sent(std::move(out));
  EXPECT_EQ(command_of(sent.messages.at(0)), IPVS_CMD_GET_SERVICE);
  EXPECT_EQ(command_of(sent.messages.at(1)), IPVS_CMD_GET_INFO);
  EXPECT_EQ(sent.messages[1].payload.size(), 4U);
}

// ---- words

TEST(Explain, AMissingSchedulerNamesItsModule) {
  const Command command{Command::Kind::AddService, {id("tcp://127.0.0.1:80"), "mh", 0, 0}, {}};
  EXPECT_EQ(explain(command, ENOENT), "scheduler 'mh' is not available: module ip_vs_mh");
}

TEST(Explain, AServerOfTheWrongFamilyIsNamed) {
  EXPECT_EQ(explain(add_server("tcp://127.0.0.1:80", "[::1]:80"), EINVAL),
            "an IPv6 server cannot serve an IPv4 service");
  EXPECT_EQ(explain(add_server("tcp://[::1]:80", "10.0.0.1:80"), EINVAL),
            "an IPv4 server cannot serve an IPv6 service");
  EXPECT_THAT(explain(add_server("tcp://127.0.0.1:80", "224.0.0.1:80"), EINVAL),
              HasSubstr("unicast"));
}

TEST(Explain, SaysWhoIsMissing) {
  Command command = add_server("tcp://127.0.0.1:80", "10.0.0.1:80");
  EXPECT_EQ(explain(command, ESRCH), "IPVS has no such service");
  EXPECT_EQ(explain(command, EEXIST), "it is there already");
  command.kind = Command::Kind::RemoveServer;
  EXPECT_EQ(explain(command, ENOENT), "the service has no such server");
}

TEST(Explain, AWeightThatIsTooLargeIsShown) {
  Command command = add_server("tcp://127.0.0.1:80", "10.0.0.1:80");
  command.server.weight = 3'000'000'000;
  EXPECT_EQ(explain(command, ERANGE), "weight 3000000000 is above 2147483647");
}

TEST(Explain, AnErrnoThatSaysEnoughNeedsNoWords) {
  EXPECT_THAT(explain(add_server("tcp://127.0.0.1:80", "10.0.0.1:80"), ENOMEM), IsEmpty());
}

}  // namespace
}  // namespace lb::ipvs
