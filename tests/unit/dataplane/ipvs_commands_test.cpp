#include "dataplane/ipvs_commands.h"

#include <gmock/gmock.h>

#include <cerrno>

namespace lb {
namespace {

using ipvs::Command;
using ipvs::ServiceId;
using testing::ElementsAre;
using testing::IsEmpty;

Address server_at(std::string_view text) { return *Address::parse(text); }

const ServiceId kWeb = ServiceId::of(*ServiceKey::parse("127.0.0.1:8080"));
const ServiceId kApi = ServiceId::of(*ServiceKey::parse("127.0.0.1:8081"));
const Address kOne = server_at("10.0.0.1:80"), kTwo = server_at("10.0.0.2:80"),
              kThree = server_at("10.0.0.3:80");

using Weights = std::map<Address, std::uint32_t>;

MirroredService service(const ServiceId& id, const Weights& weights,
                        Balance balance = Balance::RoundRobin) {
  MirroredService out{virtual_service(id, balance), {}};
  for (const auto& [address, weight] : weights) out.servers[address].server = {address, weight};
  return out;
}

IpvsTarget target(const ServiceId& id, const Weights& weights) {
  IpvsTarget out;
  out.ids = {id};
  auto& servers = out.servers[id];
  for (const auto& [address, weight] : weights) servers.push_back({address, weight});
  return out;
}

// "add server 10.0.0.1:80 to tcp://127.0.0.1:8080", with the weight.
std::vector<std::string> words(const std::vector<Command>& commands) {
  std::vector<std::string> out;
  for (const Command& command : commands)
    out.push_back(command.to_string() + " = " + std::to_string(command.server.weight));
  return out;
}

std::vector<std::string> change(const Weights& from, const Weights& to) {
  return words(server_commands({{kWeb, service(kWeb, from)}}, target(kWeb, to)));
}

TEST(IpvsCommands, WhatIsThereAlreadyNeedsNone) {
  EXPECT_THAT(change({{kOne, 1}, {kTwo, 0}}, {{kOne, 1}, {kTwo, 0}}), IsEmpty());
  EXPECT_THAT(service_commands({{kWeb, service(kWeb, {})}}, target(kWeb, {}), Balance::RoundRobin),
              IsEmpty());
}

TEST(IpvsCommands, AServerThatIsListedNoMoreIsSetToWeightZeroAndNotRemoved) {
  EXPECT_THAT(change({{kOne, 1}, {kTwo, 3}}, {{kOne, 1}}),
              ElementsAre("set server 10.0.0.2:80 of tcp://127.0.0.1:8080 = 0"));
  EXPECT_THAT(change({{kOne, 1}, {kTwo, 0}}, {{kOne, 1}}), IsEmpty()) << "it has that already";
  EXPECT_THAT(change({{kOne, 1}}, {}),
              ElementsAre("set server 10.0.0.1:80 of tcp://127.0.0.1:8080 = 0"));
}

TEST(IpvsCommands, NewAndHeavierServersComeBeforeWhatFalls) {
  EXPECT_THAT(change({{kOne, 5}, {kTwo, 1}}, {{kOne, 2}, {kTwo, 4}, {kThree, 1}}),
              ElementsAre("set server 10.0.0.2:80 of tcp://127.0.0.1:8080 = 4",
                          "add server 10.0.0.3:80 to tcp://127.0.0.1:8080 = 1",
                          "set server 10.0.0.1:80 of tcp://127.0.0.1:8080 = 2"));
  EXPECT_THAT(change({{kOne, 1}}, {{kTwo, 1}}),
              ElementsAre("add server 10.0.0.2:80 to tcp://127.0.0.1:8080 = 1",
                          "set server 10.0.0.1:80 of tcp://127.0.0.1:8080 = 0"));
}

TEST(IpvsCommands, AServerThatComesBackIsSetAndNotAdded) {
  EXPECT_THAT(change({{kOne, 0}}, {{kOne, 2}}),
              ElementsAre("set server 10.0.0.1:80 of tcp://127.0.0.1:8080 = 2"));
}

TEST(IpvsCommands, AServiceThatIsNotThereGetsNoServers) {
  EXPECT_THAT(server_commands({}, target(kWeb, {{kOne, 1}})), IsEmpty());
}

TEST(IpvsCommands, AServiceIsAddedOrGetsItsScheduler) {
  const auto added = service_commands({}, target(kWeb, {}), Balance::LeastConn);
  ASSERT_THAT(added, testing::SizeIs(1));
  EXPECT_EQ(added[0].kind, Command::Kind::AddService);
  EXPECT_EQ(added[0].service.scheduler, "wlc");
  const auto changed = service_commands({{kWeb, service(kWeb, {}, Balance::RoundRobin)}},
                                        target(kWeb, {}), Balance::SourceHash);
  ASSERT_THAT(changed, testing::SizeIs(1));
  EXPECT_EQ(changed[0].kind, Command::Kind::SetService);
  EXPECT_EQ(changed[0].service.scheduler, "mh");
}

TEST(IpvsCommands, ConnectionsAreNoChangeAndWeightsSchedulersAndServersAre) {
  const MirroredServices before{{kWeb, service(kWeb, {{kOne, 1}, {kTwo, 1}})},
                                {kApi, service(kApi, {{kOne, 1}})}};
  MirroredServices now = before;
  now.at(kWeb).servers.at(kOne).active = 7;
  now.at(kWeb).servers.at(kOne).inactive = 7;
  EXPECT_EQ(count_changed(before, now), 0U);
  now.at(kWeb).servers.at(kOne).server.weight = 2;
  EXPECT_EQ(count_changed(before, now), 1U);
  now = before;
  now.at(kWeb).servers.erase(kOne);
  EXPECT_EQ(count_changed(before, now), 1U);
  now = before;
  now.at(kWeb).service.scheduler = "rr";
  now.erase(kApi);
  EXPECT_EQ(count_changed(before, now), 2U);
}

TEST(IpvsCommands, WhatIsDoneIsNoted) {
  MirroredServices services{{kWeb, service(kWeb, {{kOne, 1}, {kTwo, 1}})}};
  const std::vector<Command> commands{
      {Command::Kind::AddService, virtual_service(kApi, Balance::LeastConn), {}},
      {Command::Kind::AddServer, {kApi, {}}, {kThree, 1}},
      {Command::Kind::SetServer, {kWeb, {}}, {kOne, 0}},
      {Command::Kind::RemoveServer, {kWeb, {}}, {kTwo, 0}},
  };
  const IpvsFailures failures = note_results(commands, std::vector<Result<>>(4), services);
  EXPECT_THAT(failures.errors, IsEmpty());
  EXPECT_THAT(failures.foreign, IsEmpty());
  EXPECT_EQ(services.at(kApi).servers.at(kThree).server.weight, 1U);
  EXPECT_EQ(services.at(kWeb).servers.size(), 1U);
  EXPECT_EQ(services.at(kWeb).servers.at(kOne).server.weight, 0U);
}

TEST(IpvsCommands, WhatFailsIsToldAndNotNoted) {
  MirroredServices services{{kWeb, service(kWeb, {{kOne, 1}})}};
  const std::vector<Command> commands{{Command::Kind::SetServer, {kWeb, {}}, {kOne, 0}},
                                      {Command::Kind::AddServer, {kWeb, {}}, {kTwo, 1}}};
  const std::vector<Result<>> results{fail(ENOENT, "no server"), fail(ENOMEM, "no memory")};
  const IpvsFailures failures = note_results(commands, results, services);
  EXPECT_THAT(failures.errors, testing::SizeIs(2)) << "only for removals ENOENT is no failure";
  EXPECT_EQ(services.at(kWeb).servers.size(), 1U);
  EXPECT_EQ(services.at(kWeb).servers.at(kOne).server.weight, 1U);
}

TEST(IpvsCommands, WhatIsGoneAlreadyCountsAsRemoved) {
  MirroredServices services{{kWeb, service(kWeb, {{kOne, 0}})}, {kApi, service(kApi, {})}};
  const std::vector<Command> commands{{Command::Kind::RemoveServer, {kWeb, {}}, {kOne, 0}},
                                      {Command::Kind::RemoveService, {kApi, {}}, {}}};
  const std::vector<Result<>> results{fail(ENOENT, ""), fail(ESRCH, "")};
  EXPECT_THAT(note_results(commands, results, services).errors, IsEmpty());
  EXPECT_THAT(services.at(kWeb).servers, IsEmpty());
  EXPECT_FALSE(services.contains(kApi));
}

TEST(IpvsCommands, AServiceOfAnotherToolIsForeignAndNotTakenOver) {
  MirroredServices services;
  const std::vector<Command> commands{
      {Command::Kind::AddService, virtual_service(kWeb, Balance::LeastConn), {}}};
  const IpvsFailures failures =
      note_results(commands, std::vector<Result<>>{fail(EEXIST, "")}, services);
  EXPECT_THAT(failures.foreign, ElementsAre(kWeb));
  EXPECT_THAT(failures.errors, IsEmpty());
  EXPECT_THAT(services, IsEmpty());
}

}  // namespace
}  // namespace lb
