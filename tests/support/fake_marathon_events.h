// The event streams that a fake Marathon serves.
#pragma once

#include <deque>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/event.h"
#include "support/fake_marathon_link.h"
#include "support/fake_marathon_model.h"

namespace lb::test {

struct EventStream {
  EventStream(LinkPtr l, asio::any_io_executor executor)
      : link(std::move(l)), wake(std::move(executor)) {}
  LinkPtr link;
  std::set<std::string> filter;  // empty: everything
  bool light = false;            // without plans
  bool ended = false;
  std::deque<std::string> waiting;  // each is a write of its own
  Event wake;
};
using StreamPtr = std::shared_ptr<EventStream>;

class EventStreams {
 public:
  explicit EventStreams(asio::any_io_executor executor) : executor_(std::move(executor)) {}

  // What this version reads of the query.
  StreamPtr add(LinkPtr link, const MarathonRequest& request, const MarathonVersion& version);
  void remove(const StreamPtr& stream);
  void emit(const std::string& type, nlohmann::json data, const MarathonVersion& version,
            const std::string& time);
  void heartbeat();                      // CR and LF in segments of their own
  void command(const std::string& how);  // stall, resume, half_close, close, reset
  [[nodiscard]] std::size_t size() const { return streams_.size(); }

 private:
  void send(EventStream& stream, std::string bytes) const;
  asio::any_io_executor executor_;
  std::vector<StreamPtr> streams_;
  bool stalled_ = false;
};

}  // namespace lb::test
