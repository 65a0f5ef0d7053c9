#include "base/words.h"

#include <algorithm>
#include <numeric>
#include <vector>

namespace lb {
namespace {

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replace = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replace, row[j + 1] + 1, row[j] + 1});
    }
  }
  return row.back();
}

// So many typing errors leave a word of this length what it is.
std::size_t errors_in(std::size_t length) {
  if (length < 6) return 1;
  return length < 9 ? 2 : std::max<std::size_t>(3, length / 4);
}

}  // namespace

std::string_view trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const auto begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return out;
}

std::string_view nearest(std::string_view word, std::span<const std::string_view> words) {
  std::string_view best;
  if (word.size() > 40) return best;  // for typing errors, not for whatever a text contains
  std::size_t least = errors_in(word.size()) + 1;
  const std::string plain = lower(word);
  for (const std::string_view one : words)
    if (const std::size_t distance = edit_distance(plain, lower(one)); distance < least) {
      least = distance;
      best = one;
    }
  if (!best.empty() || plain.size() < 4) return best;
  // A part of it: "listen" for "listen-address".
  for (const std::string_view one : words)
    if (lower(one).find(plain) != std::string::npos) return one;
  return best;
}

}  // namespace lb
