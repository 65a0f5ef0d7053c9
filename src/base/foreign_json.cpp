#include "base/foreign_json.h"

#include <fmt/format.h>

#include "base/text.h"

namespace lb {
namespace {

// Of libstdc++ and glibc's malloc on 64 bits, measured; a vector that doubles holds three times its elements for a moment.
constexpr std::size_t kElement = 3 * sizeof(nlohmann::json);
constexpr std::size_t kObject = 64;
constexpr std::size_t kArray = 32 + kElement;
constexpr std::size_t kText = 48;

}  // namespace

Result<> check_json(std::string_view text, const JsonLimits& limits, std::size_t member) {
  std::size_t depth = 0;
  std::size_t memory = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    switch (text[at]) {
      case '"': {
        const std::size_t begin = at++;
        while (at < text.size() && text[at] != '"') at += text[at] == '\\' ? 2 : 1;
        if (at - begin > limits.text)
          return fail(EMSGSIZE, fmt::format("has a string of more than {} MiB", limits.text >> 20));
        memory += kText + (at - begin);
        break;
      }
      case '{':
      case '[':
        memory += text[at] == '{' ? kObject : kArray;
        if (++depth > limits.depth)
          return fail(EBADMSG,
                      fmt::format("has brackets within brackets, more than {}", limits.depth));
        break;
      case '}':
      case ']':
        if (depth > 0) --depth;
        break;
      case ',':
        memory += kElement;
        break;
      case ':':
        memory += member;
        break;
      default:
        break;
    }
    if (memory > limits.memory)
      return fail(EMSGSIZE, fmt::format("would take more than {} MiB of memory to be read",
                                        limits.memory >> 20));
  }
  return {};
}

Error no_json(const nlohmann::json::exception& error) {
  return {std::error_code(EBADMSG, std::generic_category()), printable(error.what(), 200)};
}

}  // namespace lb
