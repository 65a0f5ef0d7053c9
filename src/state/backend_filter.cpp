#include "state/backend_filter.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "base/text.h"

namespace lb {
namespace {

constexpr std::size_t kNamed = 3;  // backends in one warning

std::string refusal_of(const Service& service, const BackendRanges& allowed) {
  std::string named;
  std::size_t count = 0;
  for (const Backend& backend : service.backends) {
    const std::string why = allowed.why_refused(backend.address.ip);
    if (why.empty() || ++count > kNamed) continue;
    named += fmt::format("{}{} ({}: {})", named.empty() ? "" : ", ", backend.address.to_string(),
                         printable(backend.id), why);
  }
  if (count > kNamed) named += fmt::format(" and {} more", count - kNamed);
  return fmt::format(
      "service {} ({}): backend{} {} refused: the key 'backends' of this [[source]] "
      "lists where its backends may be",
      service.key.to_string(), printable(service.name), count == 1 ? "" : "s", named);
}

}  // namespace

Snapshot allowed_backends(Snapshot snapshot, const BackendRanges& allowed) {
  if (allowed == BackendRanges::any()) return snapshot;
  const auto refused = [&](const Backend& backend) {
    return !allowed.why_refused(backend.address.ip).empty();
  };
  for (ServicePtr& service : snapshot.services) {
    if (std::none_of(service->backends.begin(), service->backends.end(), refused)) continue;
    snapshot.warnings.push_back(refusal_of(*service, allowed));
    Service rest = *service;
    std::erase_if(rest.backends, refused);
    service = std::make_shared<const Service>(std::move(rest));
  }
  return snapshot;
}

}  // namespace lb
