#include "daemon/config.h"

#include <algorithm>
#include <map>

#include "base/file.h"
#include "daemon/config_reader.h"

namespace lb {
namespace {

constexpr std::size_t kLargestFile = std::size_t{4} << 20;

const Words<LogLevel> kLogLevels{{"trace", LogLevel::Trace}, {"debug", LogLevel::Debug},
                                 {"info", LogLevel::Info},   {"warn", LogLevel::Warn},
                                 {"error", LogLevel::Error}, {"critical", LogLevel::Critical}};
const Words<DataplaneMode> kModes{
    {"auto", DataplaneMode::Auto}, {"ebpf", DataplaneMode::Ebpf}, {"none", DataplaneMode::None}};
const Words<LogFormat> kLogFormats{{"text", LogFormat::Text}, {"json", LogFormat::Json}};
const Words<Scope> kScopes{{"host", Scope::Host}, {"all", Scope::All}};
const Words<OnLocalListener> kOnLocalListener{{"refuse", OnLocalListener::Refuse},
                                              {"shadow", OnLocalListener::Shadow}};
const Words<OnTimeout> kOnTimeout{{"keep", OnTimeout::Keep}, {"terminate", OnTimeout::Terminate}};
const Words<etcd::Mode> kEtcdApis{
    {"auto", etcd::Mode::Auto}, {"v3", etcd::Mode::V3}, {"v2", etcd::Mode::V2}};

void read_daemon(Section section, DaemonConfig& out) {
  section.path("state_dir", out.state_dir);
  section.path("runtime_dir", out.runtime_dir);
  section.word("log_level", out.log_level, kLogLevels);
  section.word("log_format", out.log_format, kLogFormats);
  section.close();
}

void read_dataplane(Section section, DataplaneConfig& out) {
  if (section.string_at("mode") == "ipvs")
    section.complain("mode", "ipvs is not in this version: use auto, ebpf or none");
  else
    section.word("mode", out.mode, kModes);
  section.optional_path("cgroup", out.cgroup);
  section.path("bpffs", out.bpffs);
  section.word("scope", out.scope, kScopes);
  section.count("max_services", out.max_services, 1, 1'048'576);
  section.count("max_backends", out.max_backends, 1, 16'777'215);  // ids have 24 bits
  // At most 2 GiB of slots.
  section.count("max_slots", out.max_slots, 1024, 268'435'456);
  section.word("on_local_listener", out.on_local_listener, kOnLocalListener);
  section.boolean("detach_on_exit", out.detach_on_exit);
  section.close();
}

void read_publish(Section section, IpAddress& out) {
  section.parsed("address", out, IpAddress::parse, "write for example \"127.0.0.1\"");
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
  section.close();
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
  section.path("ca", access.tls.ca);
  section.path("cert", access.tls.cert);
  section.path("key", access.tls.key);
  section.together("cert", "key");
  section.text("username", access.username);
  section.path("password_file", access.password_file);
  section.together("username", "password_file");
  return out;
}

constexpr std::string_view kSourceTypes = "\"file\" or \"etcd\"";

void read_source(Section section, SourceConfig& out) {
  section.require("type", kSourceTypes);
  const auto type = section.string_at("type");
  section.text("name", out.name);
  section.parsed("ports", out.ports, PortRanges::parse, "write for example \"80,443,1024-65535\"");
  if (type == "file") {
    out.settings = read_file_source(section);
  } else if (type == "etcd") {
    out.settings = read_etcd_source(section);
  } else {
    // Which other keys are right depends on the type, so nothing is said about them.
    if (type == "marathon" || type == "relay")
      section.complain("type",
                       fmt::format("{} is not in this version: use {}", *type, kSourceTypes));
    else if (type)
      section.complain("type", fmt::format("'{}' is not known: use {}", *type, kSourceTypes));
    return;
  }
  section.close();
  if (out.name.empty()) out.name = default_source_name(out);
}

// The whole document.
class Reader {
 public:
  Reader(const toml::table& root, std::string_view path) : complaints_(path), root_(root) {}

  Result<Config> read() {
    table("daemon", [&](Section s) { read_daemon(s, config_.daemon); });
    table("dataplane", [&](Section s) { read_dataplane(s, config_.dataplane); });
    table("publish", [&](Section s) { read_publish(s, config_.publish_address); });
    table("drain", [&](Section s) { read_drain(s, config_.drain); });
    table("guard", [&](Section s) { read_guard(s, config_.guard); });
    for (const std::string_view later : {"relay", "api"})
      if (const toml::node* node = root_.get(later))
        complaints_.add(node->source(), later, "is not in this version: leave it out");
    sources();
    unknown_sections();
    if (!complaints_.empty()) return complaints_.error();
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
    const std::vector<std::string_view> known{"daemon", "dataplane", "publish",
                                              "drain",  "guard",     "source"};
    for (const auto& [key, value] : root_) {
      const std::string_view name = key.str();
      if (name == "relay" || name == "api") continue;
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

Result<> check_etcd_endpoint(std::string_view text) {
  const bool url = text.starts_with("http://") || text.starts_with("https://");
  if (url && !text.ends_with("://")) return {};
  return fail(fmt::format("'{}' is no URL: write for example \"http://127.0.0.1:2379\"", text));
}

Result<> check_merlion_prefix(std::string_view text) {
  if (text.starts_with('/') && text.find_first_not_of('/') != std::string_view::npos) return {};
  return fail(
      fmt::format("'{}' is no prefix of a service: write for example \"/conf/merlion/web\"", text));
}

Result<LogLevel> parse_log_level(std::string_view text) { return parse_word(kLogLevels, text); }
Result<DataplaneMode> parse_dataplane_mode(std::string_view text) {
  return parse_word(kModes, text);
}
std::string_view to_string(LogLevel level) { return name_of(kLogLevels, level); }
std::string_view to_string(DataplaneMode mode) { return name_of(kModes, mode); }

std::string default_source_name(const SourceConfig& source) {
  if (const auto* file = std::get_if<FileSourceConfig>(&source.settings))
    return "file:" + file->path;
  const auto& endpoints = std::get<EtcdSourceConfig>(source.settings).access.endpoints;
  return "etcd:" + (endpoints.empty() ? std::string() : endpoints.front());
}

}  // namespace lb
