// Any bytes as a services file: services that keep the promises of the header, or an error with
// words, never a crash.
#include "sources/services_file.h"

#include <cstdint>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  auto services = lb::parse_services_file(text, "fuzz.toml");
  if (!services) {
    if (!services.error().message().starts_with("fuzz.toml:")) std::abort();
    return 0;
  }
  for (const auto& service : *services)
    for (const auto& backend : service.backends)
      if (backend.weight > lb::kMaxWeight || backend.address.port == 0) std::abort();
  const lb::ServicesFile file{"fuzz.toml", lb::share_unchanged(std::move(*services), {})};
  const auto merged = lb::merge_services_files({&file});
  if (merged.services.size() != file.services.size() || !merged.warnings.empty()) std::abort();
  return 0;
}
