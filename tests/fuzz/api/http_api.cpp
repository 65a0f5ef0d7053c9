// The input is "METHOD TARGET\nBODY": whatever it is, it becomes a call or an error in JSON, and the
// names in it can be looked up in a list.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>

#include <nlohmann/json.hpp>

#include "api/filter.h"
#include "api/json.h"
#include "api/request.h"
#include "support/fake_control.h"

namespace {

void use_names(const lb::ApiCall& call) {
  static const lb::test::FakeControl kWorld;
  if (const auto* list = std::get_if<lb::ListCall>(&call))
    (void)lb::filter_services(kWorld.services, list->filter);
  if (const auto* drain = std::get_if<lb::DrainCall>(&call))
    (void)lb::nearest(drain->request.what.target, lb::drain_targets(kWorld.services));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto line_end = std::min(text.find('\n'), text.size());
  const auto space = std::min(text.find(' '), line_end);
  const lb::ApiRequest request{
      text.substr(0, space),
      text.substr(std::min(space + 1, line_end), line_end - std::min(space + 1, line_end)),
      text.substr(std::min(line_end + 1, text.size()))};
  const auto call = lb::parse_call(request);
  if (call) {
    use_names(*call);
  } else if (call.error().status < 400 || !lb::Json::accept(call.error().body)) {
    std::abort();
  }
  return 0;
}
