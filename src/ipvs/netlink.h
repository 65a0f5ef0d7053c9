// Netlink messages and attributes as bytes, both ways. Pure, and distrustful of what it reads: a length that
// lies is an error, never a read outside the bytes given. Knows no family, no socket and no libnl.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace lb::ipvs {

using Bytes = std::span<const std::uint8_t>;
using Buffer = std::vector<std::uint8_t>;

// Byte order of the fields is the host's, as netlink's is.
struct Message {
  std::uint16_t type = 0;
  std::uint16_t flags = 0;
  std::uint32_t sequence = 0;
  Bytes payload;  // without the header; a view
};

// What one recv() has given. EBADMSG where a header or a length is cut.
[[nodiscard]] Result<std::vector<Message>> split_messages(Bytes bytes);

// The errno in an NLMSG_ERROR or NLMSG_DONE, positive; 0 where it acknowledges.
[[nodiscard]] Result<int> decode_error(const Message& message);

// The attributes of one level, by type. Of a type that is there twice the last counts, and one that is not known here
// is passed over: both as in the kernel's nla_parse().
class Attributes {
 public:
  // Types from here on are newer than this code.
  static constexpr std::size_t kKnownTypes = 32;

  [[nodiscard]] static Result<Attributes> parse(Bytes bytes);

  [[nodiscard]] std::optional<Bytes> find(std::uint16_t type) const;
  // The errors name the attribute: "no PORT", "PORT is 1 bytes long".
  [[nodiscard]] Result<Bytes> bytes(std::uint16_t type, std::string_view name,
                                    std::size_t at_least) const;
  [[nodiscard]] Result<Attributes> nested(std::uint16_t type, std::string_view name) const;
  [[nodiscard]] Result<std::string> string(std::uint16_t type, std::string_view name) const;
  template <class Number>
  [[nodiscard]] Result<Number> number(std::uint16_t type, std::string_view name) const {
    LB_TRY(const Bytes value, bytes(type, name, sizeof(Number)));
    Number out;
    std::memcpy(&out, value.data(), sizeof out);
    return out;
  }

 private:
  std::array<std::optional<Bytes>, kKnownTypes> values_;
};

// Appends one generic netlink message to a buffer; its length is right when this object has gone.
class MessageWriter {
 public:
  struct Header {
    std::uint16_t family = 0;
    std::uint16_t flags = 0;  // NLM_F_*
    std::uint32_t sequence = 0;
    std::uint8_t command = 0;
    std::uint8_t version = 1;
  };

  MessageWriter(Buffer& out, const Header& header);
  MessageWriter(const MessageWriter&) = delete;
  MessageWriter& operator=(const MessageWriter&) = delete;
  ~MessageWriter();

  void put(std::uint16_t type, Bytes value);
  void put_string(std::uint16_t type, std::string_view text);  // with its NUL
  template <class Number>
  void put_number(std::uint16_t type, Number value) {
    std::array<std::uint8_t, sizeof value> raw;
    std::memcpy(raw.data(), &value, sizeof value);
    put(type, raw);
  }
  template <class Fill>
  void nest(std::uint16_t type, Fill fill) {
    const std::size_t at = open_nest(type);
    fill();
    close_nest(at);
  }

 private:
  std::size_t open_nest(std::uint16_t type);
  void close_nest(std::size_t at);

  Buffer& out_;
  std::size_t start_;
};

}  // namespace lb::ipvs
