#include "etcd/v3_codec.h"

#include <cerrno>
#include <charconv>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/text.h"

namespace lb::etcd {
namespace {

using nlohmann::json;

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

bool flag(const json& object, const char* name) {
  const auto it = object.find(name);
  return it != object.end() && it->is_boolean() && it->get<bool>();
}

std::string bytes(const json& object, const char* name) {
  const auto it = object.find(name);
  if (it == object.end()) return {};
  auto decoded = base64_decode(it->get_ref<const std::string&>());
  if (!decoded) throw json::other_error::create(501, decoded.error().message(), &object);
  return std::move(*decoded);
}

Header read_header(const json& message) {
  const auto it = message.find("header");
  if (it == message.end()) return {};
  return {number<std::uint64_t>(*it, "cluster_id"), number<std::int64_t>(*it, "revision")};
}

KeyValue read_kv(const json& kv) {
  return {bytes(kv, "key"), bytes(kv, "value"), number<std::int64_t>(kv, "mod_revision"),
          number<std::int64_t>(kv, "lease")};
}

Event read_event(const json& event) {
  Event out;
  const auto type = event.find("type");  // missing: PUT
  out.is_delete = type != event.end() && *type == "DELETE";
  out.kv = read_kv(event.at("kv"));
  if (const auto it = event.find("prev_kv"); it != event.end()) out.previous = read_kv(*it);
  return out;
}

// "error" is a text in answers, an object in streams, and gone from 3.6 on.
std::string error_of(const json& body) {
  const auto text = [](const json& object, const char* name) {
    const auto it = object.find(name);
    return it != object.end() && it->is_string() ? printable(it->get<std::string>(), 200)
                                                 : std::string();
  };
  if (!body.is_object()) return {};
  if (auto message = text(body, "message"); !message.empty()) return message;
  if (auto error = text(body, "error"); !error.empty()) return error;
  const auto it = body.find("error");
  return it != body.end() && it->is_object() ? text(*it, "message") : std::string();
}

WatchMessage read_watch(const json& root) {
  WatchMessage out;
  const auto result = root.find("result");
  if (result == root.end()) {
    out.canceled = true;
    out.reason = error_of(root);
    if (out.reason.empty()) out.reason = "neither result nor error: " + printable(root.dump());
    return out;
  }
  out.header = read_header(*result);
  out.created = flag(*result, "created");
  out.canceled = flag(*result, "canceled");
  out.watch_id = number<std::int64_t>(*result, "watch_id");
  out.compact_revision = number<std::int64_t>(*result, "compact_revision");
  if (const auto it = result->find("cancel_reason"); it != result->end() && it->is_string())
    out.reason = printable(it->get<std::string>(), 200);
  if (const auto it = result->find("events"); it != result->end())
    for (const json& event : *it) out.events.push_back(read_event(event));
  return out;
}

}  // namespace

std::string prefix_end(std::string_view prefix) {
  std::string end(prefix);
  while (!end.empty()) {
    const auto last = static_cast<unsigned char>(end.back());
    if (last != 0xff) {
      end.back() = static_cast<char>(last + 1);
      return end;
    }
    end.pop_back();
  }
  return std::string(1, '\0');  // all keys
}

std::string range_request(std::string_view prefix) {
  return json{{"key", base64_encode(prefix)}, {"range_end", base64_encode(prefix_end(prefix))}}
      .dump();
}

std::string watch_request(const std::vector<WatchRequest>& watches) {
  std::string out;
  for (const WatchRequest& watch : watches) {
    const json create{{"key", base64_encode(watch.prefix)},
                      {"range_end", base64_encode(prefix_end(watch.prefix))},
                      {"start_revision", std::to_string(watch.start_revision)},
                      {"progress_notify", true},
                      {"prev_kv", true}};
    out += json{{"create_request", create}}.dump() + "\n";
  }
  return out;
}

std::string error_text(int status, std::string_view body) {
  const json parsed = json::parse(body, nullptr, false);
  std::string text = error_of(parsed);
  if (text.empty()) text = printable(body);
  return text.empty() ? fmt::format("HTTP status {}", status)
                      : fmt::format("HTTP status {}: {}", status, text);
}

Result<RangeResponse> parse_range(int status, std::string_view body) {
  if (status != 200) return fail(EREMOTEIO, error_text(status, body));
  try {
    const json root = json::parse(body);
    RangeResponse out;
    out.header = read_header(root);
    // Also what tells an answer of etcd from any other JSON object.
    if (out.header.revision == 0) return fail(EBADMSG, "no revision in the answer of a range");
    out.more = flag(root, "more");
    if (const auto it = root.find("kvs"); it != root.end())
      for (const json& kv : *it) out.kvs.push_back(read_kv(kv));
    return out;
  } catch (const json::exception& e) {
    return fail(EBADMSG, fmt::format("answer of a range: {}", printable(e.what(), 200)));
  }
}

Result<WatchMessage> parse_watch_message(std::string_view line) {
  try {
    return read_watch(json::parse(line));
  } catch (const json::exception& e) {
    return fail(EBADMSG, fmt::format("watch message: {}", printable(e.what(), 200)));
  }
}

Result<std::vector<std::string>> LineSplitter::feed(std::string_view bytes) {
  std::vector<std::string> lines;
  for (;;) {
    const auto newline = bytes.find('\n');
    rest_.append(bytes.substr(0, newline));
    if (rest_.size() > limit_)
      return fail(EMSGSIZE, fmt::format("watch message of more than {} bytes", limit_));
    if (newline == std::string_view::npos) return lines;
    if (!rest_.empty()) lines.push_back(std::exchange(rest_, {}));
    bytes.remove_prefix(newline + 1);
  }
}

}  // namespace lb::etcd
