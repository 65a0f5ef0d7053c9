#include "marathon/app_json.h"

#include <array>

namespace lb::marathon {
namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";  // U+FFFD

bool is_digit(char c) { return c >= '0' && c <= '9'; }

int hex_value(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// The four digits of \uXXXX; the caller knows that the raw string was scanned.
std::uint32_t hex4(std::string_view digits) {
  std::uint32_t value = 0;
  for (const char c : digits.substr(0, 4))
    value = value << 4 | static_cast<std::uint32_t>(hex_value(c));
  return value;
}

void append_utf8(std::string& out, std::uint32_t c) {
  const auto byte = [&](std::uint32_t bits) { out.push_back(static_cast<char>(bits)); };
  if (c < 0x80) {
    byte(c);
  } else if (c < 0x800) {
    byte(0xc0 | c >> 6);
    byte(0x80 | (c & 0x3f));
  } else if (c < 0x10000) {
    byte(0xe0 | c >> 12);
    byte(0x80 | (c >> 6 & 0x3f));
    byte(0x80 | (c & 0x3f));
  } else {
    byte(0xf0 | c >> 18);
    byte(0x80 | (c >> 12 & 0x3f));
    byte(0x80 | (c >> 6 & 0x3f));
    byte(0x80 | (c & 0x3f));
  }
}

// How many bytes at the front are one character in UTF-8 (RFC 3629: shortest form, no surrogates);
// 0 when they are none.
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
  };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4) return 0;
  for (std::size_t i = 1; i < length; ++i)
    if ((byte(i) & 0xc0U) != 0x80) return 0;
  const unsigned second = byte(1);
  if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f)) return 0;
  if ((first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f)) return 0;
  return length;
}

// The escape at the front of `raw`, a backslash; returns its length.
std::size_t append_escape(std::string& out, std::string_view raw) {
  constexpr std::string_view kLetters = "bfnrt";
  constexpr std::string_view kMeant = "\b\f\n\r\t";
  const char c = raw[1];
  if (c != 'u') {
    const auto letter = kLetters.find(c);
    out.push_back(letter == std::string_view::npos ? c : kMeant[letter]);
    return 2;
  }
  const std::uint32_t unit = hex4(raw.substr(2));
  if (unit >= 0xd800 && unit < 0xdc00 && raw.substr(6, 2) == "\\u") {
    const std::uint32_t low = hex4(raw.substr(8));
    if (low >= 0xdc00 && low < 0xe000) {
      append_utf8(out, 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00));
      return 12;
    }
  }
  if (unit >= 0xd800 && unit < 0xe000)
    out += kReplacement;
  else
    append_utf8(out, unit);
  return 6;
}

}  // namespace

std::string decode_json_string(std::string_view raw) {
  std::string out;
  out.reserve(raw.size());
  while (!raw.empty()) {
    std::size_t length = 0;
    if (raw.front() == '\\') {
      length = append_escape(out, raw);
    } else if (length = utf8_length(raw); length > 0) {
      out += raw.substr(0, length);
    } else {
      out += kReplacement;
      length = 1;
    }
    raw.remove_prefix(length);
  }
  return out;
}

void JsonReader::skip_space() {
  while (at_ < text_.size()) {
    const char c = text_[at_];
    if (c != ' ' && c != '\n' && c != '\r' && c != '\t') return;
    ++at_;
  }
}

bool JsonReader::accept(char c) {
  if (failed_ || at_ >= text_.size() || text_[at_] != c) return false;
  ++at_;
  return true;
}

void JsonReader::keep(std::size_t bytes) {
  too_large_ = too_large_ || bytes > memory_;
  if (too_large_) return fail();
  memory_ -= bytes;
}

bool JsonReader::at_end() {
  skip_space();
  return at_ == text_.size();
}

JsonReader::Kind JsonReader::peek() {
  skip_space();
  if (failed_ || at_ >= text_.size()) return Kind::Nothing;
  switch (text_[at_]) {
    case '{':
      return Kind::Object;
    case '[':
      return Kind::Array;
    case '"':
      return Kind::String;
    case 't':
      return Kind::True;
    case 'f':
      return Kind::False;
    case 'n':
      return Kind::Null;
    default:
      return text_[at_] == '-' || is_digit(text_[at_]) ? Kind::Number : Kind::Nothing;
  }
}

