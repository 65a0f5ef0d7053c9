// Every way to get a configuration wrong, with the exact words that a person reads.
#include <gtest/gtest.h>

#include "daemon/config.h"

namespace lb {
namespace {

struct Mistake {
  const char* name;
  std::string text;  // a good source follows, unless it has [[source]] itself
  const char* error;
};

class Mistakes : public testing::TestWithParam<Mistake> {};

TEST_P(Mistakes, AreToldWithPlaceAndRemedy) {
  std::string text = GetParam().text;
  if (text.find("[source]") == std::string::npos)
    text += "\n[[source]]\ntype = \"file\"\npath = \"/x\"\n";
  const auto config = parse_config(text, "lbd.toml");
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().message(), GetParam().error);
}

std::string name_of(const testing::TestParamInfo<Mistake>& info) { return info.param.name; }

INSTANTIATE_TEST_SUITE_P(
    Sections, Mistakes,
    testing::Values(
        Mistake{"unknown_section", "[demon]\n",
                "lbd.toml:1:2: demon: unknown section: did you mean daemon?"},
        Mistake{"unlike_any_section", "[tls]\n",
                "lbd.toml:1:2: tls: unknown section: use daemon, dataplane, publish, drain, guard, "
                "relay, api or source"},
        Mistake{
            "api_group", "[api]\ngroup = \"a b\"\n",
            "lbd.toml:2:9: api.group: 'a b' is no group: write a group's name, or a number such "
            "as \"27\""},
        Mistake{"no_table", "daemon = 1\n",
                "lbd.toml:1:10: daemon: must be a table: write [daemon]"},
        Mistake{"array_of_sections", "[[drain]]\n",
                "lbd.toml:1:1: drain: must be a table: write [drain]"},
        Mistake{"unknown_key", "[daemon]\nstatedir = \"/x\"\n",
                "lbd.toml:2:1: daemon.statedir: unknown key: did you mean state_dir?"},
        Mistake{"unlike_any_key", "[publish]\ninterface = \"eth0\"\n",
                "lbd.toml:2:1: publish.interface: unknown key: use address or addresses"},
        Mistake{"syntax", "[daemon\n",
                "lbd.toml:1:8: Error while parsing table header: expected ']', saw '\\n'"},
        Mistake{"all_at_once",
                "[drain]\non_timeout = \"kill\"\ntimeout = \"x\"\n[daemon]\nlog_level = 3\n",
                "lbd.toml:2:14: drain.on_timeout: 'kill' is not known: use keep or terminate\n"
                "lbd.toml:3:11: drain.timeout: 'x' is not a duration: write for example \"250ms\", "
                "\"60s\" or \"5m\"\n"
                "lbd.toml:5:13: daemon.log_level: must be text in quotes"}),
    name_of);

INSTANTIATE_TEST_SUITE_P(
    Values, Mistakes,
    testing::Values(
        Mistake{"log_level", "[daemon]\nlog_level = \"loud\"\n",
                "lbd.toml:2:13: daemon.log_level: 'loud' is not known: use trace, debug, info, "
                "warn, error or critical"},
        Mistake{"log_format", "[daemon]\nlog_format = \"xml\"\n",
                "lbd.toml:2:14: daemon.log_format: 'xml' is not known: use text or json"},
        Mistake{"relative_folder", "[daemon]\nstate_dir = \"var\"\n",
                "lbd.toml:2:13: daemon.state_dir: 'var' is no absolute path: start it with /"},
        Mistake{"empty_folder", "[daemon]\nruntime_dir = \"\"\n",
                "lbd.toml:2:15: daemon.runtime_dir: '' is no absolute path: start it with /"},
        Mistake{"control_character", "[daemon]\nstate_dir = \"/a\\nb\"\n",
                "lbd.toml:2:13: daemon.state_dir: must not contain control characters"},
        Mistake{"mode", "[dataplane]\nmode = \"nft\"\n",
                "lbd.toml:2:8: dataplane.mode: 'nft' is not known: use auto, ebpf, ipvs or none"},
        Mistake{"relative_cgroup", "[dataplane]\ncgroup = \"x\"\n",
                "lbd.toml:2:10: dataplane.cgroup: 'x' is no absolute path: start it with /"},
        Mistake{"scope", "[dataplane]\nscope = \"any\"\n",
                "lbd.toml:2:9: dataplane.scope: 'any' is not known: use host or all"},
        Mistake{"services", "[dataplane]\nmax_services = 1048577\n",
                "lbd.toml:2:16: dataplane.max_services: 1048577 is out of range: write a number "
                "from 1 to 1048576"},
        Mistake{"no_services", "[dataplane]\nmax_services = 0\n",
                "lbd.toml:2:16: dataplane.max_services: 0 is out of range: write a number from 1 "
                "to 1048576"},
        Mistake{"backends", "[dataplane]\nmax_backends = 16777216\n",
                "lbd.toml:2:16: dataplane.max_backends: 16777216 is out of range: write a number "
                "from 1 to 16777215"},
        Mistake{"negative", "[dataplane]\nmax_backends = -1\n",
                "lbd.toml:2:16: dataplane.max_backends: -1 is out of range: write a number from 1 "
                "to 16777215"},
        Mistake{"slots", "[dataplane]\nmax_slots = 1023\n",
                "lbd.toml:2:13: dataplane.max_slots: 1023 is out of range: write a number from "
                "1024 to 268435456"},
        Mistake{
            "number_in_quotes", "[dataplane]\nmax_slots = \"4096\"\n",
            "lbd.toml:2:13: dataplane.max_slots: must be a whole number from 1024 to 268435456, "
            "without quotes"},
        Mistake{"on_local_listener", "[dataplane]\non_local_listener = \"ignore\"\n",
                "lbd.toml:2:21: dataplane.on_local_listener: 'ignore' is not known: use refuse or "
                "shadow"},
        Mistake{"yield_to", "[dataplane]\nyield_to = [\"4294967295\"]\n",
                "lbd.toml:2:12: dataplane.yield_to: '4294967295' is no user: write a user's name, "
                "a number such as \"99\", or \"*\" for everybody"},
        Mistake{"boolean", "[dataplane]\ndetach_on_exit = \"yes\"\n",
                "lbd.toml:2:18: dataplane.detach_on_exit: must be true or false, without quotes"},
        Mistake{"publish", "[publish]\naddress = \"eth0\"\n",
                "lbd.toml:2:11: publish.address: 'eth0' is not an IP address: write for example "
                "\"127.0.0.1\""},
        Mistake{"publish_addresses", "[publish]\naddresses = [\"10.0.0.7/24\"]\n",
                "lbd.toml:2:13: publish.addresses: '10.0.0.7/24' is an address with the length of "
                "a network: write 10.0.0.7 or 10.0.0.0/24: write for example \"10.0.0.7\" or "
                "\"10.0.0.0/8\""},
        Mistake{"own_cgroups", "[dataplane]\nown_cgroups = [\"/sys/fs/cgroup/x\"]\n",
                "lbd.toml:2:15: dataplane.own_cgroups: must be at most 64 folders below the "
                "cgroup2 mount: write for example [\"system.slice/lbd-updater.service\"]"},
        Mistake{"timeout_without_unit", "[drain]\ntimeout = 60\n",
                "lbd.toml:2:11: drain.timeout: must be text in quotes"},
        Mistake{"timeout_too_long", "[drain]\ntimeout = \"366d\"\n",
                "lbd.toml:2:11: drain.timeout: '366d' is too long: at most 365d is meant by any "
                "duration"},
        Mistake{"max_loss", "[guard]\nmax_loss = \"0.5\"\n",
                "lbd.toml:2:12: guard.max_loss: '0.5' is no percentage: write for example \"50%\""},
        Mistake{"max_loss_above_all", "[guard]\nmax_loss = \"101%\"\n",
                "lbd.toml:2:12: guard.max_loss: '101%' is no percentage: write for example "
                "\"50%\""},
        Mistake{"min_missing", "[guard]\nmin_missing = 0\n",
                "lbd.toml:2:15: guard.min_missing: 0 is out of range: write a number from 1 to "
                "1000000000"},
        Mistake{"confirm", "[guard]\nconfirm = \"-1s\"\n",
                "lbd.toml:2:11: guard.confirm: '-1s' is not a duration: write for example "
                "\"250ms\", \"60s\" or \"5m\""}),
    name_of);

INSTANTIATE_TEST_SUITE_P(
    Sources, Mistakes,
    testing::Values(
        Mistake{"none", "# [source]\n",
                "lbd.toml:1:1: source: there is none: write [[source]] and its type below"},
        Mistake{"one_bracket", "[source]\ntype = \"file\"\n",
                "lbd.toml:1:1: source: must be a list of tables: write [[source]], with two "
                "brackets"},
        Mistake{"no_type", "[[source]]\npath = \"/x\"\n",
                "lbd.toml:1:1: source.type: is missing: write \"file\", \"etcd\", \"marathon\" or "
                "\"relay\""},
        Mistake{"type", "[[source]]\ntype = \"consul\"\n",
                "lbd.toml:2:8: source.type: 'consul' is not known: use \"file\", \"etcd\", "
                "\"marathon\" or \"relay\""},
        Mistake{"file_without_path", "[[source]]\ntype = \"file\"\n",
                "lbd.toml:1:1: source.path: is missing: write a file, or a folder of *.toml files"},
        Mistake{"key_of_another_type", "[[source]]\ntype = \"file\"\npath = \"/x\"\napi = \"v3\"\n",
                "lbd.toml:4:1: source.api: unknown key: use type, name, ports, addresses or path"},
        Mistake{"ports", "[[source]]\ntype = \"file\"\npath = \"/x\"\nports = \"80-\"\n",
                "lbd.toml:4:9: source.ports: '' is not a port between 1 and 65535: write for "
                "example \"80,443,1024-65535\""},
        Mistake{"addresses",
                "[[source]]\ntype = \"file\"\npath = \"/x\"\naddresses = [\"10.0.0.1\", "
                "\"10.0.0/8\"]\n",
                "lbd.toml:4:13: source.addresses: '10.0.0' is not an IP address: write for example "
                "\"10.0.0.7\" or \"10.0.0.0/8\""},
        Mistake{
            "no_addresses", "[[source]]\ntype = \"file\"\npath = \"/x\"\naddresses = []\n",
            "lbd.toml:4:13: source.addresses: must be a list of at least one text in quotes, as "
            "in [\"a\", \"b\"]"},
        Mistake{"empty_name", "[[source]]\ntype = \"file\"\npath = \"/x\"\nname = \"\"\n",
                "lbd.toml:4:8: source.name: must not be empty: leave it out or name something"},
        Mistake{"same_source_twice",
                "[[source]]\ntype = \"file\"\npath = \"/x\"\n[[source]]\ntype = \"file\"\npath = "
                "\"/x\"\n",
                "lbd.toml:4:1: source.name: 'file:/x' is already the name of the source in line 1: "
                "give this one a name of its own"},
        Mistake{"same_name_twice",
                "[[source]]\ntype = \"file\"\npath = \"/x\"\nname = \"a\"\n[[source]]\ntype = "
                "\"file\"\npath = \"/y\"\nname = \"a\"\n",
                "lbd.toml:8:8: source.name: 'a' is already the name of the source in line 1: give "
                "this one a name of its own"},
        Mistake{
            "etcd_without_prefixes", "[[source]]\ntype = \"etcd\"\n",
            "lbd.toml:1:1: source.prefixes: is missing: write one prefix for each service, such "
            "as [\"/conf/merlion/web\"]"},
        Mistake{"etcd_prefix", "[[source]]\ntype = \"etcd\"\nprefixes = [\"conf\"]\n",
                "lbd.toml:3:12: source.prefixes: 'conf' is no prefix of a service: write for "
                "example \"/conf/merlion/web\""},
        Mistake{"etcd_prefixes_text", "[[source]]\ntype = \"etcd\"\nprefixes = \"/a\"\n",
                "lbd.toml:3:12: source.prefixes: must be a list of at least one text in quotes, as "
                "in [\"a\", \"b\"]"},
        Mistake{"etcd_prefixes_empty", "[[source]]\ntype = \"etcd\"\nprefixes = []\n",
                "lbd.toml:3:12: source.prefixes: must be a list of at least one text in quotes, as "
                "in [\"a\", \"b\"]"},
        Mistake{"etcd_prefix_number", "[[source]]\ntype = \"etcd\"\nprefixes = [\"/a\", 1]\n",
                "lbd.toml:3:19: source.prefixes: must be text in quotes, and not empty"},
        Mistake{"etcd_prefix_twice", "[[source]]\ntype = \"etcd\"\nprefixes = [\"/a\", \"/a\"]\n",
                "lbd.toml:3:19: source.prefixes: '/a' is in the list twice: remove one"},
        Mistake{"etcd_endpoint",
                "[[source]]\ntype = \"etcd\"\nprefixes = [\"/a\"]\nendpoints = "
                "[\"127.0.0.1:2379\"]\n",
                "lbd.toml:4:13: source.endpoints: '127.0.0.1:2379' is no URL: write for example "
                "\"http://127.0.0.1:2379\""},
        Mistake{"etcd_password_in_url",
                "[[source]]\ntype = \"etcd\"\nprefixes = [\"/a\"]\nendpoints = "
                "[\"http://root:secret@e:2379\"]\n",
                "lbd.toml:4:13: source.endpoints: a URL has a password in it: write username and "
                "password_file instead"},
        Mistake{
            "etcd_password_file_relative",
            "[[source]]\ntype = \"etcd\"\nprefixes = [\"/a\"]\nusername = \"u\"\npassword_file = "
            "\"credential:../etc/shadow\"\n",
            "lbd.toml:5:17: source.password_file: 'credential:../etc/shadow' is no absolute path: "
            "start it with /, or write credential:NAME for a credential of the unit"},
        Mistake{"backends_no_prefix",
                "[[source]]\ntype = \"etcd\"\nprefixes = [\"/a\"]\nbackends = [\"10.0.0.1/8\"]\n",
                "lbd.toml:4:12: source.backends: '10.0.0.1/8' has bits behind its prefix: write "
                "10.0.0.0/8"},
        Mistake{"etcd_api", "[[source]]\ntype = \"etcd\"\nprefixes = [\"/a\"]\napi = \"4\"\n",
                "lbd.toml:4:7: source.api: '4' is not known: use auto, v3 or v2"},
        Mistake{"etcd_cert_without_key",
                "[[source]]\ntype = \"etcd\"\nprefixes = [\"/a\"]\ncert = \"/c\"\n",
                "lbd.toml:4:8: source.cert: needs key beside it"},
        Mistake{"etcd_password_without_user",
                "[[source]]\ntype = \"etcd\"\nprefixes = [\"/a\"]\npassword_file = \"/c\"\n",
                "lbd.toml:4:17: source.password_file: needs username beside it"}),
    name_of);

const std::string kMarathon = "[[source]]\ntype = \"marathon\"\nendpoints = [\"http://m:8080\"]\n";
const std::string kUpdater = "[[source]]\ntype = \"relay\"\nupdaters = [\"u1:7676\"]\n";
const std::string kFile = "[[source]]\ntype = \"file\"\npath = \"/x\"\n";

INSTANTIATE_TEST_SUITE_P(
    MarathonAndRelay, Mistakes,
    testing::Values(
        Mistake{"marathon_without_endpoints", "[[source]]\ntype = \"marathon\"\n",
                "lbd.toml:1:1: source.endpoints: is missing: write Marathon's URLs, such as "
                "[\"http://marathon1:8080\"]"},
        Mistake{"marathon_no_url",
                "[[source]]\ntype = \"marathon\"\nendpoints = [\"marathon1:8080\"]\n",
                "lbd.toml:3:13: source.endpoints: 'marathon1:8080' is no URL: write for example "
                "\"http://marathon1:8080\""},
        Mistake{"marathon_password_in_url",
                "[[source]]\ntype = \"marathon\"\nendpoints = [\"http://me:pw@m:8080\"]\n",
                "lbd.toml:3:13: source.endpoints: a URL has a password in it: write username and "
                "password_file instead"},
        Mistake{
            "dcos_password_in_url",
            kMarathon +
                "dcos_login = \"https://me:pw@d/l\"\ndcos_uid = \"u\"\ndcos_key_file = \"/k\"\n",
            "lbd.toml:4:14: source.dcos_login: a URL has a password in it: write username and "
            "password_file instead"},
        Mistake{"marathon_interval", kMarathon + "interval = \"0s\"\n",
                "lbd.toml:4:12: source.interval: must be between 200ms and 1d"},
        Mistake{"marathon_unreachable", kMarathon + "unreachable = \"maybe\"\n",
                "lbd.toml:4:15: source.unreachable: 'maybe' is not known: use last-resort, use or "
                "drop"},
        Mistake{"marathon_half_a_login", kMarathon + "dcos_login = \"https://d/l\"\n",
                "lbd.toml:4:14: source.dcos_login: needs dcos_uid beside it"},
        Mistake{"marathon_two_ways",
                kMarathon + "username = \"u\"\npassword_file = \"/p\"\ntoken_file = \"/t\"\n",
                "lbd.toml:6:14: source.token_file: one way to say who we are is enough: username, "
                "token_file or dcos_login"},
        Mistake{"relay_without_updaters", "[[source]]\ntype = \"relay\"\n",
                "lbd.toml:1:1: source.updaters: is missing: write their addresses, such as "
                "[\"updater1:7676\"]"},
        Mistake{"relay_without_port", "[[source]]\ntype = \"relay\"\nupdaters = [\"u1\"]\n",
                "lbd.toml:3:12: source.updaters: 'u1' is not of the form address:port: write for "
                "example \"updater1:7676\""},
        Mistake{"relay_listen", kFile + "[relay]\nlisten = \"7676\"\n",
                "lbd.toml:5:10: relay.listen: '7676' is not of the form address:port: write for "
                "example \"0.0.0.0:7676\""},
        Mistake{
            "relay_tls_wanted", kFile + "[relay]\nlisten = \"0.0.0.0:7676\"\nrequire_tls = true\n",
            "lbd.toml:6:15: relay.require_tls: needs tls_cert and tls_key, and tls_client_ca to "
            "know who asks"},
        Mistake{"relay_tls_wanted_of_updaters", kUpdater + "[relay]\nrequire_tls = true\n",
                "lbd.toml:1:1: source.ca: [relay] require_tls is true: name the authority of the "
                "updaters' certificates here"},
        Mistake{"relay_list_without_authority",
                kFile + "[relay]\ntls_cert = \"/c\"\ntls_key = \"/k\"\ntls_crl = \"/l\"\n",
                "lbd.toml:7:11: relay.tls_crl: needs tls_client_ca, the authority that signs the "
                "list"},
        Mistake{"relay_relative_list", kFile + "[relay]\ntls_crl = \"l\"\n",
                "lbd.toml:5:11: relay.tls_crl: 'l' is no absolute path: start it with /"},
        Mistake{"relay_list_of_updaters_without_authority", kUpdater + "crl = \"/l\"\n",
                "lbd.toml:4:7: source.crl: needs ca, the authority that signs the list"}),
    name_of);

}  // namespace
}  // namespace lb
