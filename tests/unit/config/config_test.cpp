#include "daemon/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/temp_folder.h"

namespace lb {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;

constexpr const char* kSampleFile = "[[source]]\ntype = \"file\"\npath = \"/etc/lbd/services.d\"\n";

TEST(Config, HasTheDefaultsOfTheDesign) {
  const Config config = parse_config(kSampleFile, "lbd.toml").value();
  Config expected;
  expected.daemon = {"/var/lib/lbd", "/run/lbd", LogLevel::Info, LogFormat::Text};
  expected.dataplane = {DataplaneMode::Auto,
                        "",
                        "/sys/fs/bpf/lbd",
                        Scope::Host,
                        16384,
                        131072,
                        1048576,
                        50,
                        OnLocalListener::Refuse,
                        OnUdpLeave::End,
                        false,
                        {"system.slice/lbd-updater.service"},
                        {"haproxy", "nginx", "merlion", "envoy"}};
  expected.publish.address = IpAddress::parse("127.0.0.1").value();
  expected.drain = {60s, OnTimeout::Keep};
  expected.guard = {50, 3, 10s, 10min};
  expected.sources = {{"file:/etc/lbd/services.d", PortRanges::parse("1-65535").value(),
                       FileSourceConfig{"/etc/lbd/services.d"}}};
  EXPECT_EQ(config, expected);
}

TEST(Config, ReadsEveryKey) {
  const Config config = parse_config(R"(
[daemon]
state_dir = "/s"
runtime_dir = "/r"
log_level = "debug"
log_format = "json"
[dataplane]
mode = "none"
cgroup = "/sys/fs/cgroup/x"
bpffs = "/b"
scope = "all"
max_services = 1
max_backends = 16777215
max_slots = 1024
max_ejected = "30%"
on_udp_leave = "keep"
on_local_listener = "shadow"
yield_to = ["haproxy", "99"]
detach_on_exit = true
own_cgroups = ["a/b.service"]
[api]
group = "lbd-admin"
read_group = "27"
[publish]
address = "::1"
addresses = ["10.0.0.0/8", "::"]
[drain]
timeout = "5m"
on_timeout = "terminate"
[guard]
max_loss = "10%"
min_missing = 1
confirm = "250ms"
total = "1h"
[[source]]
type = "etcd"
name = "merlion"
ports = "80,8000-9000"
addresses = ["0.0.0.0", "10.20.30.40"]
endpoints = ["https://etcd1:2379", "http://etcd2:2379"]
api = "v3"
prefixes = ["/conf/merlion/a", "/conf/merlion/b"]
ca = "/ca"
cert = "/cert"
key = "/key"
username = "u"
password_file = "/p"
)",
                                     "lbd.toml")
                            .value();
  Config expected;
  expected.daemon = {"/s", "/r", LogLevel::Debug, LogFormat::Json};
  expected.dataplane = {DataplaneMode::None,
                        "/sys/fs/cgroup/x",
                        "/b",
                        Scope::All,
                        1,
                        16777215,
                        1024,
                        30,
                        OnLocalListener::Shadow,
                        OnUdpLeave::Keep,
                        true,
                        {"a/b.service"},
                        {"haproxy", "99"}};
  expected.api = {"lbd-admin", "27"};
  expected.publish.address = IpAddress::parse("::1").value();
  expected.publish.addresses = AddressRanges::parse_list("10.0.0.0/8, ::").value();
  expected.drain = {5min, OnTimeout::Terminate};
  expected.guard = {10, 1, 250ms, 1h};
  EtcdSourceConfig etcd;
  etcd.access.endpoints = {"https://etcd1:2379", "http://etcd2:2379"};
  etcd.access.mode = lb::etcd::Mode::V3;
  etcd.prefixes = {"/conf/merlion/a", "/conf/merlion/b"};
  etcd.access.tls.ca = "/ca";
  etcd.access.tls.cert = "/cert";
  etcd.access.tls.key = "/key";
  etcd.access.username = "u";
  etcd.access.password_file = "/p";
  expected.sources = {{"merlion", PortRanges::parse("80,8000-9000").value(), etcd, std::nullopt,
                       AddressRanges::parse_list("0.0.0.0, 10.20.30.40").value()}};
  EXPECT_EQ(config, expected);
}

