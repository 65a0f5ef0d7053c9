// The configuration file as a value: docs/OPERATIONS.md has the reference. All that is wrong
// is reported at once, one line each: "FILE:LINE:COLUMN: KEY: what is wrong, what to write instead".
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/log_level.h"
#include "base/result.h"
#include "model/address.h"
#include "model/address_ranges.h"
#include "model/backend_ranges.h"
#include "relay/relay_source.h"
#include "relay/server.h"
#include "sources/etcd_source.h"
#include "sources/file_source.h"
#include "sources/marathon_source.h"
#include "state/guard.h"
#include "state/port_ranges.h"

namespace lb {

enum class LogFormat : std::uint8_t { Text, Json };
enum class DataplaneMode : std::uint8_t { Auto, Ebpf, Ipvs, None };
enum class Scope : std::uint8_t { Host, All };
enum class OnLocalListener : std::uint8_t { Refuse, Shadow };
enum class OnUdpLeave : std::uint8_t { End, Keep };
enum class OnTimeout : std::uint8_t { Keep, Terminate };

struct DaemonConfig {
  std::string state_dir = "/var/lib/lbd";
  std::string runtime_dir = "/run/lbd";
  LogLevel log_level = LogLevel::Info;
  LogFormat log_format = LogFormat::Text;

  bool operator==(const DaemonConfig&) const = default;
};

struct DataplaneConfig {
  DataplaneMode mode = DataplaneMode::Auto;
  std::string cgroup;  // empty: the root of the cgroup2 mount
  std::string bpffs = "/sys/fs/bpf/lbd";
  Scope scope = Scope::Host;
  std::uint32_t max_services = 16384;
  std::uint32_t max_backends = 131072;
  std::uint32_t max_slots = 1048576;
  std::uint32_t max_ejected = 50;  // per cent of a service's backends; 0: none is ejected
  OnLocalListener on_local_listener = OnLocalListener::Refuse;
  OnUdpLeave on_udp_leave = OnUdpLeave::End;
  bool detach_on_exit = false;
  // Below the cgroup2 mount: of lbds without privileges on this host.
  std::vector<std::string> own_cgroups{"system.slice/lbd-updater.service"};
  // Beside root's: whose listeners keep a port, names and numbers; "*" is everybody. yield_users.h.
  std::vector<std::string> yield_to{"haproxy", "nginx", "merlion", "envoy"};

  bool operator==(const DataplaneConfig&) const = default;
};

struct PublishConfig {
  IpAddress address = IpAddress::v4(0x7f000001);  // of services that name none
  // Where etcd, Marathon and updaters may publish, beside that one.
  AddressRanges addresses{};

  bool operator==(const PublishConfig&) const = default;
};

// Groups of this host, by name or number; empty: none. Whose members may use the control socket.
struct ApiConfig {
  std::string group;
  std::string read_group;

  bool operator==(const ApiConfig&) const = default;
};

struct DrainConfig {
  std::chrono::milliseconds timeout{60'000};
  OnTimeout on_timeout = OnTimeout::Keep;

  bool operator==(const DrainConfig&) const = default;
};

struct SourceConfig {
  std::string name;  // never empty, no two the same
  PortRanges ports;
  std::variant<FileSourceConfig, EtcdSourceConfig, MarathonSourceConfig, RelaySourceConfig>
      settings;
  std::optional<BackendRanges> backends{};  // where its backends may be
  // Where its services may be; nullopt: src/daemon/rights.h.
  std::optional<AddressRanges> addresses{};

  bool operator==(const SourceConfig&) const = default;
};

struct Config {
  DaemonConfig daemon;
  DataplaneConfig dataplane;
  PublishConfig publish;
  DrainConfig drain;
  GuardOptions guard;
  relay::ServerConfig relay;
  std::vector<std::string> order_keys;  // [relay] order_keys: public keys of updaters, base64
  ApiConfig api{};
  std::vector<SourceConfig> sources;  // in the order of the file, which decides who wins a key

  bool operator==(const Config&) const = default;
};

[[nodiscard]] Result<Config> load_config(const std::string& path);
// `path` is only for messages.
[[nodiscard]] Result<Config> parse_config(std::string_view text, std::string_view path);

// For the command line's flags, which take the same words as the file. The error lists the words.
[[nodiscard]] Result<LogLevel> parse_log_level(std::string_view text);
[[nodiscard]] Result<DataplaneMode> parse_dataplane_mode(std::string_view text);
[[nodiscard]] std::string_view to_string(LogLevel level);
[[nodiscard]] std::string_view to_string(DataplaneMode mode);

[[nodiscard]] Result<> check_etcd_endpoint(std::string_view text);
[[nodiscard]] Result<> check_marathon_endpoint(std::string_view text);
[[nodiscard]] Result<> check_merlion_prefix(std::string_view text);

// "file:/etc/lbd/services.d", "etcd:http://127.0.0.1:2379": the name of a source that has none.
[[nodiscard]] std::string default_source_name(const SourceConfig& source);
// Marathon and updaters give ports to whoever may start an app: nothing below 1024 unless it is
// configured.
[[nodiscard]] PortRanges default_ports(const SourceConfig& source);
// Its `backends`, or what goes without saying: files are the host's own word, others may not name addresses that mean each host's own.
[[nodiscard]] BackendRanges backends_for(const SourceConfig& source);
// What it may claim here: its ports without that of relay.listen, by which listeners reach us. An
// updater alone takes no ports, what it serves is for other hosts.
[[nodiscard]] PortRanges ports_for(const SourceConfig& source, const Config& config);
// Gives the sources what other sections say: publish.address, guard.confirm, relay.require_tls.
void share_settings(Config& config);

}  // namespace lb
