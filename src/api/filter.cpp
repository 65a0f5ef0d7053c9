#include "api/filter.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <memory>
#include <numeric>
#include <utility>

namespace lb {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

// Of a hundred thousand backends: without a copy of each text.
bool contains(std::string_view text, std::string_view lower_filter) {
  return std::search(text.begin(), text.end(), lower_filter.begin(), lower_filter.end(),
                     [](char a, char b) {
                       return static_cast<char>(std::tolower(static_cast<unsigned char>(a))) == b;
                     }) != text.end() ||
         lower_filter.empty();
}

// What as_seen() (daemon/views.h) can add to what is desired.
bool may_be_seen(std::string_view filter) {
  constexpr std::array kStates{BackendState::Down};
  constexpr std::array kReasons{Reason::Unsupported, Reason::Ejected};
  constexpr std::array kConditions{Condition::NoBackends, Condition::LocalOnly, Condition::Partial};
  const auto named = [&](auto value) { return contains(to_string(value), filter); };
  return std::any_of(kStates.begin(), kStates.end(), named) ||
         std::any_of(kReasons.begin(), kReasons.end(), named) ||
         std::any_of(kConditions.begin(), kConditions.end(), named);
}

bool names(const DesiredService& service, std::string_view filter) {
  return contains(service.name, filter) || contains(service.key.to_string(), filter) ||
         contains(service.source, filter) || contains(to_string(service.condition), filter);
}

bool names(const DesiredBackend& desired, std::string_view filter) {
  const Backend& backend = desired.backend;
  return contains(backend.id, filter) || contains(backend.host, filter) ||
         contains(backend.address.to_string(), filter) ||
         contains(to_string(desired.state), filter) || contains(to_string(desired.reason), filter);
}

// The services are shared with the daemon, so a shorter one is a copy.
ServiceView with_matching_backends(const ServiceView& view, std::string_view filter) {
  auto service = std::make_shared<DesiredService>(*view.service);
  ServiceView out;
  service->backends.clear();
  for (std::size_t i = 0; i < view.service->backends.size(); ++i) {
    if (!names(view.service->backends[i], filter)) continue;
    service->backends.push_back(view.service->backends[i]);
    out.counts.push_back(i < view.counts.size() ? view.counts[i] : BackendCounts{});
  }
  out.service = std::move(service);
  return out;
}

// Levenshtein's, one row at a time.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t substituted = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = std::exchange(row[j + 1], std::min({row[j + 1] + 1, row[j] + 1, substituted}));
    }
  }
  return row.back();
}

std::vector<std::string> sorted_unique(std::vector<std::string> names) {
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

}  // namespace

bool may_name(const DesiredService& service, std::string_view filter) {
  const std::string wanted = lower(filter);
  return wanted.empty() || may_be_seen(wanted) || names(service, wanted) ||
         std::any_of(service.backends.begin(), service.backends.end(),
                     [&](const DesiredBackend& backend) { return names(backend, wanted); });
}

std::vector<ServiceView> filter_services(std::vector<ServiceView> services,
                                         std::string_view filter) {
  if (filter.empty()) return services;
  const std::string wanted = lower(filter);
  std::vector<ServiceView> out;
  for (ServiceView& view : services) {
    if (names(*view.service, wanted)) {
      out.push_back(std::move(view));
    } else if (ServiceView part = with_matching_backends(view, wanted); !part.counts.empty()) {
      out.push_back(std::move(part));
    }
  }
  return out;
}

std::vector<std::string> nearest(std::string_view word, std::vector<std::string> names) {
  constexpr std::size_t kAtMost = 3;
  constexpr std::size_t kLongestWord = 256;  // the distance is quadratic in it
  if (word.size() > kLongestWord) return {};
  const std::size_t slip = std::max<std::size_t>(2, word.size() / 4);
  std::vector<std::pair<std::size_t, std::string>> ranked;
  for (std::string& name : sorted_unique(std::move(names))) {
    // A host given without the port, or the other way round, is a slip too.
    const bool part = word.size() >= 3 && name.find(word) != std::string::npos;
    const std::size_t difference =
        name.size() > word.size() ? name.size() - word.size() : word.size() - name.size();
    if (!part && difference > slip) continue;
    const std::size_t d = part ? 0 : distance(word, name);
    if (d <= slip) ranked.emplace_back(d, std::move(name));
  }
  std::sort(ranked.begin(), ranked.end());
  std::vector<std::string> out;
  for (auto& [d, name] : ranked)
    if (out.size() < kAtMost) out.push_back(std::move(name));
  return out;
}

std::vector<std::string> drain_targets(std::span<const ServiceView> services) {
  std::vector<std::string> out;
  for (const ServiceView& view : services) {
    for (const DesiredBackend& desired : view.service->backends) {
      out.push_back(desired.backend.address.to_string());
      if (!desired.backend.host.empty()) out.push_back(desired.backend.host);
    }
  }
  return out;
}

std::vector<std::string> service_names(std::span<const ServiceView> services) {
  std::vector<std::string> out;
  for (const ServiceView& view : services) {
    if (!view.service->name.empty()) out.push_back(view.service->name);
    out.push_back(Address{view.service->key.address, view.service->key.port}.to_string());
  }
  return out;
}

}  // namespace lb
