#include "sources/services_file.h"

#include <gtest/gtest.h>

#include <fmt/format.h>

namespace lb {
namespace {

std::string one(const std::string& body) {
  return "[[service]]\nlisten = \"127.0.0.1:80\"\n" + body;
}

TEST(ServicesFile, ReadsTheExampleOfTheManual) {
  const auto services = parse_services_file(R"([[service]]
name = "web"
listen = "127.0.0.1:8080"
balance = "source-hash"
backends = [ { address = "127.0.0.1:9001", weight = 7 }, { address = "10.0.0.2:9002", id = "b", host = "node2" } ]

[[service]]
listen = "udp://[::1]:53"
backends = [ { address = "[fd00::1]:53", weight = 0 } ]
)",
                                            "f.toml");
  ASSERT_TRUE(services) << services.error().message();
  ASSERT_EQ(services->size(), 2U);
  const Service& web = services->at(0);
  EXPECT_EQ(web.name, "web");
  EXPECT_EQ(web.key.to_string(), "tcp://127.0.0.1:8080");
  EXPECT_EQ(web.balance, Balance::SourceHash);
  EXPECT_EQ(web.origin, "f.toml");
  ASSERT_EQ(web.backends.size(), 2U);
  EXPECT_EQ(web.backends[0].address.to_string(), "10.0.0.2:9002");  // sorted by address
  EXPECT_EQ(web.backends[0].id, "b");
  EXPECT_EQ(web.backends[0].host, "node2");
  EXPECT_EQ(web.backends[0].weight, kDefaultWeight);
  EXPECT_EQ(web.backends[1].id, "127.0.0.1:9001");
  EXPECT_EQ(web.backends[1].host, "127.0.0.1");
  EXPECT_EQ(web.backends[1].weight, 7U);
  const Service& dns = services->at(1);
  EXPECT_EQ(dns.key.to_string(), "udp://[::1]:53");
  EXPECT_EQ(dns.name, "udp://[::1]:53");
  EXPECT_EQ(dns.balance, Balance::LeastConn);
  EXPECT_EQ(dns.backends[0].state, BackendState::Draining);
  EXPECT_EQ(dns.backends[0].reason, Reason::Weight);
}

TEST(ServicesFile, ReadsHealthChecksAndDrainTimeouts) {
  const auto services = parse_services_file(
      one("backends = []\ndrain_timeout = \"5m\"\n"
          "health = { type = \"http\", path = \"/ok?deep=1\", port = 8000, interval = \"500ms\", "
          "timeout = \"1s\", rise = 1, fall = 100 }\n"
          "[[service]]\nlisten = \"127.0.0.1:81\"\nbackends = []\nhealth = {}\n"
          "[[service]]\nlisten = \"127.0.0.1:82\"\nbackends = []\ndrain_timeout = \"0s\"\n"),
      "f");
  ASSERT_TRUE(services) << services.error().message();
  HealthCheck check;
  check.type = HealthCheck::Type::Http;
  check.path = "/ok?deep=1";
  check.port = 8000;
  check.interval = std::chrono::milliseconds(500);
  check.timeout = std::chrono::seconds(1);
  check.rise = 1;
  check.fall = 100;
  EXPECT_EQ(services->at(0).check, check);
  EXPECT_EQ(services->at(0).drain_timeout, std::chrono::minutes(5));
  EXPECT_EQ(services->at(1).check, HealthCheck()) << "all has defaults";
  EXPECT_EQ(services->at(1).drain_timeout, std::nullopt);
  EXPECT_EQ(services->at(2).check, std::nullopt);
  EXPECT_EQ(services->at(2).drain_timeout, std::chrono::seconds(0));
}

TEST(ServicesFile, LaundersUnlessItSaysOtherwise) {
  const auto services =
      parse_services_file(one("backends = []\nlaunder = false\n"
                              "[[service]]\nlisten = \"127.0.0.1:81\"\nbackends = []\n"),
                          "f");
  ASSERT_TRUE(services) << services.error().message();
  EXPECT_FALSE(services->at(0).launder);
  EXPECT_TRUE(services->at(1).launder);
}

TEST(ServicesFile, ReadsUsersByNameAndByNumber) {
  const auto find = [](std::string_view name) {
    return name == "postgres" ? std::optional<Uid>(1001) : std::nullopt;
  };
  const auto services =
      parse_services_file(one("backends = [ { address = \"127.0.0.1:1\", uid = 0 },\n"
                              "  { address = \"127.0.0.1:2\", uid = 4294967294 },\n"
                              "  { address = \"127.0.0.1:3\", uid = \"postgres\" },\n"
                              "  { address = \"127.0.0.1:4\", uid = \"99\" },\n"
                              "  { address = \"127.0.0.1:5\" } ]\n"),
                          "f", find);
  ASSERT_TRUE(services) << services.error().message();
  std::vector<std::optional<Uid>> uids;
  for (const Backend& b : services->at(0).backends) uids.push_back(b.uid);
  EXPECT_EQ(uids, (std::vector<std::optional<Uid>>{0, kLargestId, 1001, 99, std::nullopt}));
}

TEST(ServicesFile, MayBeWithoutServices) {
  EXPECT_TRUE(parse_services_file("# none today\n", "f").value().empty());
  EXPECT_TRUE(parse_services_file("service = []\n", "f").value().empty());
  EXPECT_TRUE(parse_services_file(one("backends = []"), "f").value().at(0).backends.empty());
}

struct BadCase {
  const char* name;
  std::string text;
  const char* error;  // starts with this, after "dir/f.toml:"
  const char* hint;   // and contains this
};
class BadServicesFile : public testing::TestWithParam<BadCase> {};

TEST_P(BadServicesFile, IsRefusedWithLineColumnKeyAndHint) {
  const auto services = parse_services_file(GetParam().text, "dir/f.toml");
  ASSERT_FALSE(services);
  const std::string text = services.error().message();
  EXPECT_TRUE(text.starts_with(std::string("dir/f.toml:") + GetParam().error)) << text;
  EXPECT_NE(text.find(GetParam().hint), std::string::npos) << text;
}

std::string health(const std::string& fields) {
  return one("backends = []\nhealth = { " + fields + " }\n");
}
std::string backend(const std::string& fields) { return one("backends = [ { " + fields + " } ]"); }

INSTANTIATE_TEST_SUITE_P(
    Cases, BadServicesFile,
    testing::Values(
        BadCase{"zero_bytes", "", "1:1: the file is empty (0 bytes)", "comment"},
        BadCase{"syntax", "[[service]]\nlisten = = 1\n", "2:10:", "could not determine"},
        BadCase{"cut", "[[service]]\nlisten = \"127.0", "2:", ""},
        BadCase{"binary",
                std::string("\x7f"
                            "ELF\x00\xff",
                            6),
                "1:", ""},
        BadCase{"invalid_utf8", "# \xff\xff\n", "1:", ""},
        BadCase{"same_toml_key_twice", one("listen = \"127.0.0.1:81\"\n"), "3:", "listen"},
        BadCase{"unknown_top", "services = []\n", "1:1: services: unknown key", "use service"},
        BadCase{"single_brackets", "[service]\nlisten = \"127.0.0.1:80\"\n",
                "1:1: service:", "[[service]]"},
        BadCase{"list_of_numbers", "service = [1]\n", "1:12: service:", "[[service]]"},
        BadCase{"unknown_in_service", one("backends = []\nblance = \"p2c\"\n"),
                "4:1: service.blance: unknown key", "use name, listen, balance, backends"},
        BadCase{"unknown_in_backend", backend("address = \"10.0.0.1:1\", wieght = 1"),
                "3:40: service.backends.wieght: unknown key", "weight"},
        BadCase{"no_listen", "[[service]]\nbackends = []\n", "1:1: service.listen: missing", ""},
        BadCase{"no_backends", one(""), "1:1: service.backends: missing", "backends = []"},
        BadCase{"listen_name", "[[service]]\nlisten = \"localhost:80\"\nbackends = []\n",
                "2:10: service.listen:", "names are not looked up"},
        BadCase{"listen_port_zero", "[[service]]\nlisten = \"127.0.0.1:0\"\nbackends = []\n",
                "2:10: service.listen:", "between 1 and 65535"},
        BadCase{"listen_port_large", "[[service]]\nlisten = \"127.0.0.1:65536\"\nbackends = []\n",
                "2:10: service.listen:", "between 1 and 65535"},
        BadCase{"listen_scheme", "[[service]]\nlisten = \"sctp://127.0.0.1:1\"\nbackends = []\n",
                "2:10: service.listen:", "use tcp, udp"},
        BadCase{"listen_number", "[[service]]\nlisten = 80\nbackends = []\n",
                "2:10: service.listen:", "string in quotes"},
        BadCase{"empty_name", one("name = \"\"\nbackends = []\n"), "3:8: service.name:", "empty"},
        BadCase{"control_in_name", one("name = \"a\\u001b[2J\"\nbackends = []\n"),
                "3:8: service.name:", "control"},
        BadCase{"balance", one("balance = \"best\"\nbackends = []\n"),
                "3:11: service.balance:", "least-conn, p2c, random, round-robin, source-hash"},
        BadCase{"backends_table", one("backends = { address = \"10.0.0.1:1\" }\n"),
                "3:12: service.backends:", "list"},
        BadCase{"backend_text", one("backends = [ \"10.0.0.1:1\" ]\n"),
                "3:14: service.backends:", "{ address ="},
        BadCase{"no_address", backend("weight = 1"), "3:14: service.backends.address: missing", ""},
        BadCase{"address_name", backend("address = \"node1:80\""),
                "3:26: service.backends.address:", "names are not looked up"},
        BadCase{"address_bare_v6", backend("address = \"::1:80\""),
                "3:26: service.backends.address:", "brackets"},
        BadCase{"address_no_port", backend("address = \"10.0.0.1\""),
                "3:26: service.backends.address:", "address:port"},
        BadCase{"address_any", backend("address = \"0.0.0.0:80\""),
                "3:26: service.backends.address:", "connect to"},
        BadCase{"weight_negative", backend("address = \"10.0.0.1:1\", weight = -1"),
                "3:49: service.backends.weight: -1 is not between 0 and 65535", ""},
        BadCase{"weight_large", backend("address = \"10.0.0.1:1\", weight = 65536"),
                "3:49: service.backends.weight: 65536 is not", ""},
        BadCase{"weight_text", backend("address = \"10.0.0.1:1\", weight = \"1\""),
                "3:49: service.backends.weight:", "whole number"},
        BadCase{"weight_float", backend("address = \"10.0.0.1:1\", weight = 1.0"),
                "3:49: service.backends.weight:", "whole number"},
        BadCase{"backend_twice",
                one("backends = [ { address = \"10.0.0.1:1\" }, { address = \"10.0.0.1:1\" } ]"),
                "3:42: service.backends.address:", "twice"},
        BadCase{"uid_negative", backend("address = \"127.0.0.1:1\", uid = -1"),
                "3:47: service.backends.uid: -1 is not between 0 and 4294967294", ""},
        BadCase{"uid_large", backend("address = \"127.0.0.1:1\", uid = 4294967295"),
                "3:47: service.backends.uid: 4294967295 is not between 0 and 4294967294", ""},
        BadCase{"uid_of_another_kind", backend("address = \"127.0.0.1:1\", uid = true"),
                "3:47: service.backends.uid: must be a number or the name of a user", "postgres"},
        BadCase{"uid_empty", backend("address = \"127.0.0.1:1\", uid = \"\""),
                "3:47: service.backends.uid: must not be empty", ""},
        BadCase{"uid_unknown", backend("address = \"127.0.0.1:1\", uid = \"alice\""),
                "3:47: service.backends.uid: this host has no user 'alice' in /etc/passwd",
                "a number"},
        BadCase{"health_text", one("backends = []\nhealth = \"tcp\"\n"),
                "4:10: service.health: must be a table", "{ type ="},
        BadCase{"health_of_udp",
                "[[service]]\nlisten = \"udp://127.0.0.1:53\"\nbackends = []\nhealth = {}\n",
                "4:10: service.health: only TCP services", ""},
        BadCase{"health_unknown_key", health("typ = \"tcp\""),
                "4:12: service.health.typ: unknown key", "interval"},
        BadCase{"health_type", health("type = \"icmp\""), "4:19: service.health.type:", "http"},
        BadCase{"health_path_of_tcp", health("path = \"/\""),
                "4:19: service.health.path: needs type = \"http\"", ""},
        BadCase{"health_path_relative", health("type = \"http\", path = \"ok\""),
                "4:34: service.health.path: 'ok' must start with /", ""},
        BadCase{"health_path_blank", health("type = \"http\", path = \"/a b\""),
                "4:34: service.health.path:", "blanks"},
        BadCase{"health_port", health("port = 65536"),
                "4:19: service.health.port: 65536 is not between 0 and 65535", ""},
        BadCase{"health_interval_short", health("interval = \"99ms\""),
                "4:23: service.health.interval: '99ms' is not between 100ms and 1h", ""},
        BadCase{"health_interval_long", health("interval = \"61m\""),
                "4:23: service.health.interval:", "1h"},
        BadCase{"health_interval_number", health("interval = 2"),
                "4:23: service.health.interval:", "string in quotes"},
        BadCase{"health_interval_unit", health("interval = \"2\""),
                "4:23: service.health.interval:", "2"},
        BadCase{"health_timeout_long", health("timeout = \"61s\""),
                "4:22: service.health.timeout: '61s' is not between 10ms and 1m", ""},
        BadCase{"health_rise", health("rise = 0"),
                "4:19: service.health.rise: 0 is not between 1 and 100", ""},
        BadCase{"health_fall", health("fall = 101"),
                "4:19: service.health.fall: 101 is not between 1 and 100", ""},
        BadCase{"drain_timeout_number", one("backends = []\ndrain_timeout = 60\n"),
                "4:17: service.drain_timeout:", "string in quotes"},
        BadCase{"drain_timeout_unit", one("backends = []\ndrain_timeout = \"60\"\n"),
                "4:17: service.drain_timeout:", "60"},
        BadCase{"drain_timeout_long", one("backends = []\ndrain_timeout = \"366d\"\n"),
                "4:17: service.drain_timeout:", "365d"},
        BadCase{"launder_text", one("backends = []\nlaunder = \"no\"\n"),
                "4:11: service.launder:", "true or false"},
        BadCase{"service_twice", one("backends = []\n") + one("backends = []\n"),
                "5:10: service.listen: tcp://127.0.0.1:80 is already defined in line 2", "remove"}),
    [](const auto& test) { return test.param.name; });

std::vector<Service> parsed(const std::string& text, const std::string& path = "f") {
  return parse_services_file(text, path).value();
}

TEST(MergeServicesFiles, TheFirstFileWinsAndTheWarningNamesBoth) {
  const ServicesFile a{"a.toml",
                       share_unchanged(parsed(one("name = \"one\"\nbackends = []"), "a.toml"), {})};
  const ServicesFile b{"b.toml",
                       share_unchanged(parsed(one("name = \"two\"\nbackends = []"), "b.toml"), {})};
  const auto merged = merge_services_files({&a, &b});
  ASSERT_EQ(merged.services.size(), 1U);
  EXPECT_EQ(merged.services[0]->name, "one");
  ASSERT_EQ(merged.warnings.size(), 1U);
  EXPECT_NE(merged.warnings[0].find("a.toml"), std::string::npos);
  EXPECT_NE(merged.warnings[0].find("b.toml: service 'two' on tcp://127.0.0.1:80"),
            std::string::npos);
}

TEST(MergeServicesFiles, SortsByKey) {
  const ServicesFile a{"a",
                       share_unchanged(parsed("[[service]]\nlisten='127.0.0.2:1'\nbackends=[]\n"
                                              "[[service]]\nlisten='127.0.0.1:2'\nbackends=[]\n"),
                                       {})};
  const auto merged = merge_services_files({&a});
  EXPECT_LT(merged.services[0]->key, merged.services[1]->key);
}

TEST(ShareUnchanged, KeepsThePointerOfAnEqualService) {
  const std::string text =
      "[[service]]\nlisten='127.0.0.1:1'\nbackends=[]\n"
      "[[service]]\nlisten='127.0.0.1:2'\nbackends=[]\n";
  const auto old = share_unchanged(parsed(text), {});
  const auto fresh = share_unchanged(parsed(text + "name='new'\n"), old);
  EXPECT_EQ(fresh[0], old[0]);
  EXPECT_NE(fresh[1], old[1]);
  EXPECT_EQ(fresh[1]->name, "new");
}

}  // namespace
}  // namespace lb
