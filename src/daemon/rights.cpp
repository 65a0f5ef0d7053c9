#include "daemon/rights.h"

#include <charconv>
#include <optional>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace lb {
namespace {

// Of a URL that check_url() has let through: the scheme has a port of its own.
std::optional<HostPort> host_of_url(std::string_view url) {
  const bool https = url.starts_with("https://");
  if (!https && !url.starts_with("http://")) return std::nullopt;
  url.remove_prefix(url.find("//") + 2);
  url = url.substr(0, url.find_first_of("/?#"));
  if (const auto at = url.rfind('@'); at != std::string_view::npos) url.remove_prefix(at + 1);
  const auto bracket = url.rfind(']');
  const auto colon = url.rfind(':');
  const bool has_port =
      colon != std::string_view::npos && (bracket == std::string_view::npos || colon > bracket);
  unsigned port = https ? 443 : 80;
  if (has_port) {
    const std::string_view digits = url.substr(colon + 1);
    if (const auto [end, error] =
            std::from_chars(digits.data(), digits.data() + digits.size(), port);
        error != std::errc{} || end != digits.data() + digits.size() || port > 65535)
      return std::nullopt;
    url = url.substr(0, colon);
  }
  if (url.starts_with('[') && url.ends_with(']')) url = url.substr(1, url.size() - 2);
  return HostPort{std::string(url), static_cast<Port>(port)};
}

class Endpoints {
 public:
  void of(const EtcdSourceConfig& etcd) {
    for (const std::string& url : etcd.access.endpoints) add_url("etcd endpoint", url);
  }
  void of(const MarathonSourceConfig& marathon) {
    for (const std::string& url : marathon.access.endpoints) add_url("Marathon endpoint", url);
    add_url("login of DC/OS", marathon.access.dcos_login);
  }
  void of(const RelaySourceConfig& relay) {
    for (const HostPort& updater : relay.updaters)
      all_.push_back({updater.host, updater.port,
                      fmt::format("the updater {}:{}", updater.host, updater.port)});
  }
  void of(const FileSourceConfig&) {}
  [[nodiscard]] std::vector<DialledEndpoint> take() { return std::move(all_); }

 private:
  void add_url(std::string_view kind, const std::string& url) {
    if (const auto found = host_of_url(url))
      all_.push_back({found->host, found->port, fmt::format("the {} {}", kind, url)});
  }

  std::vector<DialledEndpoint> all_;
};

std::vector<OwnEndpoint> literal_endpoints(const Config& config) {
  std::vector<OwnEndpoint> out;
  for (const DialledEndpoint& each : dialled_endpoints(config)) {
    auto address = IpAddress::parse(each.host);
    if (!address) continue;
    // The kernel takes a connect to a wildcard for one to loopback.
    if (address->is_unspecified())
      address = *IpAddress::parse(address->is_v4() ? "127.0.0.1" : "::1");
    out.push_back({{*address, each.port}, each.what});
  }
  return out;
}

Reach rights_on_this_host(bool is_file, const Config& config) {
  Reach out;
  out.of_host = is_file;
  out.publish = config.publish.addresses;
  if (!config.publish.address.is_loopback()) out.publish.add(config.publish.address);
  if (is_file) out.publish.add(AddressRanges::this_host());
  out.claims = out.publish;
  if (!is_file) out.claims.add(AddressRanges::loopback());
  out.endpoints = literal_endpoints(config);
  return out;
}

}  // namespace

std::vector<DialledEndpoint> dialled_endpoints(const Config& config) {
  Endpoints out;
  for (const SourceConfig& source : config.sources)
    std::visit([&](const auto& settings) { out.of(settings); }, source.settings);
  return out.take();
}

std::shared_ptr<const Reach> reach_for(const SourceConfig& source, const Config& config) {
  Reach out;
  if (config.dataplane.mode != DataplaneMode::None)
    out = rights_on_this_host(std::holds_alternative<FileSourceConfig>(source.settings), config);
  if (source.addresses) out.claims = *source.addresses;
  return std::make_shared<const Reach>(std::move(out));
}

std::shared_ptr<const Reach> reach_of_former(const std::string& type, const std::string& claims,
                                             const Config& config) {
  Reach out;
  if (config.dataplane.mode != DataplaneMode::None)
    out = rights_on_this_host(type == "file", config);
  if (auto known = AddressRanges::parse_list(claims)) out.claims = *std::move(known);
  return std::make_shared<const Reach>(std::move(out));
}

}  // namespace lb
