#include "sources/merlion_schema.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cstdint>
#include <optional>
#include <span>

#include <fmt/format.h>

#include "base/text.h"
#include "base/words.h"
#include "model/host_address.h"

namespace lb {
namespace {

// Long before anything here overflows, and longer than any process runs.
constexpr std::int64_t kMaxFreshness = 10LL * 365 * 86400;

// The last one is read by nothing, and written by Merlion's own script.
constexpr std::array<std::string_view, 6> kConfigKeys{"upstream-service-etcd-prefix",
                                                      "listen-address",
                                                      "upstream-freshness",
                                                      "state-etcd-prefix",
                                                      "log-level",
                                                      "log-format"};
constexpr std::array<std::string_view, 3> kBackendKeys{"listen-address", "last-seen-at",
                                                       "disabled"};

std::string misspelt(std::string_view key, std::span<const std::string_view> known) {
  if (std::find(known.begin(), known.end(), key) != known.end()) return {};
  const std::string_view meant = nearest(key, known);
  if (meant.empty()) return {};
  return fmt::format("is no key of Merlion's and means nothing: did you mean {}?", meant);
}

std::optional<int> digits(std::string_view text) {
  int value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + (c - '0');
  }
  return text.empty() ? std::nullopt : std::optional<int>(value);
}

// Takes `mark` and two digits from the front. Nothing taken: nothing there.
std::optional<int> take_field(std::string_view& text, char mark) {
  if (text.size() < 3 || text.front() != mark) return std::nullopt;
  const auto value = digits(text.substr(1, 2));
  if (value) text.remove_prefix(3);
  return value;
}

struct Fields {
  int year = 0;
  int month = 1;
  int day = 1;
  int hour = 0;
  int minute = 0;
  int second = 0;
  int milliseconds = 0;
};

// ".123456" or ",123456" to 123; false when there is a dot without digits.
bool take_fraction(std::string_view& text, Fields& out) {
  if (text.empty() || (text.front() != '.' && text.front() != ',')) return true;
  text.remove_prefix(1);
  int scale = 100;
  std::size_t count = 0;
  for (; count < text.size() && text[count] >= '0' && text[count] <= '9'; ++count, scale /= 10)
    out.milliseconds += (text[count] - '0') * scale;
  text.remove_prefix(count);
  return count > 0;
}

// Each field may only follow the one before it.
std::optional<Fields> take_fields(std::string_view text) {
  Fields out;
  const auto year = digits(text.substr(0, 4));
  if (text.size() < 4 || !year) return std::nullopt;
  out.year = *year;
  text.remove_prefix(4);
  struct Step {
    char mark;
    int* field;
  };
  const std::array<Step, 5> steps{{{'-', &out.month},
                                   {'-', &out.day},
                                   {'T', &out.hour},
                                   {':', &out.minute},
                                   {':', &out.second}}};
  std::size_t taken = 0;
  for (; taken < steps.size(); ++taken) {
    const auto value = take_field(text, steps[taken].mark);
    if (!value) break;
    *steps[taken].field = *value;
  }
  if (taken == steps.size() && !take_fraction(text, out)) return std::nullopt;
  return text.empty() ? std::optional<Fields>(out) : std::nullopt;
}

// "+hh:mm", "+hhmm" and "+hh", at the end of a time that has an hour: in "2026-01-31" there is none.
std::string_view offset_of(std::string_view text) {
  const auto from = text.find_first_of("T:");
  const auto sign = text.find_last_of("+- ");
  if (from == std::string_view::npos || sign == std::string_view::npos || sign < from) return {};
  const std::string_view zone = text.substr(sign);
  const bool colon = zone.size() == 6 && zone[3] == ':';
  if (!colon && zone.size() != 5 && zone.size() != 3) return {};
  if (!digits(zone.substr(1, 2))) return {};
  if (zone.size() > 3 && !digits(zone.substr(zone.size() - 2))) return {};
  return zone;
}

// Takes the zone from the back.
std::optional<std::chrono::minutes> take_zone(std::string_view& text) {
  using std::chrono::minutes;
  if (text.ends_with('Z')) {
    text.remove_suffix(1);
    return minutes(0);
  }
  const std::string_view zone = offset_of(text);
  if (zone.empty()) return minutes(0);
  text.remove_suffix(zone.size());
  const int hours = *digits(zone.substr(1, 2));
  const int rest = zone.size() > 3 ? *digits(zone.substr(zone.size() - 2)) : 0;
  if (hours > 23 || rest > 59) return std::nullopt;
  return minutes((hours * 60 + rest) * (zone[0] == '-' ? -1 : 1));
}

// "2026-01-31 12:00:00" to the same with a T.
void put_t(std::string& text) {
  constexpr std::size_t kDate = 10;
  if (text.size() > kDate && (text[kDate] == ' ' || text[kDate] == 't') && text[4] == '-' &&
      text[7] == '-')
    text[kDate] = 'T';
  if (text.ends_with('z')) text.back() = 'Z';
}

Result<std::chrono::seconds> parse_freshness(std::string_view untrimmed) {
  const std::string_view text = trim(untrimmed);
  std::int64_t value = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec != std::errc{} || end != text.data() + text.size())
    return fail(fmt::format("'{}' is not a whole number of seconds", printable(text)));
  return std::chrono::seconds(std::clamp(value, -kMaxFreshness, kMaxFreshness));
}

