#include "etcd/v2_codec.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <limits>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/foreign_json.h"
#include "base/text.h"
#include "etcd/v2_tree.h"

namespace lb::etcd::v2 {
namespace {

using nlohmann::json;

constexpr std::size_t kLongestText = 200;  // of foreign words in a message
constexpr JsonLimits kRefusal{.depth = 32, .memory = std::size_t{1} << 20};

template <class Int>
bool parse_number(std::string_view text, Int& out, int base = 10) {
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), out, base);
  return ec == std::errc{} && end == text.data() + text.size() && !text.empty();
}

[[noreturn]] void refuse(const std::string& what) {
  throw json::other_error::create(501, what, nullptr);
}

// Missing is 0; a number may come as text, as v3's do.
std::int64_t number(const json& object, const char* name) {
  const auto it = object.find(name);
  if (it == object.end()) return 0;
  std::int64_t value = 0;
  if (it->is_number_unsigned()) {
    const auto wide = it->get<std::uint64_t>();
    if (wide <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
      return static_cast<std::int64_t>(wide);
  } else if (it->is_string() && parse_number(it->get_ref<const std::string&>(), value) &&
             value >= 0) {
    return value;
  }
  refuse(fmt::format("{} is not a number of etcd's", name));
}

std::string text(const json& object, const char* name) {
  const auto it = object.find(name);
  return it == object.end() || it->is_null() ? std::string() : it->get<std::string>();
}

bool is_directory(const json& node) {
  const auto it = node.find("dir");
  return node.contains("nodes") || (it != node.end() && it->is_boolean() && it->get<bool>());
}

bool has_ttl(const json& node) { return node.contains("ttl") || node.contains("expiration"); }

KeyValue read_kv(const json& node) {
  KeyValue out{text(node, "key"), text(node, "value"), number(node, "modifiedIndex"),
               has_ttl(node) ? 1 : 0};
  if (!out.key.starts_with('/')) refuse("a node without a key");
  return out;
}

// Whether a directory's end concerns the prefix: it lies below, or it holds the whole prefix. etcd also
// tells of directories whose name merely begins alike.
bool concerns(std::string_view directory, std::string_view prefix) {
  const std::string below = std::string(directory) + "/";
  if (prefix.starts_with(below)) return true;
  return below.starts_with(prefix) && !is_hidden(directory, prefix);
}

tl::unexpected<Error> unreadable(const json::exception& e) {
  return fail(EBADMSG, "cannot be read as an answer of etcd: " + printable(e.what(), kLongestText));
}

Event deletion(const json& root, const KeyValue& node, bool expired) {
  Event out;
  out.is_delete = true;
  out.kv.key = node.key;
  out.kv.mod_revision = node.mod_revision;
  const auto before = root.find("prevNode");
  const bool known = before != root.end() && before->is_object();
  out.previous = known ? read_kv(*before) : KeyValue{node.key, "", 0, 0};
  out.previous->lease = expired ? 1 : 0;
  out.is_directory = is_directory(root.at("node")) || (known && is_directory(*before));
  return out;
}

std::optional<Event> change(const json& root, KeyValue node) {
  const auto before = root.find("prevNode");
  const bool known = before != root.end() && before->is_object();
  if (is_directory(root.at("node"))) {
    // A directory in place of a value: the key has gone. Else nothing that is a key has changed.
    if (known && !is_directory(*before)) {
      Event out = deletion(root, node, false);
      out.is_directory = false;
      return out;
    }
    return std::nullopt;
  }
  Event out;
  if (known) out.previous = read_kv(*before);
  out.kv = std::move(node);
  return out;
}

WatchEvent read_event(const json& root, std::string_view prefix) {
  const std::string action = text(root, "action");
  KeyValue node = read_kv(root.at("node"));
  WatchEvent out{node.mod_revision, std::nullopt};
  if (out.index <= 0) refuse("an event without modifiedIndex");
  if (action == "delete" || action == "compareAndDelete" || action == "expire")
    out.event = deletion(root, node, action == "expire");
  else if (action == "set" || action == "create" || action == "update" ||
           action == "compareAndSwap")
    out.event = change(root, std::move(node));
  else
    refuse("an event with the action '" + printable(action) + "'");
  if (!out.event) return out;
  const std::string& key = out.event->kv.key;
  const bool wanted = out.event->is_directory ? concerns(key, prefix)
                                              : key.starts_with(prefix) && !is_hidden(key, prefix);
  if (!wanted) out.event.reset();
  return out;
}

std::string percent_encode(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '_' || c == '.' || c == '~';
    if (plain)
      out += c;
    else
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

std::string words_of(const json& body) {
  if (!body.is_object()) return {};
  std::string out;
  for (const char* name : {"message", "cause"})
    if (const auto it = body.find(name); it != body.end() && it->is_string())
      out += (out.empty() ? "" : ": ") + printable(it->get_ref<const std::string&>(), kLongestText);
  return out;
}

// nullopt: there is nothing at that key.
Result<std::optional<Tree>> parse_tree(const Answer& answer, std::string_view prefix) {
  if (answer.status == 404 && error_code(answer.body) == kKeyNotFound) return std::optional<Tree>();
  if (answer.status != 200) return tl::unexpected(failure(answer));
  LB_CHECK(parse_header(answer));  // before the text: a stranger's 200 is HTML more often than JSON
  LB_TRY(Tree tree, read_tree(answer.body, prefix));
  return std::optional(std::move(tree));
}

}  // namespace

Result<std::string> key_path(std::string_view key) {
  if (!key.starts_with('/'))
    return fail(EINVAL, fmt::format("'{}' is not a key of etcd's v2 API: those start with '/'",
                                    printable(key)));
  std::string out = "/v2/keys";
  for (std::string_view rest = key.substr(1);;) {
    const auto slash = rest.find('/');
    const std::string_view segment = rest.substr(0, slash);
    const bool last = slash == std::string_view::npos;
    if (segment == "." || segment == ".." || (segment.empty() && !last))
      return fail(EINVAL, fmt::format("'{}' is not a key of etcd's v2 API: it has a segment '{}'",
                                      printable(key), segment));
    out += '/' + percent_encode(segment);
    if (last) return out;
    rest.remove_prefix(slash + 1);
  }
}

Result<std::string> directory_path(std::string_view prefix) {
  if (prefix.empty()) return key_path("/");
  return key_path(prefix.starts_with('/') ? prefix.substr(0, prefix.rfind('/') + 1) : prefix);
}

std::string value_form(std::string_view value, std::chrono::seconds ttl) {
  std::string out = "value=" + percent_encode(value);
  if (ttl.count() > 0) out += fmt::format("&ttl={}", ttl.count());
  return out;
}

std::string create_form(std::string_view value, std::chrono::seconds ttl) {
  return value_form(value, ttl) + "&prevExist=false";
}

std::string refresh_form(std::chrono::seconds ttl) {
  return fmt::format("refresh=true&prevExist=true&ttl={}", ttl.count());
}

int error_code(std::string_view body) {
  const json parsed = parse_json(body, kRefusal).value_or(json());
  if (!parsed.is_object()) return 0;
  const auto it = parsed.find("errorCode");
  if (it == parsed.end() || !it->is_number_unsigned()) return 0;
  const auto code = it->get<std::uint64_t>();
  return code < 10'000 ? static_cast<int>(code) : 0;
}

Error failure(const Answer& answer) {
  const json parsed = parse_json(answer.body, kRefusal).value_or(json());
  const int code = error_code(answer.body);
  const auto error = [&answer](int err, const std::string& what) {
    return Error{std::error_code(err, std::generic_category()),
                 fmt::format("HTTP status {}: {}", answer.status, what)};
  };
  const std::string said = words_of(parsed);
  if (answer.status == 404 && answer.body.starts_with("404 page not found"))
    return error(ENOTSUP, "etcd's v2 API is not there: off (--enable-v2) or removed (etcd 3.6)");
  constexpr int kUnauthorized = 110;
  if (answer.status == 401 || code == kUnauthorized || (answer.status == 403 && code == 0))
    return error(EACCES, (said.empty() ? printable(answer.body) : said) +
                             "; check username and password_file, and the roles of that user in "
                             "etcd's v2 access control (not the one of v3)");
  if (code == kEventIndexCleared) return error(ESTALE, said);
  if (code != 0) return error(EREMOTEIO, fmt::format("{} (etcd's error {})", said, code));
  if (!said.empty()) return error(EREMOTEIO, said);
  return error(EBADMSG, fmt::format("'{}' is no answer of etcd: check what listens there",
                                    printable(answer.body)));
}

Result<Header> parse_header(const Answer& answer) {
  Header out;
  if (!parse_number(answer.cluster, out.cluster, 16))
    return fail(EBADMSG, fmt::format("X-Etcd-Cluster-Id is '{}': this is no answer of etcd ('{}')",
                                     printable(answer.cluster), printable(answer.body)));
  if (!parse_number(answer.index, out.revision) || out.revision < 0)
    return fail(EBADMSG, fmt::format("X-Etcd-Index is '{}': this is no answer of etcd ('{}')",
                                     printable(answer.index), printable(answer.body)));
  return out;
}

Result<Listing> parse_listing(const Answer& answer, std::string_view prefix) {
  LB_TRY(std::optional<Tree> tree, parse_tree(answer, prefix));
  Listing out;
  LB_TRY(out.header, parse_header(answer));
  if (tree) out.kvs = std::move(tree->kvs);
  std::sort(out.kvs.begin(), out.kvs.end(),
            [](const KeyValue& a, const KeyValue& b) { return a.key < b.key; });
  return out;
}

Result<std::optional<bool>> parse_presence(const Answer& answer, std::string_view prefix) {
  LB_TRY(const std::optional<Tree> tree, parse_tree(answer, prefix));
  LB_CHECK(parse_header(answer));
  if (!tree) return std::optional(false);
  if (!tree->kvs.empty()) return std::optional(true);
  if (!tree->is_directory || tree->entries == 0) return std::optional(false);
  return std::optional<bool>();
}

Result<bool> parse_is_directory(const Answer& answer) {
  LB_TRY(const std::optional<Tree> tree, parse_tree(answer, "/"));
  LB_CHECK(parse_header(answer));
  return tree && tree->is_directory;
}

Result<WatchEvent> parse_watch_event(std::string_view body, std::string_view prefix) {
  const Result<json> root = parse_json(body);
  if (!root)
    return fail(root.error().code, "cannot be read as an answer of etcd: " + root.error().context);
  try {
    return read_event(*root, prefix);
  } catch (const json::exception& e) {
    return unreadable(e);
  }
}

}  // namespace lb::etcd::v2
