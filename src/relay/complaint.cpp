#include "relay/complaint.h"

#include <cerrno>

#include <fmt/format.h>

#include "base/time.h"

namespace lb::relay {
namespace {

constexpr std::size_t kUpdatersNamed = 3;  // updaters in one error

// Their sentences need no errno's behind them.
bool says_it_all(int code) {
  return code == EPROTO || code == EKEYREJECTED || code == EBADMSG || code == EMSGSIZE ||
         code == ENODATA;
}

// Which of them will be the same at the next try.
bool is_fault(const Error& error) {
  if (error.code.category() != std::generic_category() &&
      error.code.category() != std::system_category())
    return true;  // no code at all: a file that cannot be read, for example
  switch (error.code.value()) {
    case ECONNREFUSED:
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE:
    case ETIMEDOUT:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ENETDOWN:
    case ENODATA:
    case ECANCELED:
      return false;
    default:
      return true;
  }
}

std::string advice(int code, Stage stage) {
  if (code == EBADMSG) return "; is that port an lbd updater, and of a version like this one?";
  if (code == EMSGSIZE)
    return "; it is no lbd updater, or has more services than fit into a message";
  if (stage != Stage::Hello) return {};
  if (code == ENODATA)
    return " before its hello; is that port an lbd updater, and does it expect TLS?";
  if (code == ETIMEDOUT)
    return "; it takes connections and says nothing: is that port an lbd updater?";
  return {};
}

bool is_loopback(const std::string& host) {
  const auto ip = IpAddress::parse(host);
  return host == "localhost" || (ip && ip->is_loopback());
}

}  // namespace

std::string to_string(const HostPort& updater) {
  const bool six = updater.host.find(':') != std::string::npos;
  return fmt::format("{}{}{}:{}", six ? "[" : "", updater.host, six ? "]" : "", updater.port);
}

Trouble explain(const HostPort& updater, const Error& error, Stage stage) {
  const int code = error.code.value();
  const std::string what = says_it_all(code) ? error.context : error.message();
  return {fmt::format("updater {}: {}{}", to_string(updater), what, advice(code, stage)),
          is_fault(error)};
}

std::string nobody_feeds(const std::vector<std::string>& errors) {
  if (errors.empty()) return "no updater is configured";
  std::string out = "no updater feeds";
  for (std::size_t i = 0; i < errors.size() && i < kUpdatersNamed; ++i)
    out += fmt::format("{} {}", i == 0 ? ":" : ";", errors[i]);
  if (errors.size() > kUpdatersNamed)
    out += fmt::format("; and {} more", errors.size() - kUpdatersNamed);
  return out;
}

std::string holding(const HostPort& updater, const Choice::Hold& hold,
                    std::chrono::milliseconds confirm) {
  const std::string older =
      hold.read_at
          ? fmt::format("its source '{}' was read at {}, what is in force is of {}", hold.source,
                        format_iso8601(*hold.read_at), format_iso8601(hold.as_of))
          : fmt::format("it knows no source '{}'", hold.source);
  return fmt::format(
      "holding: updater {} has an older state ({}); it is taken when the updater of the newer "
      "one{} "
      "has been gone for {}",
      to_string(updater), older, hold.newer_connected ? ", which is connected," : "",
      format_duration(confirm));
}

std::vector<std::string> plain_text(const std::vector<HostPort>& updaters) {
  std::vector<std::string> out;
  for (const HostPort& updater : updaters)
    if (!is_loopback(updater.host))
      out.push_back(
          fmt::format("updater {} is talked to in plain text: whoever is on the way can read and "
                      "change it; set "
                      "ca, cert and key, or require_tls = true to refuse it",
                      to_string(updater)));
  return out;
}

}  // namespace lb::relay