std::string_view JsonReader::raw_string(bool& escaped) {
  if (!accept('"')) {
    fail();
    return {};
  }
  const std::size_t begin = at_;
  for (; at_ < text_.size(); ++at_) {
    const char c = text_[at_];
    if (c == '"') return text_.substr(begin, at_++ - begin);
    if (static_cast<unsigned char>(c) < 0x20) break;
    if (c != '\\' && static_cast<unsigned char>(c) < 0x80) continue;
    escaped = true;  // or not ASCII: to be looked at
    if (c != '\\') continue;
    if (++at_ >= text_.size()) break;
    if (text_[at_] == 'u') {
      for (int i = 0; i < 4; ++i)
        if (++at_ >= text_.size() || hex_value(text_[at_]) < 0) {
          fail();
          return {};
        }
    } else if (std::string_view("\"\\/bfnrt").find(text_[at_]) == std::string_view::npos) {
      break;
    }
  }
  fail();
  return {};
}

void JsonReader::scan_word(std::string_view word) {
  if (text_.substr(at_, word.size()) != word) return fail();
  at_ += word.size();
}

void JsonReader::scan_number() {
  const auto digits = [&] {
    const std::size_t begin = at_;
    while (at_ < text_.size() && is_digit(text_[at_])) ++at_;
    if (at_ == begin) fail();
  };
  (void)accept('-');
  if (!accept('0')) digits();
  if (accept('.')) digits();
  if (accept('e') || accept('E')) {
    if (!accept('+')) (void)accept('-');
    digits();
  }
}

// False in front of an object or array.
bool JsonReader::scan_scalar() {
  bool escaped = false;
  switch (peek()) {
    case Kind::Object:
    case Kind::Array:
      return false;
    case Kind::String:
      (void)raw_string(escaped);
      break;
    case Kind::Number:
      scan_number();
      break;
    case Kind::True:
      scan_word("true");
      break;
    case Kind::False:
      scan_word("false");
      break;
    case Kind::Null:
      scan_word("null");
      break;
    case Kind::Nothing:
      fail();
  }
  return true;
}

bool JsonReader::scan_key() {
  bool escaped = false;
  skip_space();
  (void)raw_string(escaped);
  skip_space();
  if (!accept(':')) fail();
  return !failed_;
}

// Behind a value inside of `open`: closes what is closed here, and stops in front of the next value,
// or where nothing is open any more.
bool JsonReader::scan_after_value(std::string& open) {
  while (!open.empty()) {
    skip_space();
    if (accept(',')) return open.back() == ']' || scan_key();
    if (!accept(open.back())) fail();
    if (failed_) return false;
    open.pop_back();
  }
  return false;
}

// Not recursive: the depth is the sender's choice, and costs a byte a level.
std::string_view JsonReader::skip() {
  skip_space();
  const std::size_t begin = at_;
  std::string open;  // the closing brackets that are awaited
  do {
    if (!scan_scalar()) {
      open.push_back(text_[at_++] == '{' ? '}' : ']');
      skip_space();
      if (accept(open.back())) {
        open.pop_back();
      } else {
        if (open.back() == '}') scan_key();
        continue;
      }
    }
    if (!scan_after_value(open)) break;
  } while (!failed_);
  return failed_ ? std::string_view{} : text_.substr(begin, at_ - begin);
}

std::optional<std::string> JsonReader::string() {
  if (peek() != Kind::String) {
    skip();
    return std::nullopt;
  }
  bool escaped = false;
  const std::string_view raw = raw_string(escaped);
  if (failed_) return std::nullopt;
  keep(raw.size());
  return escaped ? decode_json_string(raw) : std::string(raw);
}

std::optional<bool> JsonReader::boolean() {
  const Kind kind = peek();
  skip();
  if (failed_ || (kind != Kind::True && kind != Kind::False)) return std::nullopt;
  return kind == Kind::True;
}

}  // namespace lb::marathon
