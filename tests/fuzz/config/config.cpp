// Any bytes as a configuration file: a value or an error with words, never a crash.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "daemon/config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto config = lb::parse_config(text, "fuzz.toml");
  if (config ? config->sources.empty() : config.error().message().empty()) std::abort();
  return 0;
}
