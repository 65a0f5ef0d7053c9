#include "marathon/answer.h"

#include <algorithm>
#include <cctype>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/foreign_json.h"
#include "base/text.h"

namespace lb::marathon {
namespace {

constexpr std::size_t kLongest = 120;
constexpr std::size_t kReadable = 64 * 1024;  // of a body that explains itself

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

// Lines of a page become one.
std::string one_line(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool blank = c == ' ' || c == '\n' || c == '\r' || c == '\t';
    if (!blank)
      out += c;
    else if (!out.empty() && out.back() != ' ')
      out += ' ';
  }
  while (out.ends_with(' ')) out.pop_back();
  return printable(out, kLongest);
}

std::string text_member(std::string_view body, const char* key) {
  const auto json = parse_json(body).value_or(nlohmann::json());
  if (!json.is_object()) return {};
  const auto it = json.find(key);
  return it != json.end() && it->is_string() ? it->get<std::string>() : std::string();
}

std::string_view host_of(std::string_view origin) { return origin.substr(origin.find("//") + 2); }

}  // namespace

std::string reason_in(std::string_view body) {
  body = body.substr(0, kReadable);
  if (const std::string message = text_member(body, "message"); !message.empty())
    return one_line(message);
  const std::string small = lower(body);
  const auto begin = small.find("<title>");
  const auto end = small.find("</title>");
  if (begin != std::string::npos && end != std::string::npos && begin + 7 <= end)
    return one_line(body.substr(begin + 7, end - begin - 7));
  return one_line(body);
}

std::optional<std::string> origin_of(std::string_view url) {
  const std::string scheme = lower(url.substr(0, url.find("://")));
  if (scheme != "http" && scheme != "https") return std::nullopt;
  if (url.size() < scheme.size() + 4) return std::nullopt;
  const std::string_view rest = url.substr(scheme.size() + 3);
  std::string host = lower(rest.substr(0, rest.find_first_of("/?#")));
  if (host.empty() || host.find_first_of("@\\ ") != std::string::npos) return std::nullopt;
  const auto colon = host.rfind(':');
  const auto bracket = host.rfind(']');
  const bool has_port =
      colon != std::string::npos && (bracket == std::string::npos || colon > bracket);
  if (!has_port) host += scheme == "https" ? ":443" : ":80";
  return scheme + "://" + host;
}

std::optional<std::string> follow(std::string_view location, std::string_view from,
                                  const std::vector<std::string>& endpoints,
                                  std::string_view leader) {
  const auto target = origin_of(location);
  if (!target) return std::nullopt;
  for (const std::string& endpoint : endpoints)
    if (origin_of(endpoint) == target) return endpoint;
  const bool named = !leader.empty() && host_of(*target) == lower(leader);
  const bool encrypted = target->starts_with("https:") || lower(from).starts_with("http:");
  if (named && encrypted) return target;
  return std::nullopt;
}

bool denies_app(std::string_view body, std::string_view id) {
  const std::string message = text_member(body.substr(0, kReadable), "message");
  return message.find(fmt::format("'{}'", id)) != std::string::npos &&
         message.find("not exist") != std::string::npos;
}

bool is_plain_id(std::string_view id) {
  return id.size() > 1 && id.front() == '/' && std::all_of(id.begin(), id.end(), [](char c) {
           return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '-' ||
                  c == '_' || c == '/';
         });
}

std::string leader_in(std::string_view body) {
  std::string out = text_member(body.substr(0, kReadable), "leader");
  if (!origin_of("http://" + out)) out.clear();
  return out;
}

std::string label_query(std::string_view label) {
  std::string out = "label=";
  const auto plain = [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
  };
  for (const char c : label) {
    const auto byte = static_cast<unsigned char>(c);
    if (plain(byte))
      out += c;
    else  // a byte of a longer character is none of the selector's own
      out += fmt::format("{}%{:02X}", byte < 0x80 ? "%5C" : "", byte);
  }
  return out;
}

}  // namespace lb::marathon
