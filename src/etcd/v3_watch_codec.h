// The stream of a v3 watch as values: bytes to messages to batches. Knows no socket.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "etcd/lines.h"
#include "etcd/types.h"
#include "etcd/v3_codec.h"

namespace lb::etcd {

struct WatchMessage {
  Header header;
  bool created = false;
  bool canceled = false;
  bool fragment = false;  // more of the same transaction follows
  std::int64_t watch_id = 0;
  std::int64_t compact_revision = 0;
  int grpc = 0;        // code of the error that ends the stream
  std::string reason;  // why it was canceled, or that error
  std::vector<Event> events;
};

// One line of the stream. A stream error arrives as canceled with its reason.
[[nodiscard]] Result<WatchMessage> parse_watch_message(std::string_view line);

// Puts the batches together. Any error ends the watch; it does not name the endpoint.
class WatchAssembler {
 public:
  // No message, and no transaction in fragments, may be larger than `limit` bytes of JSON.
  WatchAssembler(std::uint64_t cluster, std::vector<WatchRequest> asked, std::size_t limit)
      : cluster_(cluster), asked_(std::move(asked)), limit_(limit), lines_(limit) {}

  [[nodiscard]] Result<> feed(std::string_view bytes);
  // Bytes of a message that is not whole yet.
  [[nodiscard]] std::size_t pending() const { return lines_.pending(); }
  // The stream has ended: why.
  [[nodiscard]] Error end();
  // Every watch that was asked for is there, and `cluster` is who answers.
  [[nodiscard]] bool confirmed() const { return created_ == asked_.size(); }
  // What has become whole since the last call; nullopt: nothing. One transaction may reach two of the
  // watches in two messages: those that arrived together are one batch.
  [[nodiscard]] std::optional<Batch> next();
  // After an error: a new token may help.
  [[nodiscard]] bool wants_token() const { return wants_token_; }

 private:
  [[nodiscard]] Result<> take(WatchMessage message, std::size_t bytes);
  [[nodiscard]] Result<> take_created(const Header& header);
  [[nodiscard]] tl::unexpected<Error> canceled(const WatchMessage& message);

  std::uint64_t cluster_;
  std::vector<WatchRequest> asked_;
  std::size_t limit_;
  LineSplitter lines_;
  std::size_t created_ = 0;
  bool wants_token_ = false;
  Batch ready_;
  bool has_ready_ = false;
  std::map<std::int64_t, std::vector<Event>> held_;  // fragments, by watch id
  std::size_t held_bytes_ = 0;
};

}  // namespace lb::etcd
