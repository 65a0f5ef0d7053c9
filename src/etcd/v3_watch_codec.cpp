#include "etcd/v3_watch_codec.h"

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "base/text.h"
#include "etcd/v3_json.h"

namespace lb::etcd {
namespace {

Event read_event(const json& event) {
  Event out;
  const auto type = event.find("type");  // missing: PUT
  out.is_delete = type != event.end() && *type == "DELETE";
  out.kv = json_kv(event.at("kv"));
  if (const auto it = event.find("prev_kv"); it != event.end()) out.previous = json_kv(*it);
  return out;
}

WatchMessage read_error(const json& root, std::string_view line) {
  WatchMessage out;
  out.canceled = true;
  out.reason = json_error(root);
  if (out.reason.empty()) out.reason = "neither result nor error: " + printable(line);
  if (const auto it = root.find("error"); it != root.end() && it->is_object())
    out.grpc = static_cast<int>(json_int(*it, "grpc_code"));
  return out;
}

Result<WatchMessage> read_watch(const json& root, std::string_view line) {
  const auto result = root.find("result");
  if (result == root.end()) return read_error(root, line);
  WatchMessage out;
  out.header = json_header(*result);
  out.created = json_flag(*result, "created");
  out.canceled = json_flag(*result, "canceled");
  out.fragment = json_flag(*result, "fragment");
  out.watch_id = json_int(*result, "watch_id");
  out.compact_revision = json_int(*result, "compact_revision");
  out.reason = json_text(*result, "cancel_reason");
  if (const auto it = result->find("events"); it != result->end())
    for (const json& event : *it) out.events.push_back(read_event(event));
  return out;
}

void append(std::vector<Event>& to, std::vector<Event> from) {
  to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

}  // namespace

Result<WatchMessage> parse_watch_message(std::string_view line) {
  return read_json(line, [line](const json& root) { return read_watch(root, line); });
}

Result<> WatchAssembler::feed(std::string_view bytes) {
  lines_.feed(bytes);
  for (;;) {
    LB_TRY(const std::optional<std::string> line, lines_.next());
    if (!line) return {};
    LB_TRY(WatchMessage message, parse_watch_message(*line));
    LB_CHECK(take(std::move(message), line->size()));
  }
}

Error WatchAssembler::end() {
  // Who is no etcd ends with no newline, and an error of etcd's may.
  if (lines_.pending() > 0)
    if (auto last = feed("\n"); !last) return std::move(last.error());
  return {std::error_code(ECONNRESET, std::generic_category()), "etcd ended the watch"};
}

tl::unexpected<Error> WatchAssembler::canceled(const WatchMessage& message) {
  if (message.compact_revision > 0)
    return fail(ESTALE, fmt::format("the watched revision was compacted (up to {})",
                                    message.compact_revision));
  if (message.reason.empty()) return fail(EREMOTEIO, "etcd ended the watch and gave no reason");
  auto [error, token] = refusal_of(message.grpc, message.reason);
  // Members before 3.4.22 call an expired token a lack of permission.
  wants_token_ = token || error.code.value() == EACCES;
  // Of a watch ETIMEDOUT means silence, and that it goes on; this one does not.
  if (error.code.value() == ETIMEDOUT)
    error.code = std::error_code(EREMOTEIO, std::generic_category());
  error.context = "etcd ended the watch: " + error.context;
  return tl::unexpected(std::move(error));
}

// A member that knows less than we do (restored, or another cluster behind the same address) accepts
// a watch from a future revision and then says nothing: only its `created` shows it.
Result<> WatchAssembler::take_created(const Header& header) {
  if (created_ == asked_.size()) return fail(EBADMSG, "etcd confirmed a watch nobody asked for");
  const auto needed = asked_[created_++].start_revision - 1;
  if (header.cluster != cluster_) return fail(ESTALE, "another cluster answers there now");
  if (header.revision < needed)
    return fail(ESTALE, fmt::format("answers with revision {}, older than {} that was seen before",
                                    header.revision, needed));
  return {};
}

Result<> WatchAssembler::take(WatchMessage message, std::size_t bytes) {
  if (message.canceled || message.compact_revision > 0) return canceled(message);
  if (message.created) return take_created(message.header);
  if (message.header.cluster != cluster_) return fail(ESTALE, "another cluster answers there now");
  ready_.header = {cluster_, std::max(ready_.header.revision, message.header.revision)};
  if (message.fragment) {
    append(held_[message.watch_id], std::move(message.events));
  } else if (auto whole = held_.extract(message.watch_id); !whole.empty()) {
    append(ready_.events, std::move(whole.mapped()));
  }
  held_bytes_ = held_.empty() ? 0 : held_bytes_ + bytes;
  if (held_bytes_ > limit_)
    return fail(EMSGSIZE,
                fmt::format("etcd sent a transaction in fragments of more than {} bytes", limit_));
  if (message.fragment) return {};
  append(ready_.events, std::move(message.events));
  has_ready_ = true;
  return {};
}

std::optional<Batch> WatchAssembler::next() {
  if (!has_ready_ || !held_.empty()) return std::nullopt;
  has_ready_ = false;
  std::ranges::stable_sort(ready_.events, {},
                           [](const Event& event) { return event.kv.mod_revision; });
  return std::exchange(ready_, {});
}

}  // namespace lb::etcd
