#include "daemon/rights.h"

#include <gmock/gmock.h>

#include "daemon/presets.h"
#include "support/desired_builder.h"

namespace lb {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

Config config_of(const std::string& text) {
  auto config = parse_config(text, "lbd.toml");
  EXPECT_TRUE(config) << (config ? "" : config.error().message());
  return config.value_or(Config{});
}
const std::string kMarathon = "[[source]]\ntype = \"marathon\"\nendpoints = [\"http://m1:8080\"]\n";
const std::string kEtcd = "[[source]]\ntype = \"etcd\"\nprefixes = [\"/a\"]\n";
const std::string kRelay = "[[source]]\ntype = \"relay\"\nupdaters = [\"u1:7676\"]\n";
const std::string kFile = "[[source]]\ntype = \"file\"\npath = \"/x\"\n";

Reach reach(const std::string& text) {
  const Config config = config_of(text);
  return *reach_for(config.sources.at(0), config);
}
bool may_claim(const Reach& r, std::string_view a, bool of_host = false) {
  return r.claims.contains(ip(a), of_host);
}
bool may_publish(const Reach& r, std::string_view a, bool of_host = true) {
  return r.publish.contains(ip(a), of_host);
}

TEST(Rights, WhatOthersSayIsForLoopbackUnlessTheHostSaysMore) {
  for (const std::string& source : {kMarathon, kEtcd, kRelay}) {
    const Reach plain = reach(source);
    EXPECT_TRUE(may_claim(plain, "127.0.0.1", true));
    EXPECT_TRUE(may_claim(plain, "::1", true));
    EXPECT_FALSE(may_claim(plain, "10.0.0.9", true)) << "although it is this host's";
    EXPECT_FALSE(may_claim(plain, "10.20.30.40"));
    EXPECT_FALSE(may_publish(plain, "10.0.0.9"));
    EXPECT_FALSE(plain.of_host);

    const Reach at = reach("[publish]\naddress = \"10.0.0.9\"\n" + source);
    EXPECT_TRUE(may_claim(at, "10.0.0.9", true));
    EXPECT_TRUE(may_publish(at, "10.0.0.9"));
    EXPECT_TRUE(may_claim(at, "127.0.0.1", true)) << "loopback stays";
    EXPECT_FALSE(may_claim(at, "10.0.0.10", true));

    const Reach more = reach("[publish]\naddresses = [\"10.0.0.0/24\"]\n" + source);
    EXPECT_TRUE(may_claim(more, "10.0.0.10", true));
    EXPECT_TRUE(may_publish(more, "10.0.0.10"));
    EXPECT_FALSE(may_claim(more, "10.0.1.1", true));

    const Reach all = reach("[publish]\naddress = \"0.0.0.0\"\n" + source);
    EXPECT_TRUE(may_claim(all, "10.0.0.9", true));
    EXPECT_FALSE(may_claim(all, "10.20.30.40")) << "0.0.0.0 means the host's addresses";
  }
}

TEST(Rights, AddressesOfTheSourceAreAllThatItMayClaimAndPublishNothing) {
  for (const std::string& source : {kMarathon, kEtcd, kRelay}) {
    const Reach named = reach(source + "addresses = [\"127.0.0.1\", \"10.20.30.40\"]\n");
    EXPECT_TRUE(may_claim(named, "10.20.30.40"));
    EXPECT_FALSE(may_claim(named, "127.0.0.2"));
    EXPECT_FALSE(may_publish(named, "10.20.30.40"));
  }
}

TEST(Rights, FilesAreTheHostsOwnWordForItsAddresses) {
  const Reach plain = reach(kFile);
  EXPECT_TRUE(plain.of_host);
  EXPECT_TRUE(may_claim(plain, "10.0.0.9", true));
  EXPECT_TRUE(may_publish(plain, "10.0.0.9"));
  EXPECT_FALSE(may_claim(plain, "10.20.30.40"));
  const Reach named = reach(kFile + "addresses = [\"10.20.30.40\"]\n");
  EXPECT_TRUE(may_claim(named, "10.20.30.40"));
  EXPECT_FALSE(may_claim(named, "10.0.0.9", true));
  EXPECT_FALSE(may_publish(named, "10.20.30.40", false)) << "it is for local clients";
}

TEST(Rights, AnUpdaterLeavesThemToItsListeners) {
  for (const std::string& source : {kMarathon, kEtcd, kFile}) {
    const Reach updater = reach("[dataplane]\nmode = \"none\"\n" + source);
    EXPECT_TRUE(may_claim(updater, "10.20.30.40"));
    EXPECT_THAT(updater.endpoints, IsEmpty()) << "127.0.0.1 there is not that of a listener";
    EXPECT_FALSE(may_claim(
        reach("[dataplane]\nmode = \"none\"\n" + source + "addresses = [\"127.0.0.1\"]\n"),
        "10.20.30.40"))
        << "unless it says otherwise";
  }
}

TEST(Rights, MerlionsPrefixMayPublishWhereItSaysAndBindNarrowsIt) {
  MerlionPreset preset;
  preset.prefixes = {"/conf/merlion/web"};
  const auto rights = [&] {
    const Config config = merlion_config(preset).value();
    return *reach_for(config.sources.at(0), config);
  };
  EXPECT_TRUE(may_claim(rights(), "10.0.0.9", true));
  EXPECT_TRUE(may_publish(rights(), "10.0.0.9"));
  EXPECT_FALSE(may_claim(rights(), "10.20.30.40")) << "which Merlion could not bind";
  preset.bind = "10.0.0.9";
  EXPECT_TRUE(may_publish(rights(), "10.0.0.9"));
  EXPECT_FALSE(may_publish(rights(), "10.0.0.10"));
  EXPECT_TRUE(may_claim(rights(), "127.0.0.1", true));
  preset.bind = "127.0.0.1";
  EXPECT_FALSE(may_publish(rights(), "10.0.0.9"));
  preset.bind = "eth0";
  EXPECT_TRUE(merlion_config(preset).error().message().starts_with("--bind: 'eth0'"));
}

TEST(Rights, OfAFormerSourceAreWhatWasNotedOrTheDefaultOfItsType) {
  const Config config = config_of(kFile);
  EXPECT_TRUE(may_claim(*reach_of_former("relay", "10.20.30.40", config), "10.20.30.40"));
  EXPECT_FALSE(may_claim(*reach_of_former("relay", "", config), "10.20.30.40"));
  EXPECT_TRUE(may_claim(*reach_of_former("file", "", config), "10.0.0.9", true));
}

std::vector<std::string> endpoints(const std::string& text) {
  std::vector<std::string> out;
  for (const OwnEndpoint& each : reach(text).endpoints) out.push_back(each.address.to_string());
  return out;
}

TEST(OwnEndpoints, AreTheLiteralOnesOfAllSources) {
  const std::string all =
      "[[source]]\ntype = \"file\"\npath = \"/x\"\n" + kEtcd +
      "endpoints = [\"http://10.0.0.1:2379\", \"https://[2001:db8::1]:2379/x\", "
      "\"http://etcd3:2379\", \"http://10.0.0.2\", \"https://10.0.0.3\", "
      "\"http://0.0.0.0:2379\"]\n" +
      kRelay;
  EXPECT_THAT(endpoints(all), ElementsAre("10.0.0.1:2379", "[2001:db8::1]:2379", "10.0.0.2:80",
                                          "10.0.0.3:443", "127.0.0.1:2379"));
  EXPECT_THAT(endpoints("[[source]]\ntype = \"relay\"\nupdaters = [\"10.0.0.7:7676\", "
                        "\"[::1]:7676\"]\n"),
              ElementsAre("10.0.0.7:7676", "[::1]:7676"));
  EXPECT_THAT(
      endpoints("[[source]]\ntype = \"marathon\"\nendpoints = [\"http://10.0.0.1:8080\"]\n"),
      ElementsAre("10.0.0.1:8080"));
}

}  // namespace
}  // namespace lb
