#include "sources/services_file.h"
#include "model/host_address.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <toml++/toml.h>

#include "model/check_limits.h"

namespace lb {
namespace {

using std::chrono::milliseconds;
using namespace std::chrono_literals;

constexpr milliseconds kLongestDrain = std::chrono::days(365);

// Walks one parsed document. Every error is made by at(), so that each names file, line, column and
// key in the same form.
class Reader {
 public:
  Reader(const std::string& path, const FindUser& find_user) : path_(path), find_user_(find_user) {}

  Result<std::vector<Service>> read(const toml::table& root) {
    LB_CHECK(only_keys(root, {"service"}, ""));
    std::vector<Service> out;
    const toml::node* list = root.get("service");
    if (list == nullptr) return out;
    const toml::array* services = list->as_array();
    if (services == nullptr)
      return at(*list, "service", "must be a list of tables: write [[service]], with two brackets");
    std::map<ServiceKey, toml::source_region> seen;
    out.reserve(services->size());
    for (const toml::node& node : *services) {
      LB_TRY(Service service, read_service(node));
      const toml::node& listen = *node.as_table()->get("listen");
      const auto [first, fresh] = seen.emplace(service.key, listen.source());
      if (!fresh)
        return at(listen, "service.listen",
                  fmt::format("{} is already defined in line {}: remove one of the two",
                              service.key.to_string(), first->second.begin.line));
      out.push_back(std::move(service));
    }
    return out;
  }

 private:
  tl::unexpected<Error> at(const toml::source_region& where, std::string_view key,
                           std::string_view what) const {
    return fail(fmt::format("{}:{}:{}: {}{}{}", path_, where.begin.line, where.begin.column, key,
                            key.empty() ? "" : ": ", what));
  }
  tl::unexpected<Error> at(const toml::node& node, std::string_view key,
                           std::string_view what) const {
    return at(node.source(), key, what);
  }

  Result<> only_keys(const toml::table& table, std::initializer_list<std::string_view> known,
                     std::string_view prefix) const {
    for (const auto& [key, value] : table)
      if (std::find(known.begin(), known.end(), key.str()) == known.end())
        return at(key.source(), fmt::format("{}{}", prefix, key.str()),
                  fmt::format("unknown key: use {}", fmt::join(known, ", ")));
    return {};
  }

  // The string under `name`, or `fallback` when the key is not there. nullptr: it must be there.
  Result<std::string> text(const toml::table& table, std::string_view prefix, std::string_view name,
                           const char* fallback) const {
    const std::string key = fmt::format("{}{}", prefix, name);
    const toml::node* node = table.get(name);
    if (node == nullptr && fallback != nullptr) return std::string(fallback);
    if (node == nullptr) return at(table, key, "missing: every entry needs it");
    const auto* value = node->as_string();
    if (value == nullptr) return at(*node, key, "must be a string in quotes");
    if (value->get().empty()) return at(*node, key, "must not be empty");
    const bool control = std::any_of(value->get().begin(), value->get().end(),
                                     [](unsigned char c) { return c < 0x20 || c == 0x7f; });
    if (control) return at(*node, key, "must not contain control characters");
    return value->get();
  }

  Result<Service> read_service(const toml::node& node) const {
    constexpr std::string_view kPrefix = "service.";
    const toml::table* table = node.as_table();
    if (table == nullptr) return at(node, "service", "must be a table: write [[service]]");
    LB_CHECK(only_keys(
        *table, {"name", "listen", "balance", "backends", "health", "drain_timeout", "launder"},
        kPrefix));
    Service service;
    service.origin = path_;
    LB_TRY(const std::string listen, text(*table, kPrefix, "listen", nullptr));
    auto key = ServiceKey::parse(listen);
    if (!key) return at(*table->get("listen"), "service.listen", address_hint(key.error()));
    service.key = *key;
    if (const auto why = why_no_host(key->address); !why.empty() && !key->address.is_unspecified())
      return at(*table->get("listen"), "service.listen",
                fmt::format("'{}' is no address to listen on: it is {}", listen, why));
    LB_TRY(service.name, text(*table, kPrefix, "name", listen.c_str()));
    LB_TRY(const std::string balance, text(*table, kPrefix, "balance", "least-conn"));
    auto method = parse_balance(balance);
    if (!method) return at(*table->get("balance"), "service.balance", method.error().message());
    service.balance = *method;
    LB_TRY(service.backends, read_backends(*table));
    LB_CHECK(read_health(*table, service));
    if (table->contains("drain_timeout")) {
      LB_TRY(service.drain_timeout,
             duration(*table, kPrefix, "drain_timeout", {}, 0ms, kLongestDrain));
    }
    if (const toml::node* launder = table->get("launder")) {
      if (!launder->is_boolean())
        return at(*launder, "service.launder", "must be true or false, without quotes");
      service.launder = *launder->value<bool>();
    }
    return service;
  }

