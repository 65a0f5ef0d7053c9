// Any bytes as Marathon's event stream, whole and cut into pieces, and as what stands around it: refusals,
// redirects, tokens.
#include "marathon/events.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "base/text.h"
#include "marathon/answer.h"

namespace {

constexpr std::size_t kLimit = 200;

void require(bool truth) {
  if (!truth) std::abort();
}

std::vector<lb::marathon::SseEvent> in_pieces(std::string_view text, std::size_t size) {
  lb::marathon::SseParser parser(kLimit);
  std::vector<lb::marathon::SseEvent> out;
  for (; !text.empty(); text.remove_prefix(std::min(size, text.size())))
    for (auto& event : parser.feed(text.substr(0, size))) out.push_back(std::move(event));
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lb::marathon;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto whole = in_pieces(text, text.size() + 1);
  require(in_pieces(text, 1) == whole);
  require(in_pieces(text, 7) == whole);
  for (const SseEvent& event : whole) {
    require(event.data.size() + event.type.size() <= 2 * kLimit);
    require(!event.cut || event.data.empty());
    const EventHint hint = read_event(event);
    const bool named = !hint.task.empty() || !hint.instance.empty() || !hint.app.empty();
    require(hint.fate == EventHint::Fate::None || named);
    (void)is_of_instance(hint.task, hint.instance);
  }
  require(lb::printable(reason_in(text), 1000) == reason_in(text));
  const std::vector<std::string> known{"http://m1:8080"};
  const auto target = follow(text, known[0], known, leader_in(text));
  require(!target || origin_of(*target).has_value());
  require(label_query(text).find_first_of("&#? \r\n") == std::string::npos);
  return 0;
}
