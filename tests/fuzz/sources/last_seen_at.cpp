// Any bytes as a time: what is read, written out and read again is the same time.
#include <cstdint>
#include <cstdlib>

#include "sources/merlion_schema.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto time = lb::parse_last_seen_at(text);
  if (!time) return time.error().message().size() > 500 ? std::abort(), 0 : 0;
  const std::string written = lb::format_iso8601(*time);
  if (written.front() == '-' || written.size() != 24)
    return 0;  // zones around the years 0 and 9999
  const auto again = lb::parse_last_seen_at(written);
  if (!again || *again != *time) std::abort();
  return 0;
}