  Result<> read_health(const toml::table& table, Service& service) const {
    constexpr std::string_view kPrefix = "service.health.";
    const toml::node* node = table.get("health");
    if (node == nullptr) return {};
    const toml::table* from = node->as_table();
    if (from == nullptr)
      return at(*node, "service.health",
                "must be a table, as in { type = \"http\", path = \"/\" }");
    if (service.key.protocol != Protocol::Tcp)
      return at(*node, "service.health", "only TCP services can have a health check");
    LB_CHECK(
        only_keys(*from, {"type", "path", "port", "interval", "timeout", "rise", "fall"}, kPrefix));
    HealthCheck check;
    LB_TRY(const std::string type, text(*from, kPrefix, "type", "tcp"));
    auto known = parse_health_check_type(type);
    if (!known) return at(*from->get("type"), "service.health.type", known.error().message());
    check.type = *known;
    LB_TRY(check.path, read_path(*from, check));
    LB_TRY(const auto port, number(*from, kPrefix, "port", check.port, 0, 65535));
    check.port = static_cast<Port>(port);
    LB_TRY(check.interval,
           duration(*from, kPrefix, "interval", check.interval, check_limits::kShortestInterval,
                    check_limits::kLongestInterval));
    LB_TRY(check.timeout, duration(*from, kPrefix, "timeout", check.timeout,
                                   check_limits::kShortestTimeout, check_limits::kLongestTimeout));
    LB_TRY(check.rise, number(*from, kPrefix, "rise", check.rise, 1, check_limits::kMostInARow));
    LB_TRY(check.fall, number(*from, kPrefix, "fall", check.fall, 1, check_limits::kMostInARow));
    service.check = std::move(check);
    return {};
  }

  Result<std::string> read_path(const toml::table& table, const HealthCheck& check) const {
    LB_TRY(std::string path, text(table, "service.health.", "path", "/"));
    const toml::node* node = table.get("path");
    if (node == nullptr) return path;
    if (check.type != HealthCheck::Type::Http)
      return at(*node, "service.health.path", "needs type = \"http\"");
    if (!check_limits::is_path(path))
      return at(*node, "service.health.path",
                fmt::format("'{}' must start with / and be printable ASCII, with neither blanks "
                            "nor #, of at most 1024 bytes",
                            path));
    return path;
  }

  static std::string address_hint(const Error& error) {
    return fmt::format(
        "{} (an IP address and a port, as in 127.0.0.1:8080 or [::1]:8080; names "
        "are not looked up here)",
        error.message());
  }

  Result<std::vector<Backend>> read_backends(const toml::table& service) const {
    const toml::node* node = service.get("backends");
    if (node == nullptr)
      return at(service, "service.backends", "missing: write backends = [] if there are none yet");
    const toml::array* list = node->as_array();
    if (list == nullptr)
      return at(*node, "service.backends",
                "must be a list, as in [ { address = \"10.0.0.2:9002\" } ]");
    std::vector<Backend> out;
    out.reserve(list->size());
    std::set<Address> seen;
    for (const toml::node& entry : *list) {
      LB_TRY(Backend backend, read_backend(entry));
      if (!seen.insert(backend.address).second)
        return at(entry, "service.backends.address",
                  fmt::format("{} is in this service twice: remove one of the two",
                              backend.address.to_string()));
      out.push_back(std::move(backend));
    }
    std::sort(out.begin(), out.end(),
              [](const Backend& a, const Backend& b) { return a.address < b.address; });
    return out;
  }

  Result<Backend> read_backend(const toml::node& node) const {
    constexpr std::string_view kPrefix = "service.backends.";
    const toml::table* table = node.as_table();
    if (table == nullptr)
      return at(node, "service.backends",
                "each entry must be a table, as in { address = \"10.0.0.2:9002\" }");
    LB_CHECK(only_keys(*table, {"address", "weight", "id", "host", "uid"}, kPrefix));
    Backend backend;
    backend.origin = path_;
    LB_TRY(const std::string text_address, text(*table, kPrefix, "address", nullptr));
    auto address = Address::parse(text_address);
    const toml::node& address_node = *table->get("address");
    if (!address)
      return at(address_node, "service.backends.address", address_hint(address.error()));
    if (const auto why = why_no_host(address->ip); !why.empty())
      return at(
          address_node, "service.backends.address",
          fmt::format("'{}' is no address that one can connect to: it is {}", text_address, why));
    backend.address = *address;
    LB_TRY(backend.id, text(*table, kPrefix, "id", address->to_string().c_str()));
    LB_TRY(backend.host, text(*table, kPrefix, "host", address->ip.to_string().c_str()));
    LB_TRY(backend.weight, number(*table, kPrefix, "weight", kDefaultWeight, 0, kMaxWeight));
    LB_TRY(backend.uid, read_uid(*table, kPrefix));
    if (backend.weight == 0) {
      backend.state = BackendState::Draining;
      backend.reason = Reason::Weight;
    }
    return backend;
  }

