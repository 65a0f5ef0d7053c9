#include "relay/received.h"

#include <algorithm>
#include <charconv>
#include <memory>
#include <utility>

#include <fmt/format.h>

#include "model/host_address.h"
#include "relay/replica.h"

namespace lb::relay {
namespace {

constexpr std::size_t kBackendsNamed = 3;  // backends in one warning

bool is_of_another_host(const Backend& backend) {
  return backend.address.ip.is_loopback() || !why_no_host(backend.address.ip).empty();
}

std::string refusal(const Service& service) {
  std::string named;
  std::size_t count = 0;
  for (const Backend& backend : service.backends) {
    if (!is_of_another_host(backend) || ++count > kBackendsNamed) continue;
    named += fmt::format("{}{} ({})", named.empty() ? "" : ", ", backend.address.to_string(),
                         backend.id);
  }
  if (count > kBackendsNamed) named += fmt::format(" and {} more", count - kBackendsNamed);
  return fmt::format(
      "service {} ({}): backend{} {} refused: a loopback or wildcard address would mean this host "
      "and not the one where it runs; let its source name an address that other hosts reach",
      service.name, service.key.to_string(), count == 1 ? "" : "s", named);
}

ServicePtr without_loopback(const ServicePtr& service, std::vector<std::string>& warnings) {
  const auto& all = service->backends;
  if (std::none_of(all.begin(), all.end(), is_of_another_host)) return service;
  warnings.push_back(refusal(*service));
  Service out = *service;
  std::erase_if(out.backends, is_of_another_host);
  return std::make_shared<const Service>(std::move(out));
}

// Names of sources may have spaces.
std::string escape(std::string_view text) {
  std::string out;
  for (const char c : text)
    out += c == '%' || c == ' ' || c == '=' || c == ':'
               ? fmt::format("%{:02x}", static_cast<unsigned char>(c))
               : std::string(1, c);
  return out;
}

std::optional<std::string> unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    unsigned char value = 0;
    const char* end = text.data() + i + 3;
    if (std::from_chars(text.data() + i + 1, end, value, 16).ptr != end) return std::nullopt;
    out += static_cast<char>(value);
    i += 2;
  }
  return out;
}

std::optional<Position> parse_position(std::string_view text) {
  const auto colon = text.find(':');
  if (colon == std::string_view::npos || colon == 0) return std::nullopt;
  auto epoch = unescape(text.substr(0, colon));
  Position out;
  const char* end = text.data() + text.size();
  const auto [at, ec] = std::from_chars(text.data() + colon + 1, end, out.sequence);
  if (!epoch || ec != std::errc{} || at != end) return std::nullopt;
  out.epoch = *std::move(epoch);
  return out;
}

std::optional<SourceMark> parse_mark(std::string_view text) {
  const auto equals = text.find('=');
  if (equals == std::string_view::npos) return std::nullopt;
  auto name = unescape(text.substr(0, equals));
  const auto as_of = parse_iso8601(text.substr(equals + 1));
  if (!name || !as_of) return std::nullopt;
  return SourceMark{*std::move(name), {}, *as_of, *as_of, true};
}

}  // namespace

std::vector<ServicePtr> share(const std::vector<ServicePtr>& before, std::vector<ServicePtr> next) {
  auto old = before.begin();
  for (ServicePtr& service : next) {
    while (old != before.end() && ref_of(**old) < ref_of(*service)) ++old;
    if (old != before.end() && *old != service && **old == *service) service = *old;
  }
  return next;
}

std::vector<ServicePtr> usable(const std::vector<ServicePtr>& services,
                               const std::vector<ServicePtr>& before,
                               std::vector<std::string>& warnings) {
  std::vector<ServicePtr> out = visible(services, warnings);
  for (ServicePtr& service : out) service = without_loopback(service, warnings);
  return share(before, std::move(out));
}

std::string format_revision(const Position& at, const std::vector<SourceMark>& sources) {
  std::string out = fmt::format("{}:{}", escape(at.epoch), at.sequence);
  for (const SourceMark& mark : sources)
    out += fmt::format(" {}={}", escape(mark.name), format_iso8601(mark.as_of));
  return out;
}

std::optional<Revision> parse_revision(std::string_view text) {
  Revision out;
  bool first = true;
  while (!text.empty()) {
    const std::string_view one = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(text.size(), one.size() + 1));
    if (std::exchange(first, false)) {
      const auto at = parse_position(one);
      if (!at) return std::nullopt;
      out.at = *at;
    } else if (auto mark = parse_mark(one)) {
      out.sources.push_back(*std::move(mark));
    }
  }
  if (first) return std::nullopt;
  return out;
}

}  // namespace lb::relay
