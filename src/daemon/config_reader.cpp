#include "daemon/config_reader.h"

#include <algorithm>
#include <charconv>
#include <numeric>

#include "base/secret_file.h"
#include "base/time.h"

namespace lb {
namespace {

// Longer deadlines would overflow the steady clock's nanoseconds, and nobody means them.
constexpr std::chrono::milliseconds kLongest = std::chrono::hours(24 * 365);

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replace = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replace, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

bool has_control_character(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

}  // namespace

void Complaints::add(const toml::source_region& where, std::string_view key,
                     std::string_view what) {
  const auto [line, column] = std::pair{where.begin.line, where.begin.column};
  all_.push_back({line, column, fmt::format("{}:{}:{}: {}: {}", path_, line, column, key, what)});
}

tl::unexpected<Error> Complaints::error() {
  std::sort(all_.begin(), all_.end());
  std::string text;
  for (const Complaint& complaint : all_) {
    if (!text.empty()) text += '\n';
    text += complaint.text;
  }
  return fail(std::move(text));
}

std::string join_or(const std::vector<std::string_view>& words) {
  std::string out;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (i > 0) out += i + 1 == words.size() ? " or " : ", ";
    out += words[i];
  }
  return out;
}

std::string_view nearest(std::string_view word, const std::vector<std::string_view>& known) {
  std::string_view best;
  std::size_t least = 3;
  // The quadratic comparison is for typing errors, not for whatever a file contains.
  if (word.size() > 64) return {};
  for (const std::string_view candidate : known) {
    const std::size_t distance = edit_distance(word, candidate);
    if (distance < least && distance < candidate.size()) {
      least = distance;
      best = candidate;
    }
  }
  return best;
}

const toml::node* Section::node(std::string_view key) {
  if (std::find(known_.begin(), known_.end(), key) == known_.end()) known_.push_back(key);
  return table_.get(key);
}

std::string Section::full(std::string_view key) const {
  return name_.empty() ? std::string(key) : fmt::format("{}.{}", name_, key);
}

void Section::complain(std::string_view key, std::string_view what) {
  const toml::node* at = table_.get(key);
  complaints_.add(at ? at->source() : table_.source(), full(key), what);
}

void Section::require(std::string_view key, std::string_view what_to_write) {
  if (!node(key)) complain(key, fmt::format("is missing: write {}", what_to_write));
}

void Section::together(std::string_view a, std::string_view b) {
  for (const auto& [one, other] : {std::pair{a, b}, std::pair{b, a}})
    if (has(one) && !has(other)) complain(one, fmt::format("needs {} beside it", other));
}

std::optional<std::string> Section::string_at(std::string_view key) {
  const toml::node* at = node(key);
  if (!at) return std::nullopt;
  if (const auto* value = at->as_string()) {
    if (!has_control_character(value->get())) return value->get();
    complain(key, "must not contain control characters");
  } else {
    complain(key, "must be text in quotes");
  }
  return std::nullopt;
}

void Section::text(std::string_view key, std::string& out) {
  const auto value = string_at(key);
  if (!value) return;
  if (value->empty()) return complain(key, "must not be empty: leave it out or name something");
  out = *value;
}

void Section::optional_text(std::string_view key, std::string& out) {
  if (auto value = string_at(key)) out = *std::move(value);
}

void Section::secret(std::string_view key, std::string& out) {
  const auto value = string_at(key);
  if (!value) return;
  if (const auto good = check_secret_path(*value); !good)
    return complain(key, good.error().context);
  out = secret_path(*value);
}

void Section::path(std::string_view key, std::string& out) {
  const auto value = string_at(key);
  if (!value) return;
  if (!value->starts_with('/'))
    return complain(key, fmt::format("'{}' is no absolute path: start it with /", *value));
  out = *value;
}

void Section::optional_path(std::string_view key, std::string& out) {
  const auto* value = table_.get(key) ? table_.get(key)->as_string() : nullptr;
  if (value && value->get().empty()) {
    node(key);
    out.clear();
    return;
  }
  path(key, out);
}

void Section::boolean(std::string_view key, bool& out) {
  const toml::node* at = node(key);
  if (!at) return;
  const auto* value = at->as_boolean();
  if (!value) return complain(key, "must be true or false, without quotes");
  out = value->get();
}

void Section::count(std::string_view key, std::uint32_t& out, std::uint32_t min,
                    std::uint32_t max) {
  const toml::node* at = node(key);
  if (!at) return;
  const auto* value = at->as_integer();
  if (!value)
    return complain(key,
                    fmt::format("must be a whole number from {} to {}, without quotes", min, max));
  if (value->get() < min || value->get() > max)
    return complain(key, fmt::format("{} is out of range: write a number from {} to {}",
                                     value->get(), min, max));
  out = static_cast<std::uint32_t>(value->get());
}

void Section::duration(std::string_view key, std::chrono::milliseconds& out) {
  const auto value = string_at(key);
  if (!value) return;
  const auto parsed = parse_duration(*value);
  if (!parsed) return complain(key, parsed.error().message());
  if (*parsed > kLongest)
    return complain(key, fmt::format("'{}' is too long: write at most \"365d\"", *value));
  out = *parsed;
}

void Section::percent(std::string_view key, unsigned& out) {
  const auto value = string_at(key);
  if (!value) return;
  unsigned number = 0;
  const char* const last = value->data() + value->size();
  const auto [end, ec] = std::from_chars(value->data(), last, number);
  if (ec != std::errc{} || std::string_view(end, last) != "%" || number > 100)
    return complain(key, fmt::format("'{}' is no percentage: write for example \"50%\"", *value));
  out = number;
}

void Section::texts(std::string_view key, std::vector<std::string>& out) {
  const toml::node* at = node(key);
  if (!at) return;
  const auto* list = at->as_array();
  if (!list || list->empty())
    return complain(key, "must be a list of at least one text in quotes, as in [\"a\", \"b\"]");
  std::vector<std::string> values;
  for (const toml::node& item : *list) {
    const auto* value = item.as_string();
    if (!value || value->get().empty() || has_control_character(value->get())) {
      complaints_.add(item.source(), full(key), "must be text in quotes, and not empty");
      continue;
    }
    if (std::find(values.begin(), values.end(), value->get()) != values.end())
      complaints_.add(item.source(), full(key),
                      fmt::format("'{}' is in the list twice: remove one", value->get()));
    values.push_back(value->get());
  }
  out = std::move(values);
}

bool Section::addresses(std::string_view key, AddressRanges& out) {
  std::vector<std::string> items;
  texts(key, items);
  AddressRanges read;
  for (const std::string& item : items) {
    if (const auto one = AddressRanges::parse(item))
      read.add(*one);
    else
      complain(key, one.error().message() + ": write for example \"10.0.0.7\" or \"10.0.0.0/8\"");
  }
  if (read.empty()) return false;
  out = std::move(read);
  return true;
}

void Section::close() {
  for (const auto& [key, value] : table_) {
    if (std::find(known_.begin(), known_.end(), key.str()) != known_.end()) continue;
    const std::string_view close_by = nearest(key.str(), known_);
    const std::string hint = close_by.empty() ? fmt::format("use {}", join_or(known_))
                                              : fmt::format("did you mean {}?", close_by);
    complaints_.add(key.source(), full(key.str()), fmt::format("unknown key: {}", hint));
  }
}

}  // namespace lb
