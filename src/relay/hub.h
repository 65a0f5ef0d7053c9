// What the sessions of one server share.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>

#include "relay/admission.h"
#include "relay/budget.h"
#include "relay/decoder.h"
#include "relay/departed.h"
#include "relay/feed.h"
#include "relay/fleet.h"
#include "relay/line.h"
#include "relay/server.h"
#include "relay/tls_in_use.h"

namespace lb::relay {

class Session;

// Sessions hold it; once `stopped`, nothing in it that belongs to somebody else is touched.
class Hub {
 public:
  using Id = Admission::Id;

  Hub(asio::io_context& context, FleetOrders& known, std::string host, std::string lbd,
      std::function<void()> on_change, Admission::Limits quotas);

  // Of this host. Adopts, and tells everybody; what is refused is logged. `refused`: as in Orders.
  void adopt(const std::string& host, const std::vector<FleetOrder>& adopted,
             const std::string& refused);
  // Looks for orders that are new in `orders`, and wakes the sessions.
  void orders_changed();
  // The next piece of what is new since `serial`, which becomes that of the piece. Null when there is none.
  [[nodiscard]] Line orders_after(std::uint64_t& serial);
  [[nodiscard]] std::string order_key() const { return orders_.keys().own(); }
  // The first piece, for a hello.
  [[nodiscard]] std::vector<FleetOrder> first_orders(std::uint64_t& serial) const;
  [[nodiscard]] Line ping();  // encoded once per change
  void marks_changed() { ping_.reset(); }

  void wake_all();
  // Logged once per host and reason, until it says a good hello. No flood of reasons floods the log. Whether it was logged now.
  bool complain(const std::string& host, const std::string& reason);
  void welcome(const std::string& host) { complaints_.erase(owner_of(host)); }

  // A connection has come; maybe another one has to go for it. `host`: its address.
  void enter(const std::shared_ptr<Session>& session, const std::string& host);
  // It has said a good hello. false: there is no room for it.
  [[nodiscard]] bool join(const std::shared_ptr<Session>& session);
  // Remembers who has gone, for 10 minutes.
  void leave(const std::shared_ptr<Session>& session);
  // Cuts it off, with a word.
  void evict(Id id, const std::string& reason);
  // Before a connection keeps so many bytes of an unfinished line. ENOBUFS: it is the one too many.
  [[nodiscard]] Result<> hold_unfinished(Id id, std::size_t size);

  // Backends are shown of the first of them only, when there are very many.
  [[nodiscard]] std::vector<ListenerView> views() const;
  [[nodiscard]] FleetProgress progress(const FleetOrder& order, bool settled) const;
  // Which of these orders have ended at every listener; none, if one is away.
  [[nodiscard]] std::set<std::string> ended(std::set<std::string> ids) const;

  asio::io_context& io;
  std::string node;
  std::string version;
  std::shared_ptr<TlsInUse> tls;  // null: plain
  bool compares_names = false;    // of a listener's certificate and its hello
  StateFeed feed;
  Decoder decoder;
  std::map<Id, std::shared_ptr<Session>> sessions;  // from accept on
  Budget unfinished, counts, reports;
  std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();
  bool stopped = false;

 private:
  struct Told {
    FleetOrder order;
    std::uint64_t serial = 0;  // larger: found later
  };
  struct Piece {
    Line line;
    std::uint64_t serial = 0;  // of its last order
  };
  struct Complaints {
    std::set<std::string> reasons;
    std::chrono::steady_clock::time_point since;
  };

  [[nodiscard]] std::vector<FleetOrder> piece_after(std::uint64_t& serial) const;
  template <class Visit>
  void for_each_listener(Visit visit) const;

  FleetOrders& orders_;
  std::function<void()> changed_;
  Admission admission_;
  std::vector<Told> told_;  // what orders_changed() has found so far, sorted like orders_
  std::vector<std::size_t> by_serial_;  // positions in told_
  std::uint64_t serial_ = 0;
  std::map<std::uint64_t, Piece> pieces_;  // by the serial that they follow
  Line ping_;
  std::map<std::string, Complaints> complaints_;  // by owner of an address
  std::chrono::steady_clock::time_point log_since_{};
  int logged_ = 0;  // complaints since then
  Departed departed_;
};

// "10.0.0.7" of "10.0.0.7:41234"
[[nodiscard]] std::string host_of(const std::string& peer);

}  // namespace lb::relay
