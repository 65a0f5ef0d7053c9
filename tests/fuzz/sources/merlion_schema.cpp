// Lines "KEY=VALUE" as a Merlion configuration and its backends: whatever the values are, messages
// stay printable and short.
#include "sources/merlion_schema.h"

#include <cstdint>
#include <cstdlib>

#include "base/text.h"
#include "sources/merlion_view.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lb;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  const Moment now{SysTime(std::chrono::milliseconds(1'700'000'000'000)), {}};
  MerlionView view("/c");
  view.replace_config({{"/c/upstream-service-etcd-prefix", "/up", 1, 0}}, true, now);
  view.replace_backends({}, true, now);
  std::map<std::string, std::string> values;
  while (!text.empty()) {
    const auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    const auto equals = line.find('=');
    const std::string key(line.substr(0, equals));
    const std::string value(equals == line.npos ? line.substr(0, 0) : line.substr(equals + 1));
    values[key] = value;
    const bool deleted = equals == line.npos;
    view.apply({deleted, {"/up/" + key, value, 1, 0}, std::nullopt}, now);
    view.apply({deleted, {"/c/" + key, value, 1, 0}, std::nullopt}, now);
  }
  const auto config = parse_merlion_config(values, "/c");
  if (!config && config.error().message().size() > 1000) std::abort();
  const auto built = view.build([](const std::string&) { return MerlionView::Lookup{}; });
  for (const auto& warning : built.warnings)
    if (printable(warning, 100'000'000) != warning) std::abort();
  if (!built.service) return 0;
  for (std::size_t i = 1; i < built.service->backends.size(); ++i)
    if (!(built.service->backends[i - 1].address < built.service->backends[i].address))
      std::abort();
  return 0;
}
