#include "model/service.h"

#include <array>

#include <fmt/format.h>

namespace lb {
namespace {

// One table per enumeration, in the order of its values: both directions read it.
constexpr std::array<std::string_view, 2> kProtocols{"tcp", "udp"};
constexpr std::array<std::string_view, 5> kBalances{"least-conn", "p2c", "random", "round-robin",
                                                    "source-hash"};
constexpr std::array<std::string_view, 2> kCheckTypes{"tcp", "http"};
constexpr std::array<std::string_view, 7> kStates{"active", "unknown", "draining", "down",
                                                  "exited", "stale",   "disabled"};
constexpr std::array<std::string_view, 16> kReasons{
    "",          "source",       "operator",    "lingering",
    "weight",    "probe-failed", "unreachable", "connect-failed",
    "not-seen",  "never-seen",   "disabled",    "not-verified",
    "unhealthy", "unsupported",  "owner",       "ejected"};

template <class Enum, std::size_t N>
Result<Enum> find(const std::array<std::string_view, N>& names, std::string_view text,
                  std::string_view what) {
  for (std::size_t i = 0; i < N; ++i)
    if (names[i] == text) return static_cast<Enum>(i);
  return fail(fmt::format("'{}' is not a {}: use {}", text, what, fmt::join(names, ", ")));
}

}  // namespace

std::string_view to_string(Protocol p) { return kProtocols.at(static_cast<std::size_t>(p)); }
std::string_view to_string(Balance b) { return kBalances.at(static_cast<std::size_t>(b)); }
std::string_view to_string(HealthCheck::Type t) {
  return kCheckTypes.at(static_cast<std::size_t>(t));
}
std::string_view to_string(BackendState s) { return kStates.at(static_cast<std::size_t>(s)); }
std::string_view to_string(Reason r) { return kReasons.at(static_cast<std::size_t>(r)); }

Result<Protocol> parse_protocol(std::string_view t) {
  return find<Protocol>(kProtocols, t, "protocol");
}
Result<Balance> parse_balance(std::string_view t) {
  return find<Balance>(kBalances, t, "balance method");
}
Result<HealthCheck::Type> parse_health_check_type(std::string_view t) {
  return find<HealthCheck::Type>(kCheckTypes, t, "type of health check");
}
Result<BackendState> parse_backend_state(std::string_view t) {
  return find<BackendState>(kStates, t, "backend state");
}
Result<Reason> parse_reason(std::string_view t) { return find<Reason>(kReasons, t, "reason"); }

Result<ServiceKey> ServiceKey::parse(std::string_view text) {
  ServiceKey key;
  std::string_view rest = text;
  if (const auto scheme = text.find("://"); scheme != std::string_view::npos) {
    LB_TRY(key.protocol, parse_protocol(text.substr(0, scheme)));
    rest = text.substr(scheme + 3);
  }
  LB_TRY(const Address address, Address::parse(rest));
  key.address = address.ip;
  key.port = address.port;
  return key;
}

std::string ServiceKey::to_string() const {
  return fmt::format("{}://{}", lb::to_string(protocol), Address{address, port}.to_string());
}

}  // namespace lb
