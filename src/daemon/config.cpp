#include "daemon/config.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "base/file.h"
#include "base/limits.h"
#include "base/text.h"
#include "daemon/config_reader.h"
#include "daemon/config_sources.h"
#include "daemon/yield_users.h"
#include "relay/order_signature.h"

namespace lb {
namespace {

constexpr std::size_t kLargestFile = std::size_t{4} << 20;

const Words<LogLevel> kLogLevels{{"trace", LogLevel::Trace}, {"debug", LogLevel::Debug},
                                 {"info", LogLevel::Info},   {"warn", LogLevel::Warn},
                                 {"error", LogLevel::Error}, {"critical", LogLevel::Critical}};
const Words<DataplaneMode> kModes{{"auto", DataplaneMode::Auto},
                                  {"ebpf", DataplaneMode::Ebpf},
                                  {"ipvs", DataplaneMode::Ipvs},
                                  {"none", DataplaneMode::None}};
const Words<LogFormat> kLogFormats{{"text", LogFormat::Text}, {"json", LogFormat::Json}};
const Words<Scope> kScopes{{"host", Scope::Host}, {"all", Scope::All}};
const Words<OnLocalListener> kOnLocalListener{{"refuse", OnLocalListener::Refuse},
                                              {"shadow", OnLocalListener::Shadow}};
const Words<OnUdpLeave> kOnUdpLeave{{"end", OnUdpLeave::End}, {"keep", OnUdpLeave::Keep}};
const Words<OnTimeout> kOnTimeout{{"keep", OnTimeout::Keep}, {"terminate", OnTimeout::Terminate}};
void read_daemon(Section section, DaemonConfig& out) {
  section.path("state_dir", out.state_dir);
  section.path("runtime_dir", out.runtime_dir);
  section.word("log_level", out.log_level, kLogLevels);
  section.word("log_format", out.log_format, kLogFormats);
  section.close();
}

void read_dataplane(Section section, DataplaneConfig& out) {
  section.word("mode", out.mode, kModes);
  section.optional_path("cgroup", out.cgroup);
  section.path("bpffs", out.bpffs);
  section.word("scope", out.scope, kScopes);
  section.count("max_services", out.max_services, 1, 1'048'576);
  section.count("max_backends", out.max_backends, 1, 16'777'215);  // ids have 24 bits
  // At most 2 GiB of slots.
  section.count("max_slots", out.max_slots, 1024, 268'435'456);
  section.percent("max_ejected", out.max_ejected);
  section.word("on_local_listener", out.on_local_listener, kOnLocalListener);
  section.word("on_udp_leave", out.on_udp_leave, kOnUdpLeave);
  section.texts("yield_to", out.yield_to);
  for (const std::string& user : out.yield_to)
    if (auto good = check_user(user); !good) section.complain("yield_to", good.error().message());
  section.boolean("detach_on_exit", out.detach_on_exit);
  section.texts("own_cgroups", out.own_cgroups);
  constexpr std::size_t kMostCgroups = 64;  // LB_OWN_CGROUPS_MAX
  const bool fit =
      std::none_of(out.own_cgroups.begin(), out.own_cgroups.end(), [](const std::string& name) {
        return name.starts_with('/') || name.find("..") != std::string::npos;
      });
  if (!fit || out.own_cgroups.size() > kMostCgroups)
    section.complain("own_cgroups",
                     fmt::format("must be at most {} folders below the cgroup2 mount: write for "
                                 "example [\"system.slice/lbd-updater.service\"]",
                                 kMostCgroups));
  section.close();
}

void read_publish(Section section, PublishConfig& out) {
  section.parsed("address", out.address, IpAddress::parse, "write for example \"127.0.0.1\"");
  (void)section.addresses("addresses", out.addresses);
  section.close();
}

void read_api(Section section, ApiConfig& out) {
  section.text("group", out.group);
  section.text("read_group", out.read_group);
  for (const auto& [key, value] :
       {std::pair("group", out.group), std::pair("read_group", out.read_group)})
    if (!value.empty() && !is_user_or_group(value))
      section.complain(key, fmt::format("'{}' is no group: write a group's name, or a number such "
                                        "as \"27\"",
                                        value));
  section.close();
}

void read_drain(Section section, DrainConfig& out) {
  section.duration("timeout", out.timeout);
  section.word("on_timeout", out.on_timeout, kOnTimeout);
  section.close();
}

void read_guard(Section section, GuardOptions& out) {
  section.percent("max_loss", out.max_loss_percent);
  section.count("min_missing", out.min_missing, 1, 1'000'000'000);
  section.duration("confirm", out.confirm);
  section.duration("total", out.total);
  section.boolean("files", out.files);
  section.close();
}

void read_relay(Section section, relay::ServerConfig& out, std::vector<std::string>& order_keys) {
  section.texts("order_keys", order_keys);
  for (const std::string& key : order_keys)
    if (!is_order_key(key))
      section.complain("order_keys",
                       fmt::format("'{}' is no public key of an updater: 'lbctl trust' shows it "
                                   "there, 44 characters",
                                   printable(key, 60)));
  if (order_keys.size() > limits::kOrderKeys)
    section.complain("order_keys", fmt::format("has more than {} keys", limits::kOrderKeys));
  section.optional_text("listen", out.listen);
  if (auto address = Address::parse(out.listen); !out.listen.empty() && !address)
    section.complain("listen", address.error().message() + ": write for example \"0.0.0.0:7676\"");
  section.boolean("require_tls", out.require_tls);
  section.path("tls_cert", out.tls.cert);
  section.secret("tls_key", out.tls.key);
  section.path("tls_client_ca", out.tls.ca);
  section.path("tls_crl", out.tls.crl);
  section.boolean("shared_certificate", out.shared_certificate);
  section.together("tls_cert", "tls_key");
  if (!out.tls.ca.empty() && out.tls.cert.empty())
    section.complain("tls_client_ca", "needs tls_cert and tls_key");
  if (!out.tls.crl.empty() && out.tls.ca.empty())
    section.complain("tls_crl", "needs tls_client_ca, the authority that signs the list");
  if (out.require_tls && !out.listen.empty() && out.tls.cert.empty())
    section.complain("require_tls",
                     "needs tls_cert and tls_key, and tls_client_ca to know who asks");
  section.close();
}

// The whole document.
class Reader {
 public:
  Reader(const toml::table& root, std::string_view path) : complaints_(path), root_(root) {}

  Result<Config> read() {
    table("daemon", [&](Section s) { read_daemon(s, config_.daemon); });
    table("dataplane", [&](Section s) { read_dataplane(s, config_.dataplane); });
    table("publish", [&](Section s) { read_publish(s, config_.publish); });
    table("drain", [&](Section s) { read_drain(s, config_.drain); });
    table("guard", [&](Section s) { read_guard(s, config_.guard); });
    table("relay", [&](Section s) { read_relay(s, config_.relay, config_.order_keys); });
    table("api", [&](Section s) { read_api(s, config_.api); });
    sources();
    unknown_sections();
    if (!complaints_.empty()) return complaints_.error();
    share_settings(config_);
    return std::move(config_);
  }

 private:
  template <class Fn>
  void table(std::string_view name, Fn read_it) {
    const toml::node* node = root_.get(name);
    if (!node) return;
    if (const toml::table* found = node->as_table())
      read_it(Section(complaints_, *found, std::string(name)));
    else
      complaints_.add(node->source(), name, fmt::format("must be a table: write [{}]", name));
  }

  void sources() {
    const toml::node* node = root_.get("source");
    const toml::array* list = node ? node->as_array() : nullptr;
    if (node && !list)
      return complaints_.add(node->source(), "source",
                             "must be a list of tables: write [[source]], with two brackets");
    // Without sources nothing would be wanted, and everything be removed from the kernel.
    if (!list || list->empty())
      return complaints_.add({{1, 1}, {1, 1}, nullptr}, "source",
                             "there is none: write [[source]] and its type below");
    std::map<std::string, toml::source_index> lines;
    for (const toml::node& item : *list) source(item, lines);
  }

  void source(const toml::node& item, std::map<std::string, toml::source_index>& lines) {
    const toml::table* found = item.as_table();
    if (!found)
      return complaints_.add(item.source(), "source", "must be a table: write [[source]]");
    SourceConfig out;
    Section section(complaints_, *found, "source");
    read_source(section, out);
    const auto* relay = std::get_if<RelaySourceConfig>(&out.settings);
    if (relay && config_.relay.require_tls && !relay->tls.used())
      section.complain("ca",
                       "[relay] require_tls is true: name the authority of the updaters' "
                       "certificates here");
    if (!out.name.empty()) {
      const auto [first, fresh] = lines.emplace(out.name, found->source().begin.line);
      if (!fresh)
        section.complain("name", fmt::format("'{}' is already the name of the source in line {}: "
                                             "give this one a name of its own",
                                             out.name, first->second));
    }
    config_.sources.push_back(std::move(out));
  }

  void unknown_sections() {
    const std::vector<std::string_view> known{"daemon", "dataplane", "publish", "drain",
                                              "guard",  "relay",     "api",     "source"};
    for (const auto& [key, value] : root_) {
      const std::string_view name = key.str();
      if (std::find(known.begin(), known.end(), name) != known.end()) continue;
      const std::string_view close_by = nearest(name, known);
      complaints_.add(key.source(), name,
                      fmt::format("unknown section: {}",
                                  close_by.empty() ? "use " + join_or(known)
                                                   : fmt::format("did you mean {}?", close_by)));
    }
  }

  Complaints complaints_;
  const toml::table& root_;
  Config config_;
};

template <class Enum>
Result<Enum> parse_word(const Words<Enum>& words, std::string_view text) {
  if (const auto meaning = find_word(words, text)) return *meaning;
  return fail(fmt::format("'{}' is not known: use {}", text, join_words(words)));
}

template <class Enum>
std::string_view name_of(const Words<Enum>& words, Enum value) {
  for (const auto& [name, meaning] : words)
    if (meaning == value) return name;
  bug("word of an enumeration");
}

}  // namespace

Result<Config> parse_config(std::string_view text, std::string_view path) {
  try {
    const toml::table root = toml::parse(text, path);
    return Reader(root, path).read();
  } catch (const toml::parse_error& error) {
    return fail(fmt::format("{}:{}:{}: {}", path, error.source().begin.line,
                            error.source().begin.column, error.description()));
  }
}

Result<Config> load_config(const std::string& path) {
  LB_TRY(const std::string text, read_file(path, kLargestFile));
  return parse_config(text, path);
}

Result<LogLevel> parse_log_level(std::string_view text) { return parse_word(kLogLevels, text); }
Result<DataplaneMode> parse_dataplane_mode(std::string_view text) {
  return parse_word(kModes, text);
}
std::string_view to_string(LogLevel level) { return name_of(kLogLevels, level); }
std::string_view to_string(DataplaneMode mode) { return name_of(kModes, mode); }

PortRanges ports_for(const SourceConfig& source, const Config& config) {
  PortRanges ports = source.ports;
  const auto own = Address::parse(config.relay.listen);
  if (own && config.dataplane.mode != DataplaneMode::None) ports.exclude(own->port);
  return ports;
}

void share_settings(Config& config) {
  for (SourceConfig& source : config.sources) {
    if (auto* marathon = std::get_if<MarathonSourceConfig>(&source.settings))
      marathon->rules.publish = config.publish.address;
    if (auto* relay = std::get_if<RelaySourceConfig>(&source.settings)) {
      relay->publish = config.publish.address;
      relay->confirm = config.guard.confirm;
      relay->require_tls = config.relay.require_tls;
    }
  }
}

}  // namespace lb
