#include "marathon/labels.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>

#include <fmt/format.h>

#include "base/text.h"
#include "base/time.h"
#include "base/words.h"
#include "model/check_limits.h"
#include "model/host_address.h"

namespace lb::marathon {
namespace {

using Labels = std::map<std::string, std::string>;

constexpr std::array<std::string_view, 11> kNames{
    "BALANCE",        "WEIGHT",      "DRAIN_TIMEOUT", "BIND",
    "HEALTH_CHECK",   "HEALTH_PATH", "HEALTH_PORT",   "HEALTH_INTERVAL",
    "HEALTH_TIMEOUT", "HEALTH_RISE", "HEALTH_FALL"};

// Longer deadlines would overflow the steady clock's nanoseconds, and nobody means them.
constexpr std::chrono::milliseconds kLongest = std::chrono::hours(24 * 365);

std::optional<std::uint32_t> parse_number(std::string_view text) {
  std::uint32_t number = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (ec != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// A label that is there, under the name that counts.
struct Found {
  std::string name;
  std::string_view value;
};

class Reader {
 public:
  Reader(const Labels& labels, std::size_t index, std::vector<std::string>& problems)
      : labels_(labels), index_(index), problems_(problems) {}

  PortSettings read() {
    PortSettings out;
    read_haproxy(out);
    if (const auto label = own("BALANCE")) out.balance = balance(*label, out.balance);
    out.weight = number("WEIGHT", 0, kMaxWeight).value_or(kDefaultWeight);
    out.drain_timeout = duration("DRAIN_TIMEOUT", std::chrono::milliseconds{0}, kLongest);
    if (const auto label = own("BIND")) {
      const auto address = IpAddress::parse(label->value);
      if (address && (address->is_unspecified() || why_no_host(*address).empty()))
        out.bind = *address;
      else
        complain(*label, "an address like 127.0.0.1 or ::1");
    }
    out.check = check();
    return out;
  }

 private:
  [[nodiscard]] std::optional<Found> find(std::string name) const {
    const auto it = labels_.find(name);
    if (it == labels_.end()) return std::nullopt;
    return Found{std::move(name), trim(it->second)};
  }
  [[nodiscard]] std::optional<Found> own(std::string_view name) const {
    if (auto of_port = find(fmt::format("LBD_{}_{}", index_, name))) return of_port;
    return find(fmt::format("LBD_{}", name));
  }
  [[nodiscard]] std::optional<Found> haproxy(std::string_view name) const {
    return find(fmt::format("HAPROXY_{}_{}", index_, name));
  }

  void complain(const Found& label, std::string_view write) {
    problems_.push_back(fmt::format("label {} = '{}' is ignored: write {}",
                                    printable(label.name, 60), printable(label.value, 60), write));
  }

  std::optional<std::uint32_t> number(std::string_view name, std::uint32_t least,
                                      std::uint32_t most) {
    const auto label = own(name);
    if (!label) return std::nullopt;
    const auto value = parse_number(label->value);
    if (value && *value >= least && *value <= most) return value;
    complain(*label, fmt::format("a whole number from {} to {}", least, most));
    return std::nullopt;
  }

  std::optional<std::chrono::milliseconds> duration(std::string_view name,
                                                    std::chrono::milliseconds least,
                                                    std::chrono::milliseconds most) {
    const auto label = own(name);
    if (!label) return std::nullopt;
    const auto value = parse_duration(label->value);
    if (value && *value >= least && *value <= most) return *value;
    complain(*label, fmt::format("a duration from {} to {}, such as 5s", format_duration(least),
                                 format_duration(most)));
    return std::nullopt;
  }

  std::optional<Balance> balance(const Found& label, std::optional<Balance> otherwise) {
    if (const auto value = parse_balance(lower(label.value))) return *value;
    complain(label, "least-conn, p2c, random, round-robin or source-hash");
    return otherwise;
  }

  void read_haproxy(PortSettings& out) {
    if (const auto label = haproxy("ENABLED")) {
      // As marathon-lb, which takes these four and nothing else.
      const std::string value = lower(label->value);
      out.enabled = value == "true" || value == "t" || value == "yes" || value == "y";
      if (!out.enabled && value != "false" && value != "f" && value != "no" && value != "n" &&
          value != "0")
        problems_.push_back(
            fmt::format("label {} = '{}' disables the port: marathon-lb enables "
                        "only true, t, yes and y",
                        printable(label->name, 60), printable(label->value, 60)));
    }
    if (const auto label = haproxy("PORT")) {
      const auto value = parse_number(label->value);
      if (value && *value > 0 && *value <= 65535)
        out.port = static_cast<Port>(*value);
      else
        complain(*label, "a port from 1 to 65535");
    }
    auto group = haproxy("GROUP");
    if (!group) group = find("HAPROXY_GROUP");
    if (group) out.groups = split(group->value);
    if (const auto label = haproxy("BALANCE")) out.balance = haproxy_balance(*label);
  }

  std::optional<Balance> haproxy_balance(const Found& label) {
    const std::string value = lower(label.value);
    if (value == "leastconn") return Balance::LeastConn;
    if (value == "roundrobin" || value == "static-rr") return Balance::RoundRobin;
    if (value == "source") return Balance::SourceHash;
    if (value == "random") return Balance::Random;
    complain(label,
             "roundrobin, leastconn, source or random (lbd does not look into requests), or "
             "LBD_BALANCE");
    return std::nullopt;
  }

  static std::vector<std::string> split(std::string_view list) {
    std::vector<std::string> out;
    while (!list.empty()) {
      const auto comma = std::min(list.find(','), list.size());
      if (const auto word = trim(list.substr(0, comma)); !word.empty()) out.emplace_back(word);
      list.remove_prefix(std::min(comma + 1, list.size()));
    }
    return out;
  }

  // nullopt: no check is wanted. What is beside the type may imply it.
  std::optional<HealthCheck::Type> check_type() {
    const bool path = own("HEALTH_PATH").has_value();
    const bool any = path || own("HEALTH_PORT") || own("HEALTH_INTERVAL") ||
                     own("HEALTH_TIMEOUT") || own("HEALTH_RISE") || own("HEALTH_FALL");
    if (const auto label = own("HEALTH_CHECK")) {
      const std::string value = lower(label->value);
      if (value == "none") return std::nullopt;
      if (const auto type = parse_health_check_type(value)) return *type;
      complain(*label, "tcp, http or none");
    }
    if (!any) return std::nullopt;
    return path ? HealthCheck::Type::Http : HealthCheck::Type::Tcp;
  }

  std::optional<HealthCheck> check() {
    const auto type = check_type();
    if (!type) return std::nullopt;
    HealthCheck out;
    out.type = *type;
    if (const auto label = own("HEALTH_PATH")) read_path(*label, out);
    out.port = static_cast<Port>(number("HEALTH_PORT", 1, 65535).value_or(0));
    out.interval =
        duration("HEALTH_INTERVAL", check_limits::kShortestInterval, check_limits::kLongestInterval)
            .value_or(out.interval);
    out.timeout =
        duration("HEALTH_TIMEOUT", check_limits::kShortestTimeout, check_limits::kLongestTimeout)
            .value_or(out.timeout);
    out.rise = number("HEALTH_RISE", 1, check_limits::kMostInARow).value_or(out.rise);
    out.fall = number("HEALTH_FALL", 1, check_limits::kMostInARow).value_or(out.fall);
    return out;
  }

  void read_path(const Found& label, HealthCheck& out) {
    if (out.type != HealthCheck::Type::Http)
      return complain(label, fmt::format("LBD_HEALTH_CHECK = http beside it, or remove it"));
    if (check_limits::is_path(label.value))
      out.path = std::string(label.value);
    else
      complain(label, "a path like /health, without spaces and #");
  }

  const Labels& labels_;
  const std::size_t index_;
  std::vector<std::string>& problems_;
};

}  // namespace

PortSettings read_labels(const Labels& labels, std::size_t index,
                         std::vector<std::string>& problems) {
  return Reader(labels, index, problems).read();
}

namespace {

// What lbd follows of marathon-lb's labels, behind HAPROXY_{n}_.
constexpr std::array<std::string_view, 4> kFollowed{"ENABLED", "PORT", "GROUP", "BALANCE"};

// What its deployment tool (zdd) keeps for itself asks nothing of a balancer.
bool is_bookkeeping(std::string_view word) {
  return word == "APP_ID" || word.starts_with("DEPLOYMENT_");
}

// Labels of marathon-lb that lbd passes over, in one sentence: an app may have a dozen.
void check_haproxy_names(const Labels& labels, std::vector<std::string>& problems) {
  constexpr std::string_view kPrefix = "HAPROXY_";
  std::string ignored;
  bool binds = false;
  for (auto it = labels.lower_bound(std::string(kPrefix));
       it != labels.end() && it->first.starts_with(kPrefix); ++it) {
    std::string_view word = std::string_view(it->first).substr(kPrefix.size());
    const auto digits = std::min(word.find_first_not_of("0123456789"), word.size());
    const bool indexed = digits > 0 && word.substr(digits).starts_with('_');
    if (indexed) word.remove_prefix(digits + 1);
    if (indexed ? std::find(kFollowed.begin(), kFollowed.end(), word) != kFollowed.end()
                : word == "GROUP" || is_bookkeeping(word))
      continue;
    if (indexed && word == "MODE" && lower(trim(it->second)) == "tcp") continue;
    binds = binds || word == "BIND_ADDR";
    ignored += fmt::format("{}{} = '{}'", ignored.empty() ? "" : ", ", printable(it->first, 60),
                           printable(it->second, 60));
    if (const auto close_by = nearest(word, kFollowed); indexed && !close_by.empty())
      ignored += fmt::format(" (did you mean {}?)", close_by);
  }
  if (ignored.empty()) return;
  problems.push_back(
      fmt::format("ignored: {}: of marathon-lb's labels lbd follows "
                  "HAPROXY_{{n}}_ENABLED, _PORT, _GROUP and _BALANCE{}",
                  ignored, binds ? "; the address to listen on is LBD_BIND" : ""));
}

}  // namespace

void check_label_names(const Labels& labels, std::size_t ports,
                       std::vector<std::string>& problems) {
  check_haproxy_names(labels, problems);
  constexpr std::string_view kPrefix = "LBD_";
  for (auto it = labels.lower_bound(std::string(kPrefix));
       it != labels.end() && it->first.starts_with(kPrefix); ++it) {
    std::string_view word = std::string_view(it->first).substr(kPrefix.size());
    std::string prefix(kPrefix);
    const auto digits = std::min(word.find_first_not_of("0123456789"), word.size());
    if (digits > 0 && word.substr(digits).starts_with('_')) {
      const auto index = parse_number(word.substr(0, digits));
      if (!index || *index >= ports)
        problems.push_back(fmt::format("label {} is ignored: the app has {} port{}, counted from 0",
                                       printable(it->first, 60), ports, ports == 1 ? "" : "s"));
      prefix += fmt::format("{}_", index.value_or(0));
      word.remove_prefix(digits + 1);
    }
    const bool known = std::find(kNames.begin(), kNames.end(), word) != kNames.end();
    if (known && it->first == prefix + std::string(word)) continue;
    const std::string_view close_by = nearest(word, kNames);
    problems.push_back(fmt::format("label {} means nothing to lbd: {}", printable(it->first, 60),
                                   close_by.empty()
                                       ? std::string("the known ones are in docs/OPERATIONS.md")
                                       : fmt::format("did you mean {}{}?", prefix, close_by)));
  }
}

}  // namespace lb::marathon
