// Any bytes as what etcd sends: as an answer, as the stream of a watch in two pieces, and what comes
// out of it through a view.
#include "etcd/v3_watch_codec.h"

#include <cstdint>
#include <cstdlib>

#include "base/text.h"
#include "sources/merlion_view.h"

namespace {

void check(const std::string& text) {
  if (lb::printable(text, 100'000'000) != text) std::abort();
}

template <class T>
void check(const lb::Result<T>& answer) {
  if (!answer) check(answer.error().context);
}

void check_answers(std::string_view text) {
  using namespace lb::etcd;
  check(parse_version(text));
  check(parse_header(text));
  check(parse_created(text));
  check(parse_grant(text));
  check(parse_keep_alive(text));
  check(parse_token(text));
  for (const int status : {302, 400, 401, 404, 500, 504})
    check(parse_refusal(status, text).error.context);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lb;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Moment now{SysTime(std::chrono::milliseconds(1'700'000'000'000)), {}};
  MerlionView view("/conf/site");
  const auto range = etcd::parse_range(text);
  if (range) {
    view.replace_config(range->kvs, true, now);
    view.replace_backends(range->kvs, true, now);
  } else {
    check(range.error().context);
  }
  check_answers(text);
  etcd::WatchAssembler watch(324952591200643719U, {{"/conf/site", 1}}, 1 << 20);
  for (const auto piece : {text.substr(0, size / 2), text.substr(size / 2)}) {
    if (const auto fed = watch.feed(piece); !fed) check(fed.error().context);
    if (const auto batch = watch.next())
      for (const auto& event : batch->events) view.apply(event, now);
  }
  view.tick(now);
  const auto built = view.build([](const std::string&) { return MerlionView::Lookup{}; });
  for (const auto& warning : built.warnings) check(warning);
  return 0;
}
