#include "daemon/config_sources.h"

#include <algorithm>

#include "base/secret_file.h"

namespace lb {
namespace {

// A reading of a large Marathon takes a good part of a second; after a day nobody would believe it.
constexpr std::chrono::milliseconds kShortestInterval{200};
constexpr std::chrono::milliseconds kLongestInterval{std::chrono::hours(24)};

const Words<etcd::Mode> kEtcdApis{
    {"auto", etcd::Mode::Auto}, {"v3", etcd::Mode::V3}, {"v2", etcd::Mode::V2}};
const Words<marathon::HealthUnknown> kHealthUnknown{{"keep", marathon::HealthUnknown::Keep},
                                                    {"healthy", marathon::HealthUnknown::Healthy}};
const Words<marathon::Unreachable> kUnreachable{{"last-resort", marathon::Unreachable::LastResort},
                                                {"use", marathon::Unreachable::Use},
                                                {"drop", marathon::Unreachable::Drop}};

void read_tls(Section& section, std::string& ca, std::string& cert, std::string& key) {
  section.path("ca", ca);
  section.path("cert", cert);
  section.secret("key", key);
  section.together("cert", "key");
}

FileSourceConfig read_file_source(Section& section) {
  FileSourceConfig out;
  section.require("path", "a file, or a folder of *.toml files");
  section.path("path", out.path);
  return out;
}

EtcdSourceConfig read_etcd_source(Section& section) {
  EtcdSourceConfig out;
  etcd::Access& access = out.access;
  section.texts("endpoints", access.endpoints);
  for (const std::string& endpoint : access.endpoints) {
    if (auto good = check_etcd_endpoint(endpoint); !good)
      section.complain("endpoints", good.error().message());
  }
  section.word("api", access.mode, kEtcdApis);
  section.require("prefixes", "one prefix for each service, such as [\"/conf/merlion/web\"]");
  section.texts("prefixes", out.prefixes);
  for (const std::string& prefix : out.prefixes)
    if (auto good = check_merlion_prefix(prefix); !good)
      section.complain("prefixes", good.error().message());
  read_tls(section, access.tls.ca, access.tls.cert, access.tls.key);
  section.text("username", access.username);
  section.secret("password_file", access.password_file);
  section.together("username", "password_file");
  return out;
}

void read_marathon_access(Section& section, marathon::Access& access) {
  section.require("endpoints", "Marathon's URLs, such as [\"http://marathon1:8080\"]");
  section.texts("endpoints", access.endpoints);
  for (const std::string& endpoint : access.endpoints)
    if (auto good = check_marathon_endpoint(endpoint); !good)
      section.complain("endpoints", good.error().message());
  read_tls(section, access.tls.ca, access.tls.cert, access.tls.key);
  section.text("username", access.username);
  section.secret("password_file", access.password_file);
  section.together("username", "password_file");
  section.secret("token_file", access.token_file);
  section.text("dcos_login", access.dcos_login);
  if (auto good = check_server_url(access.dcos_login, "https://master.mesos/acs/api/v1/auth/login");
      !good && !access.dcos_login.empty())
    section.complain("dcos_login", good.error().message());
  section.text("dcos_uid", access.dcos_uid);
  section.secret("dcos_key_file", access.dcos_key_file);
  section.together("dcos_login", "dcos_uid");
  section.together("dcos_uid", "dcos_key_file");
  const bool both =
      !access.username.empty() + !access.token_file.empty() + !access.dcos_login.empty() > 1;
  if (both)
    section.complain(access.token_file.empty() ? "dcos_login" : "token_file",
                     "one way to say who we are is enough: username, token_file or dcos_login");
}

MarathonSourceConfig read_marathon_source(Section& section) {
  MarathonSourceConfig out;
  read_marathon_access(section, out.access);
  section.duration("interval", out.interval);
  if (out.interval < kShortestInterval || out.interval > kLongestInterval)
    section.complain("interval",
                     fmt::format("must be between {} and {}", format_duration(kShortestInterval),
                                 format_duration(kLongestInterval)));
  section.optional_text("label", out.rules.label);
  section.texts("groups", out.rules.groups);
  section.boolean("udp", out.rules.udp);
  section.word("health_unknown", out.rules.health_unknown, kHealthUnknown);
  section.word("unreachable", out.rules.unreachable, kUnreachable);
  return out;
}

RelaySourceConfig read_relay_source(Section& section) {
  RelaySourceConfig out;
  section.require("updaters", "their addresses, such as [\"updater1:7676\"]");
  std::vector<std::string> updaters;
  section.texts("updaters", updaters);
  for (const std::string& text : updaters) {
    if (auto updater = HostPort::parse(text))
      out.updaters.push_back(*std::move(updater));
    else
      section.complain("updaters",
                       updater.error().message() + ": write for example \"updater1:7676\"");
  }
  read_tls(section, out.tls.ca, out.tls.cert, out.tls.key);
  section.path("crl", out.tls.crl);
  if (!out.tls.crl.empty() && out.tls.ca.empty())
    section.complain("crl", "needs ca, the authority that signs the list");
  return out;
}

constexpr std::string_view kSourceTypes = "\"file\", \"etcd\", \"marathon\" or \"relay\"";

bool read_settings(Section& section, std::string_view type, SourceConfig& out) {
  if (type == "file")
    out.settings = read_file_source(section);
  else if (type == "etcd")
    out.settings = read_etcd_source(section);
  else if (type == "marathon")
    out.settings = read_marathon_source(section);
  else if (type == "relay")
    out.settings = read_relay_source(section);
  else
    return false;
  return true;
}

void read_backends(Section& section, SourceConfig& out) {
  if (!section.has("backends")) return;
  std::vector<std::string> prefixes;
  section.texts("backends", prefixes);
  BackendRanges allowed;
  for (const std::string& prefix : prefixes)
    if (auto added = allowed.add(prefix); !added)
      section.complain("backends", added.error().message());
  out.backends = std::move(allowed);
}

}  // namespace

void read_source(Section section, SourceConfig& out) {
  section.require("type", kSourceTypes);
  const auto type = section.string_at("type");
  section.text("name", out.name);
  section.parsed("ports", out.ports, PortRanges::parse, "write for example \"80,443,1024-65535\"");
  read_backends(section, out);
  if (AddressRanges addresses; section.addresses("addresses", addresses))
    out.addresses = std::move(addresses);
  if (!type || !read_settings(section, *type, out)) {
    // Which other keys are right depends on the type, so nothing is said about them.
    if (type)
      section.complain("type", fmt::format("'{}' is not known: use {}", *type, kSourceTypes));
    return;
  }
  if (!section.has("ports")) out.ports = default_ports(out);
  section.close();
  if (out.name.empty()) out.name = default_source_name(out);
}

Result<> check_etcd_endpoint(std::string_view text) {
  return check_server_url(text, "http://127.0.0.1:2379");
}

Result<> check_marathon_endpoint(std::string_view text) {
  return check_server_url(text, "http://marathon1:8080");
}

Result<> check_merlion_prefix(std::string_view text) {
  if (text.starts_with('/') && text.find_first_not_of('/') != std::string_view::npos) return {};
  return fail(
      fmt::format("'{}' is no prefix of a service: write for example \"/conf/merlion/web\"", text));
}

namespace {

std::string locator(const FileSourceConfig& file) { return "file:" + file.path; }

std::string first_of(std::string_view type, const std::vector<std::string>& endpoints) {
  return fmt::format("{}:{}", type, endpoints.empty() ? std::string() : endpoints.front());
}

std::string locator(const EtcdSourceConfig& etcd) {
  return first_of("etcd", etcd.access.endpoints);
}

std::string locator(const MarathonSourceConfig& marathon) {
  return first_of("marathon", marathon.access.endpoints);
}

std::string locator(const RelaySourceConfig& relay) {
  if (relay.updaters.empty()) return "relay:";
  return fmt::format("relay:{}:{}", relay.updaters.front().host, relay.updaters.front().port);
}

}  // namespace

std::string default_source_name(const SourceConfig& source) {
  return std::visit([](const auto& settings) { return locator(settings); }, source.settings);
}

BackendRanges backends_for(const SourceConfig& source) {
  if (source.backends) return *source.backends;
  return std::holds_alternative<FileSourceConfig>(source.settings) ? BackendRanges::any()
                                                                   : BackendRanges::usual();
}

PortRanges default_ports(const SourceConfig& source) {
  const bool others_say = std::holds_alternative<MarathonSourceConfig>(source.settings) ||
                          std::holds_alternative<RelaySourceConfig>(source.settings);
  return others_say ? PortRanges::parse("1024-65535").value() : PortRanges();
}

}  // namespace lb
