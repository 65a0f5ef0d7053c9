// Typed access to one table of a TOML document. Collects every complaint with its place instead of
// stopping at the first, so that a person mends a file in one go. Knows no key of lbd's.
#pragma once

#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <toml++/toml.h>

#include "base/result.h"
#include "model/address_ranges.h"

namespace lb {

class Complaints {
 public:
  explicit Complaints(std::string_view path) : path_(path) {}

  void add(const toml::source_region& where, std::string_view key, std::string_view what);
  [[nodiscard]] bool empty() const { return all_.empty(); }
  // All lines, in the order of the file.
  [[nodiscard]] tl::unexpected<Error> error();

 private:
  struct Complaint {
    std::uint32_t line = 0;
    std::uint32_t column = 0;
    std::string text;
    auto operator<=>(const Complaint&) const = default;
  };
  std::string path_;
  std::vector<Complaint> all_;
};

template <class Enum>
using Words = std::initializer_list<std::pair<std::string_view, Enum>>;

// "auto, ebpf or none"
[[nodiscard]] std::string join_or(const std::vector<std::string_view>& words);

template <class Enum>
[[nodiscard]] std::string join_words(const Words<Enum>& words) {
  std::vector<std::string_view> names;
  for (const auto& [name, value] : words) names.push_back(name);
  return join_or(names);
}

template <class Enum>
[[nodiscard]] std::optional<Enum> find_word(const Words<Enum>& words, std::string_view text) {
  for (const auto& [name, meaning] : words)
    if (name == text) return meaning;
  return std::nullopt;
}

// Each reader leaves `out` as it is when the key is absent or wrong, and remembers that the key is
// known; close() complains about the others.
class Section {
 public:
  Section(Complaints& complaints, const toml::table& table, std::string name)
      : complaints_(complaints), table_(table), name_(std::move(name)) {}

  void text(std::string_view key, std::string& out);           // not empty
  void optional_text(std::string_view key, std::string& out);  // may be ""
  void path(std::string_view key, std::string& out);           // absolute
  void optional_path(std::string_view key, std::string& out);  // absolute or ""
  void secret(std::string_view key, std::string& out);         // absolute, or "credential:NAME"
  void boolean(std::string_view key, bool& out);
  void count(std::string_view key, std::uint32_t& out, std::uint32_t min, std::uint32_t max);
  void duration(std::string_view key, std::chrono::milliseconds& out);
  void percent(std::string_view key, unsigned& out);                // "50%"
  void texts(std::string_view key, std::vector<std::string>& out);  // at least one, none twice

  // Addresses and prefixes. Whether there was something right to read.
  bool addresses(std::string_view key, AddressRanges& out);

  template <class Enum>
  void word(std::string_view key, Enum& out, const Words<Enum>& words) {
    const auto value = string_at(key);
    if (!value) return;
    if (const auto meaning = find_word(words, *value))
      out = *meaning;
    else
      complain(key, fmt::format("'{}' is not known: use {}", *value, join_words(words)));
  }

  // Anything that has a parser: T parse(string_view) -> Result<T>.
  template <class T>
  void parsed(std::string_view key, T& out, Result<T> (*parse)(std::string_view),
              std::string_view hint) {
    const auto value = string_at(key);
    if (!value) return;
    if (auto result = parse(*value))
      out = *std::move(result);
    else
      complain(key, fmt::format("{}: {}", result.error().message(), hint));
  }

  [[nodiscard]] bool has(std::string_view key) const { return table_.contains(key); }
  // At the key's value, or at the table when the key is absent.
  void complain(std::string_view key, std::string_view what);
  void require(std::string_view key, std::string_view what_to_write);
  // Two keys that make sense only together.
  void together(std::string_view a, std::string_view b);
  void close();

  [[nodiscard]] std::optional<std::string> string_at(std::string_view key);

 private:
  const toml::node* node(std::string_view key);
  [[nodiscard]] std::string full(std::string_view key) const;

  Complaints& complaints_;
  const toml::table& table_;
  std::string name_;
  std::vector<std::string_view> known_;
};

// The known word that is one or two letters away; empty: none is.
[[nodiscard]] std::string_view nearest(std::string_view word,
                                       const std::vector<std::string_view>& known);

}  // namespace lb