  // A number, or the name of a user.
  Result<std::optional<Uid>> read_uid(const toml::table& table, std::string_view prefix) const {
    const toml::node* node = table.get("uid");
    if (node == nullptr) return std::nullopt;
    const std::string key = fmt::format("{}uid", prefix);
    if (node->is_integer()) {
      LB_TRY(const Uid uid, number(table, prefix, "uid", 0, 0, kLargestId));
      return uid;
    }
    if (!node->is_string())
      return at(*node, key, "must be a number or the name of a user, as in 1001 or \"postgres\"");
    LB_TRY(const std::string name, text(table, prefix, "uid", nullptr));
    auto uid = parse_id(name);
    if (!uid && find_user_) uid = find_user_(name);
    if (!uid)
      return at(*node, key,
                fmt::format("this host has no user '{}' in /etc/passwd: write a name that is "
                            "there, or a number",
                            name));
    return uid;
  }

  Result<std::uint32_t> number(const toml::table& table, std::string_view prefix,
                               std::string_view name, std::uint32_t fallback, std::int64_t least,
                               std::int64_t most) const {
    const toml::node* node = table.get(name);
    if (node == nullptr) return fallback;
    const std::string key = fmt::format("{}{}", prefix, name);
    const auto* value = node->as_integer();
    if (value == nullptr) return at(*node, key, "must be a whole number without quotes");
    if (value->get() < least || value->get() > most)
      return at(*node, key, fmt::format("{} is not between {} and {}", value->get(), least, most));
    return static_cast<std::uint32_t>(value->get());
  }

  Result<milliseconds> duration(const toml::table& table, std::string_view prefix,
                                std::string_view name, milliseconds fallback, milliseconds least,
                                milliseconds most) const {
    if (!table.contains(name)) return fallback;
    LB_TRY(const std::string value, text(table, prefix, name, nullptr));
    const toml::node& node = *table.get(name);
    const std::string key = fmt::format("{}{}", prefix, name);
    const auto parsed = parse_duration(value);
    if (!parsed) return at(node, key, parsed.error().message());
    if (*parsed < least || *parsed > most)
      return at(node, key,
                fmt::format("'{}' is not between {} and {}", value, format_duration(least),
                            format_duration(most)));
    return *parsed;
  }

  const std::string& path_;
  const FindUser& find_user_;
};

}  // namespace

Result<std::vector<Service>> parse_services_file(std::string_view text, const std::string& path,
                                                 const FindUser& find_user) {
  // More likely a full disk or a half-done copy than the wish to have no services; who wants none
  // writes a comment.
  if (text.empty())
    return fail(
        fmt::format("{}:1:1: the file is empty (0 bytes): write a services file, or a "
                    "comment line if there are to be no services",
                    path));
  try {
    const toml::table root = toml::parse(text, path);
    return Reader(path, find_user).read(root);
  } catch (const toml::parse_error& e) {
    const auto& where = e.source().begin;
    return fail(fmt::format("{}:{}:{}: {}", path, where.line, where.column, e.description()));
  }
}

MergedServices merge_services_files(const std::vector<const ServicesFile*>& files) {
  MergedServices out;
  std::map<ServiceKey, std::pair<ServicePtr, const ServicesFile*>> by_key;
  for (const ServicesFile* file : files)
    for (const ServicePtr& service : file->services) {
      const auto [it, fresh] = by_key.try_emplace(service->key, service, file);
      if (!fresh)
        out.warnings.push_back(fmt::format(
            "{}: service '{}' on {} is ignored, because {} defines that address already: remove "
            "one of the two",
            file->path, service->name, service->key.to_string(), it->second.second->path));
    }
  out.services.reserve(by_key.size());
  for (auto& [key, entry] : by_key) out.services.push_back(std::move(entry.first));
  return out;
}

std::vector<ServicePtr> share_unchanged(std::vector<Service> fresh,
                                        const std::vector<ServicePtr>& old) {
  std::map<ServiceKey, const ServicePtr*> known;
  for (const ServicePtr& service : old) known.emplace(service->key, &service);
  std::vector<ServicePtr> out;
  out.reserve(fresh.size());
  for (Service& service : fresh) {
    const auto it = known.find(service.key);
    if (it != known.end() && **it->second == service)
      out.push_back(*it->second);
    else
      out.push_back(std::make_shared<const Service>(std::move(service)));
  }
  return out;
}

}  // namespace lb
