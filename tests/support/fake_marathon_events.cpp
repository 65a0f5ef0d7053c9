#include "support/fake_marathon_events.h"

#include <algorithm>
#include <stdexcept>

#include <fmt/format.h>

namespace lb::test {

StreamPtr EventStreams::add(LinkPtr link, const MarathonRequest& request,
                            const MarathonVersion& version) {
  auto stream = std::make_shared<EventStream>(std::move(link), executor_);
  const auto [first, last] = request.query.equal_range("event_type");
  if (version.at_least(1, 3, 7))
    for (auto it = first; it != last; ++it) stream->filter.insert(it->second);
  const auto format = request.query.find("plan-format");
  const bool asked = format != request.query.end() && format->second == "light";
  stream->light = version.at_least(1, 7) || (version.at_least(1, 6) && asked);
  streams_.push_back(stream);
  return stream;
}

void EventStreams::remove(const StreamPtr& stream) { std::erase(streams_, stream); }

void EventStreams::send(EventStream& stream, std::string bytes) const {
  if (stalled_ || stream.ended) return;
  stream.waiting.push_back(std::move(bytes));
  stream.wake.notify();
}

void EventStreams::emit(const std::string& type, nlohmann::json data,
                        const MarathonVersion& version, const std::string& time) {
  data["eventType"] = type;
  data["timestamp"] = time;
  const std::string head = version.at_least(0, 11) ? fmt::format("event: {}\r\n", type) : "";
  const std::string full = data.contains("plan") ? data.dump() : "";
  if (data.contains("plan")) {
    data["plan"].erase("original");
    data["plan"].erase("target");
  }
  const std::string light = data.dump();
  for (const StreamPtr& stream : streams_) {
    if (!stream->filter.empty() && !stream->filter.contains(type)) continue;
    const std::string& text = stream->light || full.empty() ? light : full;
    send(*stream, fmt::format("{}data: {}\r\n\r\n", head, text));
  }
}

void EventStreams::heartbeat() {
  for (const StreamPtr& stream : streams_) {
    send(*stream, "\r");
    send(*stream, "\n");
  }
}

void EventStreams::command(const std::string& how) {
  if (how == "stall" || how == "resume") {
    stalled_ = how == "stall";
    return;
  }
  if (how != "half_close" && how != "close" && how != "reset")
    throw std::runtime_error("streams can stall, resume, half_close, close and reset, not " + how);
  for (const StreamPtr& stream : streams_) {
    if (how == "half_close") stream->link->half_close();
    if (how == "reset") stream->link->reset();
    if (how == "half_close") continue;
    stream->ended = true;
    stream->wake.notify();
  }
}

}  // namespace lb::test
