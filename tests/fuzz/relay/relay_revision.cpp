// Any bytes as the revision of a snapshot that a relay has sent and saved: what is read is read again as it was written.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "relay/received.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lb::relay;
  const auto read = parse_revision({reinterpret_cast<const char*>(data), size});
  if (!read) return 0;
  const auto again = parse_revision(format_revision(read->at, read->sources));
  if (!again || again->at != read->at || again->sources.size() != read->sources.size())
    std::abort();
  for (std::size_t i = 0; i < read->sources.size(); ++i)
    if (again->sources[i].name != read->sources[i].name ||
        again->sources[i].as_of != read->sources[i].as_of)
      std::abort();
  return 0;
}
