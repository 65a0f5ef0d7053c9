#include "state/json_codec.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/foreign_json.h"
#include "base/limits.h"
#include "base/text.h"
#include "model/check_limits.h"

namespace lb {
namespace {

using nlohmann::json;

constexpr int kSnapshotVersion = 1;

std::string_view to_string(Absence absence) {
  return absence == Absence::Believed ? "believed" : "guarded";
}

Result<Absence> parse_absence(std::string_view text) {
  if (text == "believed") return Absence::Believed;
  if (text == "guarded") return Absence::Guarded;
  return fail(fmt::format("'{}' is not believed or guarded", text));
}

// By reference: json's own conversion would copy each string first.
const std::string& text_of(const json& object, const char* key) {
  return object.at(key).get_ref<const std::string&>();
}

// Cut: one text that is too long must not cost the rest of the file.
std::string words_of(const json& object, const char* key) {
  return clipped(text_of(object, key), limits::kText);
}

// get<unsigned>() would turn -1 into a large number.
Result<std::uint32_t> number_from(const json& object, const char* key, std::uint32_t max) {
  const json& value = object.at(key);
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() > max)
    return fail(fmt::format("{} {} is not between 0 and {}", key, value.dump(), max));
  return value.get<std::uint32_t>();
}

// What few services have is written only where it is.
Result<> read_extras(const json& object, Service& out) {
  out.default_address = object.value("default_address", false);
  // One that is out of bounds, as earlier versions took from updaters, costs only itself: the source says it again.
  if (const auto check = object.find("check"); check != object.end())
    if (auto good = check_from_json(*check)) out.check = *std::move(good);
  if (const auto timeout = object.find("drain_timeout"); timeout != object.end()) {
    LB_TRY(out.drain_timeout, bounded_duration(timeout->get_ref<const std::string&>()));
  }
  out.launder = object.value("launder", true);
  return {};
}

Result<Snapshot> snapshot_from(const json& root) {
  Snapshot out;
  LB_TRY(out.absence, parse_absence(text_of(root, "absence")));
  LB_TRY(out.as_of, parse_iso8601(text_of(root, "as_of")));
  out.revision = text_of(root, "revision");
  const auto& services = root.at("services").get_ref<const json::array_t&>();
  out.services.reserve(services.size());
  for (const json& item : services) {
    LB_TRY(Service service, service_from_json(item));
    if (item.contains("check") && !service.check)
      out.warnings.push_back(
          fmt::format("service {}: its saved health check is out of bounds and left out",
                      service.key.to_string()));
    if (!out.services.empty() && !(out.services.back()->key < service.key))
      return fail(
          fmt::format("service {} is out of order or there twice", service.key.to_string()));
    out.services.push_back(std::make_shared<const Service>(std::move(service)));
  }
  return out;
}

// to_json() as text, without the tree in between: saving 100,000 backends happens on the loop, and the
// tree takes ten times as long.
template <class... Args>
void append(std::string& out, fmt::format_string<Args...> format, Args&&... args) {
  fmt::format_to(std::back_inserter(out), format, std::forward<Args>(args)...);
}

void append_quoted(std::string& out, const std::string& text) {
  const bool plain = std::all_of(text.begin(), text.end(), [](char c) {
    return c >= ' ' && c <= '~' && c != '"' && c != '\\';
  });
  if (!plain) {
    out += encode_json(text);
    return;
  }
  out += '"';
  out += text;
  out += '"';
}

void append_backend(std::string& out, const Backend& b) {
  append(out, R"({{"address":"{}","weight":{},"state":"{}","reason":"{}","id":)",
         b.address.to_string(), b.weight, to_string(b.state), to_string(b.reason));
  append_quoted(out, b.id);
  out += R"(,"host":)";
  append_quoted(out, b.host);
  out += R"(,"origin":)";
  append_quoted(out, b.origin);
  if (b.uid) append(out, R"(,"uid":{})", *b.uid);
  out += '}';
}

void append_service(std::string& out, const Service& service) {
  append(out, R"({{"key":"{}","balance":"{}","name":)", service.key.to_string(),
         to_string(service.balance));
  append_quoted(out, service.name);
  out += R"(,"origin":)";
  append_quoted(out, service.origin);
  if (service.default_address) out += R"(,"default_address":true)";
  if (service.check) out += R"(,"check":)" + encode_json(to_json(*service.check));
  if (service.drain_timeout)
    append(out, R"(,"drain_timeout":"{}")", format_duration(*service.drain_timeout));
  if (!service.launder) out += R"(,"launder":false)";
  out += R"(,"backends":[)";
  std::string_view comma;
  for (const Backend& backend : service.backends) {
    out += std::exchange(comma, ",");
    append_backend(out, backend);
  }
  out += "]}";
}

}  // namespace

json to_json(const HealthCheck& check) {
  return {{"type", to_string(check.type)},
          {"path", check.path},
          {"port", check.port},
          {"interval", format_duration(check.interval)},
          {"timeout", format_duration(check.timeout)},
          {"rise", check.rise},
          {"fall", check.fall}};
}

