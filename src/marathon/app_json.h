// Reads a JSON text once, front to back, and builds nothing: who knows which members matter takes
// them, and skips the rest. Strict in grammar, so that a truncated text never passes for a whole one;
// lenient where only one value suffers (bytes that are not UTF-8, numbers beyond every type).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lb::marathon {

// After an error everything reads as absent and every loop ends: callers look at failed() once, in the end.
class JsonReader {
 public:
  enum class Kind : std::uint8_t { Object, Array, String, Number, True, False, Null, Nothing };

  explicit JsonReader(std::string_view text)
      : text_(text), memory_((std::size_t{16} << 20) + 3 * text.size()) {}

  [[nodiscard]] Kind peek();  // Nothing: no value starts here
  [[nodiscard]] bool failed() const { return failed_; }
  [[nodiscard]] std::size_t offset() const { return at_; }
  [[nodiscard]] bool at_end();  // only white space is left

  // Of an object, call member(key) for each; of anything else, skip it. `member` may leave the value
  // alone, which skips it.
  template <class Member>
  void object(Member&& member);
  // The same for arrays; element() is called in front of each.
  template <class Element>
  void array(Element&& element);

  // nullopt for a value of another kind, which is skipped. Text comes out as UTF-8 whatever it was:
  // what cannot be a character becomes U+FFFD.
  [[nodiscard]] std::optional<std::string> string();
  [[nodiscard]] std::optional<bool> boolean();
  std::string_view skip();  // the value as it is written

  // What the caller keeps of the text: fails when that comes to more than three times its size (and 16 MiB).
  void keep(std::size_t bytes);
  [[nodiscard]] bool too_large() const { return too_large_; }

 private:
  template <class Each>
  void items(char close, Each&& each);
  void fail() { failed_ = true; }
  void skip_space();
  [[nodiscard]] bool accept(char c);
  [[nodiscard]] std::string_view raw_string(bool& escaped);
  bool scan_scalar();
  void scan_number();
  void scan_word(std::string_view word);
  bool scan_key();
  bool scan_after_value(std::string& open);

  std::string_view text_;
  std::size_t at_ = 0;
  std::size_t memory_;  // that may still be kept
  bool failed_ = false;
  bool too_large_ = false;
};

// What a raw string (without its quotes) stands for.
[[nodiscard]] std::string decode_json_string(std::string_view raw);

template <class Each>
void JsonReader::items(char close, Each&& each) {
  ++at_;  // the opening bracket, which peek() has seen
  skip_space();
  if (accept(close)) return;
  while (!failed_) {
    each();
    skip_space();
    if (accept(close)) return;
    if (!accept(',')) fail();
    skip_space();
  }
}

template <class Member>
void JsonReader::object(Member&& member) {
  if (peek() != Kind::Object) {
    skip();
    return;
  }
  std::string decoded;
  items('}', [&] {
    bool escaped = false;
    std::string_view key = raw_string(escaped);
    if (escaped) {
      decoded = decode_json_string(key);
      key = decoded;
    }
    skip_space();
    if (!accept(':')) fail();
    skip_space();
    if (failed_) return;
    const std::size_t before = at_;
    member(key);
    if (at_ == before) skip();
  });
}

template <class Element>
void JsonReader::array(Element&& element) {
  if (peek() != Kind::Array) {
    skip();
    return;
  }
  items(']', [&] {
    const std::size_t before = at_;
    element();
    if (at_ == before) skip();
  });
}

}  // namespace lb::marathon
