// The client against the kernel's IPVS: what it writes, and what it reads of its own and of others'.
#include "ipvs/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/ip_vs.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <iostream>
#include <optional>
#include <sstream>

#include <fmt/format.h>

#include "guest.h"
#include "support/process.h"
#include "support/sockets.h"

namespace lb::ipvs {
namespace {

using test::add_server;
using test::add_service;
using test::service_id;
using test::with_kind;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing::UnorderedElementsAre;
using Kind = Command::Kind;
using Commands = std::vector<Command>;

class Kernel : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = test::why_no_guest(); !why.empty()) GTEST_SKIP() << why;
    test::enter_fresh_namespace();
    auto client = Client::open();
    ASSERT_TRUE(client) << client.error().message();
    client_.emplace(*std::move(client));
  }

  // The errno of each command, 0 for success.
  std::vector<int> errors(const Commands& commands) {
    const auto results = client_->apply(commands);
    if (!results) throw std::runtime_error(results.error().message());
    std::vector<int> out;
    for (const auto& result : *results) out.push_back(result ? 0 : result.error().code.value());
    return out;
  }
  int error(const Command& command) { return errors({command}).at(0); }
  std::string words(const Command& command) {
    return client_->apply(Commands{command}).value().at(0).error().message();
  }
  void must_apply(const Commands& commands) {
    const auto results = client_->apply(commands);
    ASSERT_TRUE(results) << results.error().message();
    for (const auto& result : *results) ASSERT_TRUE(result) << result.error().message();
  }
  std::vector<RealServer> servers(const ServiceId& id) {
    std::vector<RealServer> out;
    const auto observed = client_->servers(id).value();
    for (const auto& one : observed) out.push_back(one.server);
    return out;
  }

  std::optional<Client> client_;
};

std::vector<std::string> lines_of(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> out;
  for (std::string line; std::getline(stream, line);) out.push_back(line);
  return out;
}

// What ipvsadm, which shares no code with us, finds: one line for each service and server.
std::vector<std::string> seen_by_ipvsadm() {
  return lines_of(test::run({"ipvsadm", "--save", "-n"}).out);
}

void ipvsadm(const std::string& arguments) {
  std::istringstream words("ipvsadm " + arguments);
  test::Command command;
  for (std::string word; words >> word;) command.push_back(word);
  const auto done = test::run(command);
  ASSERT_EQ(done.code, 0) << arguments << ": " << done.all();
}

TEST_F(Kernel, StartsEmpty) {
  EXPECT_THAT(client_->services().value(), IsEmpty());
  EXPECT_THAT(client_->servers(service_id("tcp://127.0.0.1:80")).value(), IsEmpty());
}

TEST_F(Kernel, ServicesOfEveryKindAreAddedAndReadBack) {
  const Commands commands{add_service(service_id("tcp://127.0.0.1:8080"), "wlc"),
                          add_service(service_id("udp://127.0.0.1:8080"), "rr"),
                          add_service(service_id("tcp://[::1]:8080"), "mh"),
                          add_service(service_id("udp://[::1]:53"), "wrr"),
                          add_service(ServiceId::of_mark(0x5a000001, false), "sh"),
                          add_service(ServiceId::of_mark(0x5a000001, true), "lc")};
  must_apply(commands);
  std::vector<VirtualService> want;
  for (const Command& command : commands) want.push_back(command.service);
  EXPECT_THAT(client_->services().value(), testing::UnorderedElementsAreArray(want));
  EXPECT_THAT(seen_by_ipvsadm(),
              UnorderedElementsAre("-A -t 127.0.0.1:8080 -s wlc", "-A -u 127.0.0.1:8080 -s rr",
                                   "-A -t [::1]:8080 -s mh", "-A -u [::1]:53 -s wrr",
                                   "-A -f 1509949441 -s sh", "-A -f 1509949441 -6 -s lc"));
}

TEST_F(Kernel, AServiceIsChangedAndRemoved) {
  const ServiceId id = service_id("tcp://127.0.0.1:8080");
  must_apply({add_service(id, "wlc"), with_kind(add_service(id, "mh"), Kind::SetService)});
  EXPECT_THAT(client_->services().value(), ElementsAre(VirtualService{id, "mh", 0, 0}));
  const VirtualService persistent{id, "wrr", IP_VS_SVC_F_PERSISTENT, 300};
  must_apply({{Kind::SetService, persistent, {}}});
  EXPECT_THAT(client_->services().value(), ElementsAre(persistent));
  must_apply({with_kind(add_service(id), Kind::RemoveService)});
  EXPECT_THAT(client_->services().value(), IsEmpty());
}

