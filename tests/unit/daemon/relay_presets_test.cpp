#include <gtest/gtest.h>

#include "daemon/presets.h"

namespace lb {
namespace {

std::string error_of(const Result<Config>& config) {
  return config ? std::string() : config.error().message();
}

UpdaterPreset updater() {
  UpdaterPreset out;
  out.marathons = {"http://marathon1:8080", "http://marathon2:8080"};
  return out;
}

ListenerPreset listener() {
  ListenerPreset out;
  out.updaters = {"updater1:7676", "updater2:7676"};
  return out;
}

TEST(UpdaterPreset, NeedsNothingButMarathon) {
  const auto config = updater_config(updater());
  ASSERT_TRUE(config) << error_of(config);
  EXPECT_EQ(config->dataplane.mode, DataplaneMode::None);
  EXPECT_EQ(config->relay.listen, "0.0.0.0:7676");
  EXPECT_EQ(config->daemon.runtime_dir, "/run/lbd-updater") << "a listener runs beside it";
  EXPECT_EQ(config->daemon.state_dir, "/var/lib/lbd-updater");
  const auto& marathon = std::get<MarathonSourceConfig>(config->sources.at(0).settings);
  EXPECT_EQ(marathon.access.endpoints.size(), 2U);
  EXPECT_EQ(marathon.rules.label, "marathoner_haproxy_enabled");
  EXPECT_TRUE(config->sources[0].ports.contains(80)) << "each listener decides for its host";
}

TEST(UpdaterPreset, TakesHalfASecondForWhatItIs) {
  UpdaterPreset given = updater();
  given.interval = 0.5;
  const auto config = updater_config(given);
  ASSERT_TRUE(config);
  EXPECT_EQ(std::get<MarathonSourceConfig>(config->sources[0].settings).interval,
            std::chrono::milliseconds(500));
  for (const double wrong : {0.0, -1.0, 0.1, 1e9}) {
    given.interval = wrong;
    EXPECT_EQ(error_of(updater_config(given)), "--interval: must be between 0.2 and 86400 seconds");
  }
}

TEST(UpdaterPreset, NamesTheArgumentThatIsWrong) {
  UpdaterPreset given = updater();
  given.marathons = {"marathon1:8080"};
  EXPECT_TRUE(
      error_of(updater_config(given)).starts_with("--marathon: 'marathon1:8080' is no URL"));
  given.marathons = {"http://me:secret@marathon1:8080"};
  EXPECT_EQ(error_of(updater_config(given)).find("secret"), std::string::npos);
  EXPECT_NE(error_of(updater_config(given)).find("password_file"), std::string::npos);
  given = updater();
  given.listen = "7676";
  EXPECT_TRUE(error_of(updater_config(given)).starts_with("--listen: "));
  given = updater();
  given.listener_tls.ca = "/ca";
  EXPECT_EQ(error_of(updater_config(given)), "--tls-client-ca needs --tls-cert and --tls-key");
  given.listener_tls = {"", "/cert", "/key", "/crl"};
  EXPECT_EQ(error_of(updater_config(given)), "--tls-crl needs --tls-client-ca");
}

TEST(UpdaterPreset, KnowsItsListenersByTheirCertificates) {
  UpdaterPreset given = updater();
  given.listener_tls = {"/ca", "/cert", "/key", "/crl"};
  EXPECT_EQ(updater_config(given)->relay.tls, given.listener_tls);
  EXPECT_FALSE(updater_config(given)->relay.shared_certificate);
  given.shared_certificate = true;
  EXPECT_TRUE(updater_config(given)->relay.shared_certificate);
}

TEST(ListenerPreset, NeedsNothingButUpdaters) {
  const auto config = listener_config(listener());
  ASSERT_TRUE(config) << error_of(config);
  EXPECT_EQ(config->dataplane.mode, DataplaneMode::Auto);
  EXPECT_TRUE(config->relay.listen.empty());
  const auto& relay = std::get<RelaySourceConfig>(config->sources.at(0).settings);
  EXPECT_EQ(relay.updaters.at(1).host, "updater2");
  EXPECT_EQ(relay.publish.to_string(), "127.0.0.1");
  EXPECT_EQ(relay.confirm, config->guard.confirm);
  EXPECT_FALSE(config->sources[0].ports.contains(22));
  EXPECT_TRUE(config->sources[0].ports.contains(10000));
}

TEST(ListenerPreset, PublishesElsewhereAndLetsThemClaimMore) {
  ListenerPreset given = listener();
  given.publish = "10.0.0.7";
  given.ports = "80,1024-65535";
  const auto config = listener_config(given);
  ASSERT_TRUE(config);
  EXPECT_EQ(std::get<RelaySourceConfig>(config->sources[0].settings).publish.to_string(),
            "10.0.0.7");
  EXPECT_TRUE(config->sources[0].ports.contains(80));
}

TEST(ListenerPreset, LeavesPortsToWhoeverHasThemUnlessAsked) {
  ListenerPreset given = listener();
  EXPECT_EQ(listener_config(given)->dataplane.on_local_listener, OnLocalListener::Refuse);
  given.shadow = true;
  EXPECT_EQ(listener_config(given)->dataplane.on_local_listener, OnLocalListener::Shadow);
}

TEST(ListenerPreset, NamesTheArgumentThatIsWrong) {
  ListenerPreset given = listener();
  given.updaters = {"updater1"};
  EXPECT_EQ(error_of(listener_config(given)),
            "--updater: 'updater1' is not of the form address:port");
  given.updaters = {"u:1", "u:1"};
  EXPECT_EQ(error_of(listener_config(given)), "--updater: 'u:1' is named twice");
  given = listener();
  given.publish = "eth0";
  EXPECT_TRUE(error_of(listener_config(given)).starts_with("--bind: 'eth0'"));
  given = listener();
  given.ports = "0-99999";
  EXPECT_TRUE(error_of(listener_config(given)).starts_with("--ports: "));
  given = listener();
  given.tls.key = "/key";
  EXPECT_EQ(error_of(listener_config(given)), "--cert and --key: each needs the other");
  given.tls = {"", "", "", "/crl"};
  EXPECT_EQ(error_of(listener_config(given)), "--crl needs --ca");
}

}  // namespace
}  // namespace lb
