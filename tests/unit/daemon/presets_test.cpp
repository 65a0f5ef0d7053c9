#include "daemon/presets.h"

#include <gtest/gtest.h>

namespace lb {
namespace {

MerlionPreset preset(std::vector<std::string> prefixes) {
  MerlionPreset out;
  out.prefixes = std::move(prefixes);
  return out;
}

TEST(MerlionPreset, NeedsNothingButAPrefix) {
  const auto config = merlion_config(preset({"/conf/merlion/site/"}));
  ASSERT_TRUE(config) << config.error().message();
  ASSERT_EQ(config->sources.size(), 1U);
  EXPECT_EQ(config->sources[0].name, "merlion");
  EXPECT_TRUE(config->sources[0].ports.contains(80));
  const auto& etcd = std::get<EtcdSourceConfig>(config->sources[0].settings);
  EXPECT_EQ(etcd.prefixes, std::vector<std::string>{"/conf/merlion/site"});
  EXPECT_EQ(etcd.access.endpoints, std::vector<std::string>{"http://localhost:2379"});
  EXPECT_EQ(etcd.access.mode, etcd::Mode::Auto);
}

TEST(MerlionPreset, TakesMembersAndWhoWeAre) {
  MerlionPreset given = preset({"/a", "/b"});
  given.endpoints = {"https://e1:2379", "https://e2:2379"};
  given.api = "v2";
  given.tls = {"/ca", "/cert", "/key"};
  given.username = "u";
  given.password_file = "/p";
  const auto config = merlion_config(given);
  ASSERT_TRUE(config);
  const auto& access = std::get<EtcdSourceConfig>(config->sources[0].settings).access;
  EXPECT_EQ(access.endpoints, given.endpoints);
  EXPECT_EQ(access.mode, etcd::Mode::V2);
  EXPECT_EQ(access.tls, given.tls);
  EXPECT_EQ(access.username, "u");
  EXPECT_EQ(access.password_file, "/p");
}

TEST(MerlionPreset, NamesTheArgumentThatIsWrong) {
  const auto error = [](const MerlionPreset& given) {
    const auto config = merlion_config(given);
    return config ? std::string() : config.error().message();
  };
  EXPECT_EQ(error(preset({"conf"})),
            "PREFIX: 'conf' is no prefix of a service: write for example \"/conf/merlion/web\"");
  EXPECT_NE(error(preset({"//"})), "");
  EXPECT_EQ(error(preset({"/a", "/a/"})), "PREFIX: '/a' is named twice");
  MerlionPreset given = preset({"/a"});
  given.endpoints = {"localhost:2379"};
  EXPECT_TRUE(error(given).starts_with("--etcd: 'localhost:2379' is no URL")) << error(given);
  // What is in argv is in `ps`: it is refused, and not repeated.
  for (const char* url :
       {"http://root:secret@etcd:2379", "root:secret@etcd:2379", "https://secret@etcd"}) {
    given.endpoints = {"http://localhost:2379", url};
    EXPECT_TRUE(
        error(given).starts_with("--etcd: a URL has a password in it: write username and "
                                 "password_file"))
        << error(given);
    EXPECT_EQ(error(given).find("secret"), std::string::npos);
  }
  given = preset({"/a"});
  given.api = "v4";
  EXPECT_TRUE(error(given).starts_with("--api: 'v4'")) << error(given);
  given = preset({"/a"});
  given.tls.cert = "/cert";
  EXPECT_EQ(error(given), "--cert and --key: each needs the other");
  given = preset({"/a"});
  given.username = "u";
  EXPECT_EQ(error(given), "--username and --password-file: each needs the other");
}

}  // namespace
}  // namespace lb
