#include "etcd/v3_json.h"

#include <charconv>

#include <fmt/format.h>

#include "base/text.h"

namespace lb::etcd {
namespace {

// protobuf's JSON writes 64-bit numbers as strings; gateways of other versions as numbers.
template <class Int>
Int number(const json& object, const char* name) {
  const auto it = object.find(name);
  if (it == object.end()) return 0;
  if (it->is_number_integer()) return it->get<Int>();
  Int value = 0;
  const auto& text = it->get_ref<const std::string&>();
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec != std::errc{} || end != text.data() + text.size())
    throw json::other_error::create(501, fmt::format("{} is not a number", name), &object);
  return value;
}

std::string bytes(const json& object, const char* name) {
  const auto it = object.find(name);
  if (it == object.end()) return {};
  auto decoded = base64_decode(it->get_ref<const std::string&>());
  if (!decoded) throw json::other_error::create(501, decoded.error().message(), &object);
  return std::move(*decoded);
}

}  // namespace

std::int64_t json_int(const json& object, const char* name) {
  return number<std::int64_t>(object, name);
}

bool json_flag(const json& object, const char* name) {
  const auto it = object.find(name);
  return it != object.end() && it->is_boolean() && it->get<bool>();
}

std::string json_text(const json& object, const char* name) {
  const auto it = object.find(name);
  if (it == object.end() || !it->is_string()) return {};
  return printable(it->get<std::string>(), 200);
}

Header json_header(const json& message) {
  const auto it = message.find("header");
  if (it == message.end()) return {};
  return {number<std::uint64_t>(*it, "cluster_id"), json_int(*it, "revision")};
}

KeyValue json_kv(const json& kv) {
  (void)kv.at("key");  // throws: there are no keys without a name
  return {bytes(kv, "key"), bytes(kv, "value"), json_int(kv, "mod_revision"),
          json_int(kv, "lease")};
}

std::string json_error(const json& body) {
  if (!body.is_object()) return {};
  if (auto message = json_text(body, "message"); !message.empty()) return message;
  if (auto error = json_text(body, "error"); !error.empty()) return error;
  const auto it = body.find("error");
  return it != body.end() && it->is_object() ? json_text(*it, "message") : std::string();
}

Error no_etcd(std::string_view body, std::string_view why) {
  const auto code = std::error_code(EBADMSG, std::generic_category());
  if (body.empty()) return {code, "an empty answer; is this etcd?"};
  if (body.front() != '{')
    return {code, fmt::format("'{}' is no answer of etcd's; is this etcd?", printable(body, 60))};
  return {code, "the answer cannot be read, is this etcd? " + printable(why, 200)};
}

}  // namespace lb::etcd
