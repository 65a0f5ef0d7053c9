#include "base/audit.h"

#include <cstddef>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/text.h"

namespace lb {
namespace {

constexpr std::size_t kLongestValue = 1'000;

std::string quoted(std::string_view text) {
  std::string out;
  for (const char c : printable(text, kLongestValue)) {
    if (c == '"')
      out += "\\x22";
    else
      out += c;
  }
  return out;
}

}  // namespace

std::string to_string(const Audit& a) {
  return fmt::format(R"(audit={} who="{}" from="{}" what="{}" why="{}" result="{}")", a.event,
                     quoted(a.who), quoted(a.from), quoted(a.what), quoted(a.why),
                     quoted(a.result));
}

void write_audit(const Audit& audit) { spdlog::info("{}", to_string(audit)); }

}  // namespace lb