// What timbre, Merlion's logger, knows.
Result<LogLevel> parse_merlion_log_level(std::string_view text) {
  static const std::map<std::string_view, LogLevel> kLevels{
      {"trace", LogLevel::Trace},    {"debug", LogLevel::Debug}, {"info", LogLevel::Info},
      {"warn", LogLevel::Warn},      {"error", LogLevel::Error}, {"fatal", LogLevel::Critical},
      {"report", LogLevel::Critical}};
  const auto it = kLevels.find(trim(text));
  if (it != kLevels.end()) return it->second;
  return fail(fmt::format("'{}' is not one of trace, debug, info, warn, error, fatal and report",
                          printable(text)));
}

// What is published must not come back as news: every write would cause the next.
Result<std::string> parse_state_prefix(std::string_view text, const std::string& config_prefix,
                                       const std::string& upstream_prefix) {
  std::string out = strip_trailing_slashes(trim(text));
  if (!out.starts_with('/') || printable(out, 2000) != out)
    return fail(fmt::format("'{}' is not a prefix like /state/web", printable(text)));
  for (const std::string& watched : {strip_trailing_slashes(config_prefix), upstream_prefix})
    if (overlaps_state(out, watched))
      return fail(
          fmt::format("'{}' overlaps {}, which is watched: states would come back as news; "
                      "use a prefix of its own",
                      out, printable(watched, 200)));
  return out;
}

}  // namespace

bool overlaps_state(std::string_view state_prefix, std::string_view watched_prefix) {
  const auto is_within = [](std::string_view inner, std::string_view outer) {
    return inner == outer ||
           (inner.starts_with(outer) && inner.substr(outer.size()).front() == '/');
  };
  return is_within(state_prefix, watched_prefix) || is_within(watched_prefix, state_prefix);
}

std::string misspelt_config_key(std::string_view key) { return misspelt(key, kConfigKeys); }

std::string misspelt_backend_key(std::string_view key) { return misspelt(key, kBackendKeys); }

bool is_config_key(std::string_view key) {
  return std::find(kConfigKeys.begin(), kConfigKeys.end(), key) != kConfigKeys.end();
}

bool is_backend_key(std::string_view key) {
  const auto slash = key.find('/');
  if (slash == std::string_view::npos) return false;
  const std::string_view own = key.substr(slash + 1);
  return std::find(kBackendKeys.begin(), kBackendKeys.end(), own) != kBackendKeys.end();
}

std::string strip_trailing_slashes(std::string_view prefix) {
  while (!prefix.empty() && prefix.back() == '/') prefix.remove_suffix(1);
  return std::string(prefix);
}

Result<HostPort> parse_merlion_address(std::string_view untrimmed) {
  const std::string_view text = trim(untrimmed);
  auto parsed = HostPort::parse(text);
  if (!parsed)
    return fail(fmt::format("'{}' is not HOST:PORT with a port from 1 to 65535", printable(text)));
  const bool odd = std::any_of(parsed->host.begin(), parsed->host.end(), [](unsigned char c) {
    return std::isalnum(c) == 0 && c != '.' && c != '-' && c != '_' && c != ':' && c != '*';
  });
  const bool star = parsed->host == "*";
  if (odd || parsed->host.size() > 253 || (!star && parsed->host.find('*') != std::string::npos))
    return fail(fmt::format("'{}' has no usable host name or address", printable(text)));
  if (star) parsed->host = "0.0.0.0";
  return parsed;
}

