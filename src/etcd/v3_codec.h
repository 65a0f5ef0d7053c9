// The JSON gateway of etcd v3 as values: requests to text, answers and watch messages from text.
// Knows no socket. Tolerant where versions differ: 64-bit numbers may be strings or numbers, zero
// values are left out, `error` is a text, an object or missing.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "etcd/types.h"

namespace lb::etcd {

struct RangeResponse {
  Header header;
  std::vector<KeyValue> kvs;
  bool more = false;
};

struct WatchMessage {
  Header header;
  bool created = false;
  bool canceled = false;
  std::int64_t watch_id = 0;
  std::int64_t compact_revision = 0;
  std::string reason;  // why it was canceled, or the error that ends the stream
  std::vector<Event> events;
};

// The end of the range of all keys that start with `prefix`: its last byte plus one, 0xff carried.
[[nodiscard]] std::string prefix_end(std::string_view prefix);

[[nodiscard]] std::string range_request(std::string_view prefix);
// Several watches on one connection get the ids 0, 1, ... in this order.
[[nodiscard]] std::string watch_request(const std::vector<WatchRequest>& watches);

// `status` is HTTP's; any but 200 is an error with etcd's own words in it.
[[nodiscard]] Result<RangeResponse> parse_range(int status, std::string_view body);
// One line of the stream. A stream error arrives as canceled with its reason.
[[nodiscard]] Result<WatchMessage> parse_watch_message(std::string_view line);
// What etcd says in an error body; HTML and the like are shortened to something printable.
[[nodiscard]] std::string error_text(int status, std::string_view body);

// Cuts the body of a watch into lines: etcd ends each message with a newline, which may arrive in a
// chunk of its own.
class LineSplitter {
 public:
  explicit LineSplitter(std::size_t limit) : limit_(limit) {}
  // EMSGSIZE when a line gets longer than the limit.
  [[nodiscard]] Result<std::vector<std::string>> feed(std::string_view bytes);

 private:
  std::size_t limit_;
  std::string rest_;
};

}  // namespace lb::etcd
