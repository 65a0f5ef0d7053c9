// Words that people write into labels and keys: what is around them, and what they meant.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace lb {

// Without blanks, tabs and line ends at either end.
[[nodiscard]] std::string_view trim(std::string_view text);
[[nodiscard]] std::string lower(std::string_view text);  // ASCII

// The one of `words` that a misspelt `word` is closest to; "" when none is close.
[[nodiscard]] std::string_view nearest(std::string_view word,
                                       std::span<const std::string_view> words);

}  // namespace lb
