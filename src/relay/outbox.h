// What a listener still has to say to one updater, in pieces of bounded size. The latest wins: an updater
// that reads slowly is told less often, not later and later. A value.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "relay/fleet.h"
#include "relay/message.h"

namespace lb::relay {

// Both sorted by service and backend, counts above 0: what to tell someone who knows `before`.
[[nodiscard]] std::vector<Counts::Item> count_changes(const std::vector<Counts::Item>& before,
                                                      const std::vector<Counts::Item>& after);

// The first of them, as many as one line takes (limits::kPiece).
[[nodiscard]] std::vector<FleetOrder> first_piece(const std::vector<FleetOrders::Known>& orders);

class Outbox {
 public:
  using CountsPtr = std::shared_ptr<const std::vector<Counts::Item>>;
  using ReportPtr = std::shared_ptr<const std::vector<OrderReport::Item>>;

  // A new connection, whose hello tells of these orders.
  void restart(const std::vector<FleetOrder>& orders);
  // The updater has told of these: it knows them.
  void heard(const std::vector<FleetOrder>& orders);

  void feed(Feed feed);
  void resync();
  void ack(Position position);
  void orders_changed() { orders_changed_ = true; }
  void report(ReportPtr report) {
    report_ = std::move(report);
    reported_ = 0;
  }
  void counts(CountsPtr counts) { counts_ = std::move(counts); }
  void ping() { ping_ = true; }  // a ping is due, and with it what has changed in the counts

  // What to say next; nullopt: nothing for now.
  [[nodiscard]] std::optional<Message> next(const std::vector<FleetOrders::Known>& orders);

 private:
  using Target = std::pair<std::string, std::string>;     // target, service
  using Age = std::tuple<SysTime, std::string, SysTime>;  // the larger one is in force, or renewed

  void knows(const FleetOrder& order);
  [[nodiscard]] std::vector<FleetOrder> untold(const std::vector<FleetOrders::Known>& orders);
  [[nodiscard]] Message next_report();
  [[nodiscard]] std::optional<Message> next_counts();

  std::map<Target, Age> known_;  // there
  bool orders_changed_ = false;
  std::optional<Feed> feed_;
  bool resync_ = false;
  std::optional<Position> ack_, acked_;
  ReportPtr report_, told_report_;
  std::size_t reported_ = 0;  // items of report_
  CountsPtr counts_, told_counts_;
  std::vector<Counts::Item> changes_;  // up to told_counts_, not told yet, the next one last
  bool ping_ = false;
};

}  // namespace lb::relay
