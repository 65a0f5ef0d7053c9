// Any bytes as what etcd sends: as an answer, as the stream of a watch in two pieces, and what comes
// out of it through a view.
#include "etcd/v3_codec.h"

#include <cstdint>
#include <cstdlib>

#include "base/text.h"
#include "sources/merlion_view.h"

namespace {

void check(const std::string& text) {
  if (lb::printable(text, 100'000'000) != text) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lb;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Moment now{SysTime(std::chrono::milliseconds(1'700'000'000'000)), {}};
  MerlionView view("/conf/site");
  const auto range = etcd::parse_range(200, text);
  if (range) {
    view.replace_config(range->kvs, true, now);
    view.replace_backends(range->kvs, true, now);
  } else {
    check(range.error().context);
  }
  check(etcd::error_text(500, text));
  etcd::LineSplitter splitter(1 << 20);
  for (const auto piece : {text.substr(0, size / 2), text.substr(size / 2)}) {
    const auto lines = splitter.feed(piece);
    if (!lines) continue;
    for (const auto& line : *lines)
      if (const auto message = etcd::parse_watch_message(line))
        for (const auto& event : message->events) view.apply(event, now);
  }
  view.tick(now);
  const auto built = view.build([](const std::string&) { return MerlionView::Lookup{}; });
  for (const auto& warning : built.warnings) check(warning);
  return 0;
}