Result<HostPort> parse_merlion_backend(std::string_view text) {
  LB_TRY(HostPort parsed, parse_merlion_address(text));
  if (const auto ip = IpAddress::parse(parsed.host); ip && !why_no_host(*ip).empty())
    return fail(fmt::format("'{}' is {}: write the address at which this host reaches the backend",
                            printable(trim(text)), why_no_host(*ip)));
  return parsed;
}

bool parse_disabled(std::string_view text) {
  const std::string value = lower(trim(text));
  return !(value.empty() || value == "0" || value == "false" || value == "no" || value == "off");
}

Result<SysTime> parse_last_seen_at(std::string_view text) {
  using namespace std::chrono;
  const auto bad = [&] {
    return fail(fmt::format("'{}' is not a time like 2026-01-31T12:00:00+00:00", printable(text)));
  };
  const std::string_view trimmed = trim(text);
  std::string plain(trimmed.substr(0, 64));
  if (trimmed.size() > plain.size()) return bad();
  put_t(plain);
  if (const auto at = lower(plain).find("%2b"); at != std::string::npos) plain.replace(at, 3, "+");
  std::string_view rest = plain;
  const auto zone = take_zone(rest);
  const auto f = zone ? take_fields(rest) : std::nullopt;
  if (!f) return bad();
  const year_month_day date{year(f->year), month(static_cast<unsigned>(f->month)),
                            day(static_cast<unsigned>(f->day))};
  const int last_second = f->minute == 59 ? 60 : 59;  // a leap second
  if (!date.ok() || f->hour > 23 || f->minute > 59 || f->second > last_second) return bad();
  return SysTime(sys_days(date)) + hours(f->hour) + minutes(f->minute) + seconds(f->second) +
         milliseconds(f->milliseconds) - *zone;
}

Result<MerlionConfig> parse_merlion_config(const std::map<std::string, std::string>& values,
                                           const std::string& prefix) {
  MerlionConfig out;
  const auto named = [&](const char* key, const std::string& what) {
    return fail(fmt::format("etcd key {}/{}: {}", printable(prefix, 200), key, what));
  };
  constexpr const char* kUpstream = "upstream-service-etcd-prefix";
  const auto upstream = values.find(kUpstream);
  if (upstream == values.end())
    return named(kUpstream, "missing: it must name the prefix of the backends");
  out.upstream_prefix = strip_trailing_slashes(trim(upstream->second));
  if (out.upstream_prefix.empty() || printable(out.upstream_prefix, 2000) != out.upstream_prefix)
    return named(kUpstream, fmt::format("'{}' is not a prefix", printable(upstream->second)));
  if (const auto it = values.find("listen-address"); it != values.end()) {
    auto listen = parse_merlion_address(it->second);
    if (!listen) return named("listen-address", listen.error().message());
    const auto ip = IpAddress::parse(listen->host);
    if (ip && !ip->is_unspecified() && !why_no_host(*ip).empty())
      return named("listen-address", fmt::format("'{}' is {}: nothing can listen there",
                                                 printable(trim(it->second)), why_no_host(*ip)));
    out.listen = *listen;
  }
  if (const auto it = values.find("upstream-freshness"); it != values.end()) {
    auto freshness = parse_freshness(it->second);
    if (!freshness) return named("upstream-freshness", freshness.error().message());
    out.freshness = *freshness;
  }
  if (const auto it = values.find("state-etcd-prefix"); it != values.end()) {
    auto state = parse_state_prefix(it->second, prefix, out.upstream_prefix);
    if (!state) return named("state-etcd-prefix", state.error().message());
    out.state_prefix = *state;
  }
  if (const auto it = values.find("log-level"); it != values.end()) {
    auto level = parse_merlion_log_level(it->second);
    if (!level) return named("log-level", level.error().message());
    out.log_level = *level;
  }
  return out;  // misspelt_config_key() is asked about the others
}

}  // namespace lb
