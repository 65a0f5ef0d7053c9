#include "model/desired.h"

#include <array>

namespace lb {

std::string_view to_string(Condition condition) {
  constexpr std::array<std::string_view, 9> kNames{"ok",          "fail-open", "last-resort",
                                                   "no-backends", "conflict",  "refused",
                                                   "local-only",  "partial",   "unclaimed"};
  return kNames.at(static_cast<std::size_t>(condition));
}

}  // namespace lb