TEST_F(Kernel, ServersAreAddedChangedAndRemoved) {
  const ServiceId v4 = service_id("tcp://127.0.0.1:8080"), v6 = service_id("udp://[::1]:53");
  const ServiceId mark = ServiceId::of_mark(7, true);
  must_apply({add_service(v4), add_service(v6), add_service(mark),  //
              add_server(v4, "127.0.0.1:9001", 1), add_server(v4, "10.9.0.1:9002", 70'000),
              add_server(v6, "[fd09::1]:53", 0), add_server(mark, "[fd09::2]:80", 65'535)});
  EXPECT_THAT(servers(v4),
              UnorderedElementsAre(RealServer{test::address("127.0.0.1:9001"), 1, {}},
                                   RealServer{test::address("10.9.0.1:9002"), 70'000, {}}));
  EXPECT_THAT(servers(v6), ElementsAre(RealServer{test::address("[fd09::1]:53"), 0, {}}));
  EXPECT_THAT(servers(mark), ElementsAre(RealServer{test::address("[fd09::2]:80"), 65'535, {}}));

  must_apply({with_kind(add_server(v4, "127.0.0.1:9001", 9), Kind::SetServer),
              with_kind(add_server(v4, "10.9.0.1:9002"), Kind::RemoveServer)});
  EXPECT_THAT(servers(v4), ElementsAre(RealServer{test::address("127.0.0.1:9001"), 9, {}}));
  EXPECT_THAT(seen_by_ipvsadm(),
              testing::Contains("-a -t 127.0.0.1:8080 -r 127.0.0.1:9001 -m -w 9"));
}

TEST_F(Kernel, ServersOfManyServicesComeInTheOrderAskedFor) {
  const ServiceId one = service_id("tcp://127.0.0.1:1"), two = service_id("tcp://127.0.0.1:2");
  must_apply({add_service(one), add_service(two), add_server(two, "10.0.0.2:80")});
  const std::vector ids{two, service_id("tcp://127.0.0.1:3"), one, two};
  const auto lists = client_->servers(ids).value();
  ASSERT_THAT(lists, ElementsAre(SizeIs(1), IsEmpty(), IsEmpty(), SizeIs(1)));
  EXPECT_EQ(lists[3][0].server.address, test::address("10.0.0.2:80"));
}

TEST_F(Kernel, EveryErrorIsTheKernelsErrno) {
  const ServiceId here = service_id("tcp://127.0.0.1:80"),
                  absent = service_id("tcp://127.0.0.1:81");
  const Command server = add_server(here, "127.0.0.1:9001");
  must_apply({add_service(here), server});
  EXPECT_EQ(error(add_service(here)), EEXIST);
  EXPECT_EQ(error(with_kind(add_service(absent), Kind::SetService)), ESRCH);
  EXPECT_EQ(error(with_kind(add_service(absent), Kind::RemoveService)), ESRCH);
  EXPECT_EQ(error(server), EEXIST);
  EXPECT_EQ(error(with_kind(add_server(here, "127.0.0.1:9002"), Kind::SetServer)), ENOENT);
  EXPECT_EQ(error(with_kind(add_server(here, "127.0.0.1:9002"), Kind::RemoveServer)), ENOENT);
  for (const Kind kind : {Kind::AddServer, Kind::SetServer, Kind::RemoveServer})
    EXPECT_EQ(error(with_kind(add_server(absent, "127.0.0.1:9001"), kind)), ESRCH);
  EXPECT_EQ(error(with_kind(add_server(here, "127.0.0.1:9001", 0x80000000), Kind::SetServer)),
            ERANGE);
  EXPECT_EQ(error(add_server(here, "[::1]:80")), EINVAL);
  EXPECT_EQ(error(add_server(here, "224.0.0.1:80")), EINVAL);
  EXPECT_EQ(error(add_service(absent, "nonesuch")), ENOENT);
  EXPECT_EQ(error(with_kind(add_service(here, "nonesuch"), Kind::SetService)), ENOENT);
}

TEST_F(Kernel, ErrorsSayInWordsWhatTheirErrnoDoesNot) {
  const ServiceId here = service_id("tcp://127.0.0.1:80");
  must_apply({add_service(here)});
  EXPECT_THAT(words(add_service(service_id("tcp://127.0.0.1:81"), "nonesuch")),
              HasSubstr("add service tcp://127.0.0.1:81: scheduler 'nonesuch' is not available: "
                        "module ip_vs_nonesuch"));
  EXPECT_THAT(words(add_server(here, "[::1]:80")),
              HasSubstr("an IPv6 server cannot serve an IPv4 service"));
}

TEST_F(Kernel, OneFailureDoesNotStopTheOthers) {
  const ServiceId id = service_id("tcp://127.0.0.1:80");
  Commands commands{add_service(id)};
  for (int i = 1; i <= 200; ++i) {
    commands.push_back(add_server(id, fmt::format("10.0.0.{}:80", i)));
    if (i % 50 == 0) commands.push_back(add_server(id, fmt::format("10.0.0.{}:80", i)));
  }
  const auto results = errors(commands);
  EXPECT_EQ(std::ranges::count(results, EEXIST), 4);
  EXPECT_EQ(std::ranges::count(results, 0), 201);
  for (std::size_t i = 1; i < commands.size(); ++i)
    EXPECT_EQ(results[i] == EEXIST, commands[i].server == commands[i - 1].server) << i;
  EXPECT_THAT(servers(id), SizeIs(200));
}

TEST_F(Kernel, ConnectionsAreCountedWhileOpenAndAfter) {
  const ServiceId id = service_id("tcp://127.0.0.1:8080");
  must_apply({add_service(id), add_server(id, "127.0.0.1:9001")});
  const test::Server server("127.0.0.1:9001", "hello");
  std::vector<UniqueFd> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(test::connect_to("127.0.0.1:8080"));
    ASSERT_EQ(test::read_all_now(clients.back()), "hello");
  }
  clients.pop_back();
  const auto counted = [&] {
    const ObservedServer now = client_->servers(id).value().at(0);
    return now.active == 2 && now.inactive == 1 && now.connections == 3;
  };
  EXPECT_TRUE(test::eventually(counted, std::chrono::seconds(30)));
}

TEST_F(Kernel, FlowsOfUdpAreInactive) {
  const ServiceId id = service_id("udp://127.0.0.1:5353");
  must_apply({add_service(id, "rr"), add_server(id, "127.0.0.1:9001")});
  const UniqueFd server = test::bind_udp("127.0.0.1:9001");
  const UniqueFd client = test::open_socket(AF_INET, SOCK_DGRAM);
  ASSERT_EQ(test::try_connect(client, "127.0.0.1:5353"), 0);
  ASSERT_EQ(::send(client.get(), "hi", 2, 0), 2);
  ASSERT_EQ(test::read_all_now(server), "hi");
  const ObservedServer now = client_->servers(id).value().at(0);
  EXPECT_EQ(now.active, 0U);
  EXPECT_EQ(now.inactive, 1U);
}

TEST_F(Kernel, OthersServicesAreShownAsTheyAre) {
  for (const std::string line :
       {"-A -t 10.9.0.1:443 -s wlc -p 60 -M 255.255.255.0", "-A -u 10.9.0.1:53 -s rr --ops",
        "-A -t 10.9.0.1:80 -s sh -b sh-port", "-A -f 77 -s rr -p 300",
        "-A --sctp-service 10.9.0.1:9 -s rr", "-a -t 10.9.0.1:443 -r 10.9.0.2:443 -i -w 3",
        "-a -t 10.9.0.1:443 -r [fd09::2]:443 -i -w 4", "-a -f 77 -r 10.9.0.3 -g -w 5"})
    ipvsadm(line);
  const ServiceId https = service_id("tcp://10.9.0.1:443"), mark = ServiceId::of_mark(77, false);
  // SCTP is of no concern to lbd, whose services are none of it.
  EXPECT_THAT(
      client_->services().value(),
      UnorderedElementsAre(
          VirtualService{https, "wlc", IP_VS_SVC_F_PERSISTENT, 60},
          VirtualService{service_id("udp://10.9.0.1:53"), "rr", IP_VS_SVC_F_ONEPACKET, 0},
          VirtualService{service_id("tcp://10.9.0.1:80"), "sh", IP_VS_SVC_F_SCHED_SH_PORT, 0},
          VirtualService{mark, "rr", IP_VS_SVC_F_PERSISTENT, 300}));
  EXPECT_THAT(
      servers(https),
      UnorderedElementsAre(RealServer{test::address("10.9.0.2:443"), 3, Forwarding::Tunnel},
                           RealServer{test::address("[fd09::2]:443"), 4, Forwarding::Tunnel}));
  const RealServer routed{{IpAddress::parse("10.9.0.3").value(), 0}, 5, Forwarding::Route};
  EXPECT_THAT(servers(mark), ElementsAre(routed));
}

TEST_F(Kernel, OtherForwardingThanMasqueradingIsWritten) {
  const ServiceId id = service_id("tcp://10.9.0.1:80");
  Command tunnel = add_server(id, "[fd09::2]:80"), route = add_server(id, "10.9.0.2:80");
  tunnel.server.forwarding = Forwarding::Tunnel;
  route.server.forwarding = Forwarding::Route;
  must_apply({add_service(id), tunnel, route});
  EXPECT_THAT(servers(id), UnorderedElementsAre(tunnel.server, route.server));
}

TEST_F(Kernel, NamespacesDoNotSeeEachOther) {
  must_apply({add_service(service_id("tcp://127.0.0.1:80"))});
  test::enter_fresh_namespace();
  EXPECT_THAT(Client::open().value().services().value(), IsEmpty());
  EXPECT_THAT(client_->services().value(), SizeIs(1));  // a socket stays where it was opened
}

TEST_F(Kernel, TwoThousandServicesAreReadInOneDump) {
  Commands commands;
  for (int i = 1; i <= 2000; ++i)
    commands.push_back(add_service(service_id(fmt::format("tcp://127.0.0.1:{}", i))));
  must_apply(commands);
  std::vector<VirtualService> want;
  for (const Command& command : commands) want.push_back(command.service);
  auto services = client_->services().value();
  std::ranges::sort(services);
  std::ranges::sort(want);
  EXPECT_EQ(services, want);
}

// Of twenty services: IPVS looks for a server in a list, so that n of one service cost n * n / 2 steps.
TEST_F(Kernel, TwentyThousandServersAreAppliedInOneCallSucceedingOrNot) {
  Commands services, commands;
  for (int i = 1; i <= 20; ++i) {
    services.push_back(add_service(service_id(fmt::format("tcp://127.0.0.1:{}", i))));
    for (int j = 0; j < 1000; ++j)
      commands.push_back(add_server(services.back().service.id,
                                    fmt::format("10.0.{}.{}:80", j / 250, 1 + j % 250)));
  }
  must_apply(services);
  EXPECT_EQ(std::ranges::count(errors(commands), 0), 20'000);
  EXPECT_THAT(servers(services.back().service.id), SizeIs(1000));
  EXPECT_EQ(std::ranges::count(errors(commands), EEXIST), 20'000);
}

// Prints what it takes; how fast must it be is asked where lbd is measured as a whole.
TEST_F(Kernel, TenThousandServicesOfTenServersEachAreWrittenAndRead) {
  Commands commands;
  std::vector<ServiceId> ids;
  for (int i = 1; i <= 10'000; ++i) {
    ids.push_back(service_id(fmt::format("tcp://127.0.0.1:{}", i)));
    commands.push_back(add_service(ids.back()));
    for (int j = 1; j <= 10; ++j)
      commands.push_back(add_server(ids.back(), fmt::format("10.0.0.{}:{}", j, i)));
  }
  const auto now = [] { return std::chrono::steady_clock::now(); };
  const auto since = [&](auto then) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(now() - then).count();
  };
  auto start = now();
  must_apply(commands);
  std::cout << "110,000 commands: " << since(start) << " ms\n";
  start = now();
  EXPECT_THAT(client_->services().value(), SizeIs(10'000));
  std::cout << "10,000 services read: " << since(start) << " ms\n";
  start = now();
  const auto lists = client_->servers(ids).value();
  std::cout << "their 100,000 servers read: " << since(start) << " ms\n";
  EXPECT_THAT(lists, testing::Each(SizeIs(10)));
}

}  // namespace
}  // namespace lb::ipvs
