#include "dataplane/nft_flow_counts.h"

#include <gtest/gtest.h>

namespace lb {
namespace {

nft::DnatServices services(
    const std::vector<std::pair<std::string, std::vector<std::string>>>& all) {
  nft::DnatServices out;
  for (const auto& [key, addresses] : all) {
    ProgrammedService service;
    service.key = ServiceKey::parse(key).value();
    for (const std::string& each : addresses)
      service.addresses.push_back(IpAddress::parse(each).value());
    out.emplace(service.key, service);
  }
  return out;
}

std::string found(const FrontendIndex& index, const std::string& frontend,
                  Protocol protocol = Protocol::Tcp) {
  const ServiceKey* key = index.find(protocol, Address::parse(frontend).value());
  return key ? key->to_string() : "";
}

TEST(FrontendIndex, FindsTheServiceThatAnAddressBelongsTo) {
  const FrontendIndex index(
      services({{"tcp://0.0.0.0:80", {"10.0.0.1"}}, {"tcp://10.0.0.2:80", {"10.0.0.2"}}}));
  EXPECT_EQ(found(index, "10.0.0.1:80"), "tcp://0.0.0.0:80");
  EXPECT_EQ(found(index, "10.0.0.2:80"), "tcp://10.0.0.2:80");
  EXPECT_EQ(found(index, "10.0.0.1:81"), "");
  EXPECT_EQ(found(index, "10.0.0.1:80", Protocol::Udp), "");
}

TEST(FrontendIndex, KeepsFlowsToAnAddressThatTheHostHasNoMore) {
  const FrontendIndex index(services({{"tcp://[::]:80", {"10.0.0.1", "fd00::1"}}}));
  EXPECT_EQ(found(index, "10.0.0.5:80"), "tcp://[::]:80");
  EXPECT_EQ(found(index, "[fd00::5]:80"), "tcp://[::]:80");
}

TEST(FrontendIndex, KeepsFlowsOfAServiceThatSteersNothingMore) {
  const FrontendIndex index(services({{"tcp://10.0.0.1:80", {}}}));
  EXPECT_EQ(found(index, "10.0.0.1:80"), "tcp://10.0.0.1:80");
}

}  // namespace
}  // namespace lb