TEST(Config, NamesTheFilesOfTls) {
  const Config config =
      parse_config(
          "[relay]\nlisten = \"0.0.0.0:7676\"\ntls_cert = \"/cert\"\ntls_key = \"/key\"\n"
          "tls_client_ca = \"/ca\"\ntls_crl = \"/crl\"\nshared_certificate = true\n"
          "[[source]]\ntype = \"relay\"\nupdaters = [\"u1:7676\"]\nca = \"/ca\"\ncert = \"/cert\"\n"
          "key = \"/key\"\ncrl = \"/crl\"\n",
          "x")
          .value();
  const relay::TlsFiles files{"/ca", "/cert", "/key", "/crl"};
  EXPECT_EQ(config.relay.tls, files);
  EXPECT_TRUE(config.relay.shared_certificate);
  EXPECT_EQ(std::get<RelaySourceConfig>(config.sources[0].settings).tls, files);
  EXPECT_FALSE(Config().relay.shared_certificate);
}

TEST(Config, KeepsTheOrderOfTheSources) {
  const Config config = parse_config(
                            "[[source]]\ntype = \"etcd\"\nprefixes = [\"/a\"]\n"
                            "[[source]]\ntype = \"file\"\npath = \"/b\"\n"
                            "[[source]]\ntype = \"file\"\npath = \"/a\"\n",
                            "x")
                            .value();
  std::vector<std::string> names;
  for (const auto& source : config.sources) names.push_back(source.name);
  EXPECT_THAT(names, ElementsAre("etcd:http://127.0.0.1:2379", "file:/b", "file:/a"));
}

TEST(Config, EmptyCgroupMeansTheDefault) {
  EXPECT_EQ(parse_config(std::string("[dataplane]\ncgroup = \"\"\n") + kSampleFile, "x")
                .value()
                .dataplane.cgroup,
            "");
}

TEST(LoadConfig, ReadsAFile) {
  const TempFolder folder;
  EXPECT_EQ(load_config(folder.write("lbd.toml", kSampleFile)).value().sources.size(), 1U);
}

TEST(LoadConfig, NamesAFileThatCannotBeRead) {
  EXPECT_EQ(load_config("/nowhere/lbd.toml").error().message(),
            "open /nowhere/lbd.toml: No such file or directory");
}

TEST(Words, AreThoseOfTheFile) {
  EXPECT_EQ(parse_log_level("warn").value(), LogLevel::Warn);
  EXPECT_EQ(parse_log_level("loud").error().message(),
            "'loud' is not known: use trace, debug, info, warn, error or critical");
  EXPECT_EQ(parse_dataplane_mode("ebpf").value(), DataplaneMode::Ebpf);
  EXPECT_EQ(parse_dataplane_mode("nft").error().message(),
            "'nft' is not known: use auto, ebpf, ipvs or none");
  EXPECT_EQ(to_string(LogLevel::Critical), "critical");
  EXPECT_EQ(to_string(DataplaneMode::None), "none");
}

TEST(PortsOfSources, NeverHaveThePortByWhichListenersReachUs) {
  Config config;
  config.sources.push_back({.name = "files", .ports = {}, .settings = FileSourceConfig{"/x"}});
  EXPECT_EQ(ports_for(config.sources[0], config).to_string(), "1-65535");
  config.relay.listen = "0.0.0.0:7676";
  EXPECT_EQ(ports_for(config.sources[0], config).to_string(), "1-7675,7677-65535");
  config.dataplane.mode = DataplaneMode::None;
  EXPECT_EQ(ports_for(config.sources[0], config).to_string(), "1-65535")
      << "an updater's services are for other hosts";
}

}  // namespace
}  // namespace lb
