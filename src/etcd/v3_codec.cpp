#include "etcd/v3_codec.h"

#include <cerrno>
#include <charconv>

#include <fmt/format.h>

#include "base/text.h"
#include "etcd/v3_json.h"

namespace lb::etcd {
namespace {

bool has(std::string_view text, std::string_view words) {
  return text.find(words) != std::string_view::npos;
}

template <std::size_t N>
bool has_any(std::string_view text, const std::string_view (&words)[N]) {
  for (const std::string_view one : words)
    if (has(text, one)) return true;
  return false;
}

// What gRPC's codes mean in etcd's answers.
constexpr int kDeadlineExceeded = 4;
constexpr int kPermissionDenied = 7;
constexpr int kOutOfRange = 11;  // compacted, or a future revision
constexpr int kUnauthenticated = 16;

// The last one: permissions were changed after the token was given.
constexpr std::string_view kTokenWords[] = {"invalid auth token", "user name is empty",
                                            "revision of auth store is old"};
constexpr std::string_view kAccessWords[] = {"permission denied", "invalid user ID or password",
                                             "CommonName of client sending a request"};
constexpr std::string_view kStaleWords[] = {"has been compacted", "is a future revision"};
constexpr std::string_view kLateWords[] = {"request timed out", "context deadline exceeded"};

int errno_of(int grpc, std::string_view words) {
  if (grpc == kPermissionDenied || grpc == kUnauthenticated) return EACCES;
  if (has_any(words, kTokenWords) || has_any(words, kAccessWords)) return EACCES;
  if (grpc == kOutOfRange || has_any(words, kStaleWords)) return ESTALE;
  if (has(words, "lease not found")) return ENOENT;
  if (has(words, "database space exceeded")) return ENOSPC;
  if (grpc == kDeadlineExceeded || has_any(words, kLateWords)) return ETIMEDOUT;
  return EREMOTEIO;
}

// What to do, where etcd's words do not say it.
std::string hint_for(std::string_view words) {
  if (has(words, "CommonName of client sending a request"))
    return "; while etcd's authentication is on, its gateway refuses client certificates with a "
           "CommonName: give lbd a `cert` whose subject has no CN (names as subjectAltName)";
  if (has(words, "HTTP request to an HTTPS server"))
    return "; the endpoint must be an https:// URL";
  if (has(words, "user name is empty"))
    return "; etcd's authentication is on: set `username` and `password_file`";
  return {};
}

Refusal refusal(int code, int grpc, std::string text, std::string_view words) {
  const bool token = grpc == kUnauthenticated || has_any(words, kTokenWords);
  text += hint_for(words);
  return {{std::error_code(code, std::generic_category()), std::move(text)}, token};
}

json range_of(std::string_view key, std::string_view end) {
  json out{{"key", base64_encode(key)}};
  if (!end.empty()) out["range_end"] = base64_encode(end);
  return out;
}

json put_of(std::string_view key, std::string_view value, std::int64_t lease) {
  json out{{"key", base64_encode(key)}, {"value", base64_encode(value)}};
  if (lease != 0) out["lease"] = std::to_string(lease);
  return out;
}

// A header is also what tells an answer of etcd from any other JSON object.
Result<Header> checked_header(const json& root) {
  const Header header = json_header(root);
  if (header.cluster == 0) return fail(EBADMSG, "an answer without etcd's header; is this etcd?");
  return header;
}

}  // namespace

std::string prefix_begin(std::string_view prefix) {
  return prefix.empty() ? std::string(1, '\0') : std::string(prefix);  // etcd knows no empty key
}

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

std::string range_request(const RangeQuery& query) {
  json out = range_of(query.key, query.end);
  if (query.revision != 0) out["revision"] = std::to_string(query.revision);
  if (query.limit != 0) out["limit"] = std::to_string(query.limit);
  if (query.keys_only) out["keys_only"] = true;
  if (query.count_only) out["count_only"] = true;
  return out.dump();
}

std::string put_request(std::string_view key, std::string_view value, std::int64_t lease) {
  return put_of(key, value, lease).dump();
}

std::string create_request(std::string_view key, std::string_view value, std::int64_t lease) {
  const json absent{
      {"result", "EQUAL"}, {"target", "VERSION"}, {"key", base64_encode(key)}, {"version", "0"}};
  return json{{"compare", json::array({absent})},
              {"success", json::array({json{{"request_put", put_of(key, value, lease)}}})}}
      .dump();
}

std::string remove_request(std::string_view key, std::string_view end) {
  return range_of(key, end).dump();
}

std::string grant_request(std::chrono::seconds ttl) {
  return json{{"TTL", std::to_string(ttl.count())}}.dump();
}

std::string lease_request(std::int64_t lease) { return json{{"ID", std::to_string(lease)}}.dump(); }

std::string authenticate_request(const std::string& user, const std::string& password) {
  // A password in another encoding than UTF-8 cannot be written in JSON: it is wrong, not fatal.
  return json{{"name", user}, {"password", password}}.dump(-1, ' ', false,
                                                           json::error_handler_t::replace);
}

std::string watch_request(const std::vector<WatchRequest>& watches, bool fragments) {
  std::string out;
  for (const WatchRequest& watch : watches) {
    json create = range_of(prefix_begin(watch.prefix), prefix_end(watch.prefix));
    create["start_revision"] = std::to_string(watch.start_revision);
    create["progress_notify"] = true;
    create["prev_kv"] = true;
    if (fragments) create["fragment"] = true;
    out += json{{"create_request", create}}.dump() + "\n";
  }
  return out;
}

Result<Gateway> parse_version(std::string_view body) {
  if (body.starts_with("etcd 0.") || body.starts_with("etcd 2."))
    return fail(ENOTSUP, fmt::format("{} has no v3 API", printable(body, 20)));
  return read_json(body, [&](const json& root) -> Result<Gateway> {
    const std::string text = json_text(root, "etcdserver");
    int major = 0;
    int minor = 0;
    const char* const end = text.data() + text.size();
    const auto first = std::from_chars(text.data(), end, major);
    if (first.ec != std::errc{} || first.ptr == end || *first.ptr != '.' ||
        std::from_chars(first.ptr + 1, end, minor).ec != std::errc{})
      return fail(EBADMSG,
                  fmt::format("'{}' names no version of etcd; is this etcd?", printable(body, 60)));
    if (major < 3) return fail(ENOTSUP, fmt::format("etcd {} has no v3 API", text));
    if (major == 3 && minor < 3) return Gateway{"/v3alpha", false};
    if (major == 3 && minor == 3) return Gateway{"/v3beta", false};
    return Gateway{"/v3", true};
  });
}

Result<RangeResponse> parse_range(std::string_view body) {
  return read_json(body, [](const json& root) -> Result<RangeResponse> {
    RangeResponse out;
    LB_TRY(out.header, checked_header(root));
    if (out.header.revision == 0) return fail(EBADMSG, "a range without revision; is this etcd?");
    out.more = json_flag(root, "more");
    if (const auto it = root.find("kvs"); it != root.end())
      for (const json& kv : *it) out.kvs.push_back(json_kv(kv));
    return out;
  });
}

Result<Header> parse_header(std::string_view body) {
  return read_json(body, [](const json& root) { return checked_header(root); });
}

Result<std::string> parse_alarm(std::string_view body) {
  return read_json(body, [](const json& root) -> Result<std::string> {
    LB_CHECK(checked_header(root));
    if (const auto errors = root.find("errors"); errors != root.end())
      for (const json& error : *errors)
        if (error.is_string() && has(error.get_ref<const std::string&>(), "alarm:NOSPACE"))
          return std::string("alarm NOSPACE");
    return std::string();
  });
}

Result<bool> parse_created(std::string_view body) {
  return read_json(body, [](const json& root) -> Result<bool> {
    LB_CHECK(checked_header(root));
    return json_flag(root, "succeeded");
  });
}

Result<Lease> parse_grant(std::string_view body) {
  return read_json(body, [](const json& root) -> Result<Lease> {
    LB_CHECK(checked_header(root));
    const Lease lease{json_int(root, "ID"), std::chrono::seconds(json_int(root, "TTL"))};
    if (lease.id == 0 || lease.ttl.count() <= 0)
      return fail(EBADMSG, "a granted lease without ID or TTL");
    return lease;
  });
}

Result<Header> parse_keep_alive(std::string_view body) {
  return read_json(body, [](const json& root) -> Result<Header> {
    const auto result = root.find("result");
    if (result == root.end()) {
      const std::string words = json_error(root);
      if (words.empty()) return fail(EBADMSG, "neither result nor error; is this etcd?");
      return tl::unexpected(refusal_of(0, words).error);
    }
    LB_TRY(const Header header, checked_header(*result));
    if (json_int(*result, "TTL") <= 0) return fail(ENOENT, "the lease has expired");
    return header;
  });
}

Result<std::string> parse_token(std::string_view body) {
  return read_json(body, [](const json& root) -> Result<std::string> {
    const auto it = root.find("token");
    if (it == root.end() || !it->is_string() || it->get_ref<const std::string&>().empty())
      return fail(EBADMSG, "no token in the answer; is this etcd?");
    auto token = it->get<std::string>();
    // It becomes a line of the header of each request. Never shown, whatever it is.
    if (printable(token, token.size()) != token)
      return fail(EBADMSG, "a token that fits into no header; is this etcd?");
    return token;
  });
}

Refusal parse_refusal(int status, std::string_view body) {
  const json parsed =
      parse_json(body, {.depth = 32, .memory = std::size_t{1} << 20}).value_or(json());
  const std::string said = json_error(parsed);
  const bool html = said.empty() && body.find('<') < 16;
  const std::string words = !said.empty() ? said : printable(body, html ? 60 : 200);
  int grpc = 0;
  if (parsed.is_object())
    if (const auto it = parsed.find("code"); it != parsed.end() && it->is_number_integer())
      grpc = it->get<int>();
  if (status == 401) grpc = kUnauthenticated;
  if (status == 403) grpc = kPermissionDenied;
  int code = errno_of(grpc, words);
  // No etcd word about a 404: the path is unknown. (Newer gateways say so in JSON.)
  if (code == EREMOTEIO && status == 404 && !has(words, "etcdserver"))
    code = ENOTSUP;
  else if (code == EREMOTEIO && status == 504)
    code = ETIMEDOUT;
  else if (code == EREMOTEIO && (html || status < 400))
    code = EBADMSG;
  std::string text = fmt::format("HTTP status {}{}{}", status, words.empty() ? "" : ": ", words);
  if (code == EBADMSG) text += "; is this etcd?";
  if (code == ENOTSUP) text += "; the gateway may be off (--enable-grpc-gateway=false)";
  return refusal(code, grpc, std::move(text), words);
}

Refusal refusal_of(int grpc, std::string_view words) {
  std::string text = printable(words, 200);
  return refusal(errno_of(grpc, text), grpc, text, text);
}

}  // namespace lb::etcd
