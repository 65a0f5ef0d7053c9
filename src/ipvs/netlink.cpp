#include "ipvs/netlink.h"

#include <linux/genetlink.h>
#include <linux/netlink.h>

#include <cerrno>

#include <fmt/format.h>

namespace lb::ipvs {
namespace {

// Reads a value that lies in the bytes, whatever its alignment there.
template <class T>
T load(Bytes bytes) {
  T out;
  std::memcpy(&out, bytes.data(), sizeof out);
  return out;
}

template <class T>
void append(Buffer& out, const T& value) {
  const auto at = out.size();
  out.resize(at + sizeof value);
  std::memcpy(out.data() + at, &value, sizeof value);
}

constexpr std::size_t aligned(std::size_t length) { return NLMSG_ALIGN(length); }
static_assert(NLMSG_ALIGNTO == NLA_ALIGNTO);

void pad(Buffer& out) { out.resize(aligned(out.size())); }

}  // namespace

Result<std::vector<Message>> split_messages(Bytes bytes) {
  std::vector<Message> out;
  while (!bytes.empty()) {
    if (bytes.size() < sizeof(nlmsghdr))
      return fail(EBADMSG, fmt::format("netlink: {} bytes left of a header", bytes.size()));
    const auto header = load<nlmsghdr>(bytes);
    if (header.nlmsg_len < sizeof header || header.nlmsg_len > bytes.size())
      return fail(EBADMSG, fmt::format("netlink: a message of {} bytes in {}", header.nlmsg_len,
                                       bytes.size()));
    out.push_back({header.nlmsg_type, header.nlmsg_flags, header.nlmsg_seq,
                   bytes.subspan(sizeof header, header.nlmsg_len - sizeof header)});
    bytes = bytes.subspan(std::min(aligned(header.nlmsg_len), bytes.size()));
  }
  return out;
}

Result<int> decode_error(const Message& message) {
  if (message.payload.size() < sizeof(std::int32_t))
    return fail(EBADMSG, "netlink: an acknowledgement without a number");
  const auto error = load<std::int32_t>(message.payload);
  // -4095 is the lowest errno of the kernel (MAX_ERRNO); dumps may end with a positive number, which is none.
  return error < 0 && error >= -4095 ? -error : 0;
}

Result<Attributes> Attributes::parse(Bytes bytes) {
  Attributes out;
  while (bytes.size() >= sizeof(nlattr)) {  // less is padding
    const auto header = load<nlattr>(bytes);
    if (header.nla_len < sizeof header || header.nla_len > bytes.size())
      return fail(EBADMSG, fmt::format("netlink: an attribute of {} bytes in {}", header.nla_len,
                                       bytes.size()));
    const std::size_t type = header.nla_type & NLA_TYPE_MASK;
    if (type < kKnownTypes)
      out.values_[type] = bytes.subspan(sizeof header, header.nla_len - sizeof header);
    bytes = bytes.subspan(std::min(aligned(header.nla_len), bytes.size()));
  }
  return out;
}

std::optional<Bytes> Attributes::find(std::uint16_t type) const {
  return type < kKnownTypes ? values_[type] : std::nullopt;
}

Result<Bytes> Attributes::bytes(std::uint16_t type, std::string_view name,
                                std::size_t at_least) const {
  const auto value = find(type);
  if (!value) return fail(EBADMSG, fmt::format("netlink: no {}", name));
  if (value->size() < at_least)
    return fail(EBADMSG, fmt::format("netlink: {} is {} bytes long", name, value->size()));
  return *value;
}

Result<Attributes> Attributes::nested(std::uint16_t type, std::string_view name) const {
  LB_TRY(const Bytes value, bytes(type, name, 0));
  return parse(value);
}

Result<std::string> Attributes::string(std::uint16_t type, std::string_view name) const {
  LB_TRY(const Bytes value, bytes(type, name, 0));
  const std::string text(value.begin(), value.end());
  return text.substr(0, text.find('\0'));
}

MessageWriter::MessageWriter(Buffer& out, const Header& header) : out_(out), start_(out.size()) {
  append(out_, nlmsghdr{0, header.family, header.flags, header.sequence, 0});
  append(out_, genlmsghdr{header.command, header.version, 0});
}

MessageWriter::~MessageWriter() {
  const auto length = static_cast<std::uint32_t>(out_.size() - start_);
  std::memcpy(out_.data() + start_ + offsetof(nlmsghdr, nlmsg_len), &length, sizeof length);
}

void MessageWriter::put(std::uint16_t type, Bytes value) {
  append(out_, nlattr{static_cast<std::uint16_t>(sizeof(nlattr) + value.size()), type});
  out_.insert(out_.end(), value.begin(), value.end());
  pad(out_);
}

void MessageWriter::put_string(std::uint16_t type, std::string_view text) {
  Buffer value(text.begin(), text.end());
  value.push_back(0);
  put(type, value);
}

std::size_t MessageWriter::open_nest(std::uint16_t type) {
  const auto at = out_.size();
  append(out_, nlattr{0, static_cast<std::uint16_t>(type | NLA_F_NESTED)});
  return at;
}

void MessageWriter::close_nest(std::size_t at) {
  const auto length = static_cast<std::uint16_t>(out_.size() - at);
  std::memcpy(out_.data() + at + offsetof(nlattr, nla_len), &length, sizeof length);
}

}  // namespace lb::ipvs