Result<HealthCheck> check_from_json(const json& object) {
  HealthCheck out;
  LB_TRY(out.type, parse_health_check_type(text_of(object, "type")));
  out.path = text_of(object, "path");
  LB_TRY(const std::uint32_t port, number_from(object, "port", 65535));
  out.port = static_cast<Port>(port);
  LB_TRY(out.interval, bounded_duration(text_of(object, "interval")));
  LB_TRY(out.timeout, bounded_duration(text_of(object, "timeout")));
  LB_TRY(out.rise, number_from(object, "rise", check_limits::kMostInARow));
  LB_TRY(out.fall, number_from(object, "fall", check_limits::kMostInARow));
  LB_CHECK(check_limits::validate(out));
  return out;
}

json to_json(const Backend& backend) {
  json out = {{"id", backend.id},
              {"host", backend.host},
              {"address", backend.address.to_string()},
              {"weight", backend.weight},
              {"origin", backend.origin},
              {"state", to_string(backend.state)},
              {"reason", to_string(backend.reason)}};
  if (backend.uid) out["uid"] = *backend.uid;
  return out;
}

json to_json(const Service& service) {
  json backends = json::array();
  for (const Backend& backend : service.backends) backends.push_back(to_json(backend));
  json out = {{"key", service.key.to_string()},
              {"name", service.name},
              {"balance", to_string(service.balance)},
              {"origin", service.origin},
              {"backends", std::move(backends)}};
  if (service.default_address) out["default_address"] = true;
  if (service.check) out["check"] = to_json(*service.check);
  if (service.drain_timeout) out["drain_timeout"] = format_duration(*service.drain_timeout);
  if (!service.launder) out["launder"] = false;
  return out;
}

Result<Backend> backend_from_json(const json& value) {
  Backend out;
  out.id = words_of(value, "id");
  out.host = words_of(value, "host");
  out.origin = words_of(value, "origin");
  LB_TRY(out.address, Address::parse(text_of(value, "address")));
  LB_TRY(out.weight, number_from(value, "weight", kMaxWeight));
  LB_TRY(out.state, parse_backend_state(text_of(value, "state")));
  LB_TRY(out.reason, parse_reason(text_of(value, "reason")));
  if (value.contains("uid")) {
    LB_TRY(out.uid, number_from(value, "uid", kLargestId));
  }
  return out;
}

Result<Service> service_from_json(const json& value) {
  Service out;
  LB_TRY(out.key, ServiceKey::parse(text_of(value, "key")));
  out.name = words_of(value, "name");
  out.origin = words_of(value, "origin");
  LB_TRY(out.balance, parse_balance(text_of(value, "balance")));
  LB_CHECK(read_extras(value, out));
  for (const json& item : value.at("backends").get_ref<const json::array_t&>()) {
    LB_TRY(Backend backend, backend_from_json(item));
    if (!out.backends.empty() && !(out.backends.back().address < backend.address))
      return fail(fmt::format("backend {} of service {} is out of order or there twice",
                              backend.address.to_string(), out.key.to_string()));
    out.backends.push_back(std::move(backend));
  }
  return out;
}

Result<> decode_json(std::string_view text, int version,
                     const std::function<Result<>(const json&)>& read) {
  // A file of lbd's own, of a hundred thousand backends.
  constexpr JsonLimits kSaved{.depth = 32, .memory = std::size_t{1} << 30};
  const Result<json> parsed = parse_json(text, kSaved);
  if (!parsed) return fail("is not what this lbd writes: " + parsed.error().context);
  const json& root = *parsed;
  try {
    if (!root.is_object()) return fail("is no JSON object");
    const auto found = root.find("version");
    if (found == root.end() || !found->is_number_integer()) return fail("has no version");
    if (*found != version)
      return fail(fmt::format("has version {}, this lbd reads {}", found->dump(), version));
    return read(root);
  } catch (const json::exception& error) {
    return fail(fmt::format("is not what this lbd writes: {}", error.what()));
  }
}

std::string encode_json(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string encode_snapshot(const Snapshot& snapshot) {
  std::string out;
  append(out, R"({{"version":{},"absence":"{}","as_of":"{}","revision":)", kSnapshotVersion,
         to_string(snapshot.absence), format_iso8601(snapshot.as_of));
  append_quoted(out, snapshot.revision);
  out += R"(,"services":[)";
  std::string_view comma;
  for (const ServicePtr& service : snapshot.services) {
    out += std::exchange(comma, ",\n");
    append_service(out, *service);
  }
  out += "]}";
  return out;
}

Result<Snapshot> decode_snapshot(std::string_view text) {
  Snapshot out;
  LB_CHECK(decode_json(text, kSnapshotVersion, [&](const json& root) -> Result<> {
    LB_TRY(out, snapshot_from(root));
    return {};
  }));
  return out;
}

}  // namespace lb
