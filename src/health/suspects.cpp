#include "health/suspects.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <deque>
#include <map>
#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/spawn.h"
#include "health/prober.h"

namespace lb {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// Each look holds a descriptor; more backends than that do not fail all at once but by a fault of this host.
constexpr std::size_t kMostLooks = 128;
// Looks at one address that are due within this time are one.
constexpr milliseconds kTogether{50};

}  // namespace

class SuspectProber::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(asio::io_context& io, Tell tell, HealthMonitor::Probe probe, milliseconds rest)
      : io_(io), tell_(std::move(tell)), probe_(std::move(probe)), rest_(rest) {
    if (!probe_)
      probe_ = [prober = std::make_shared<Prober>(io)](Address to, HealthCheck check) {
        return prober->probe(to, std::move(check));
      };
  }

  void look(const ConnectFailure& failure, milliseconds after) {
    if (stopped_) return;
    Suspect& suspect = suspects_.try_emplace(failure.backend, io_).first->second;
    want(suspect, failure.service,
         {Clock::now() + after, failure.kind == ConnectFailure::Kind::SynRetransmitted});
    plan(failure.backend, suspect);
  }

  // Looks that are under way hold this until they end.
  void stop() {
    stopped_ = true;
    waiting_.clear();
    for (auto& [address, suspect] : suspects_) suspect.timer.cancel();
  }

 private:
  struct Wish {
    Clock::time_point due;
    bool quick;
  };
  using Wishes = std::map<ServiceKey, Wish>;
  struct Suspect {
    explicit Suspect(asio::io_context& io) : timer(io) {}

    Wishes wishes;
    asio::steady_timer timer;
    Clock::time_point rested = Clock::time_point::min();  // no look begins before
    bool busy = false;                                    // waiting for its turn, or looked at
  };

  // The earlier look serves both, with the time that the more patient one gives.
  static void want(Suspect& suspect, const ServiceKey& service, Wish wish) {
    const auto [it, fresh] = suspect.wishes.try_emplace(service, wish);
    if (fresh) return;
    it->second.due = std::min(it->second.due, wish.due);
    it->second.quick = it->second.quick && wish.quick;
  }

  // When the next look at the address begins; a suspect that no service waits for is forgotten once it has rested.
  void plan(const Address& address, Suspect& suspect) {
    if (suspect.busy || stopped_) return;
    Clock::time_point next = suspect.rested;
    if (!suspect.wishes.empty()) {
      const auto first = std::min_element(
          suspect.wishes.begin(), suspect.wishes.end(),
          [](const auto& a, const auto& b) { return a.second.due < b.second.due; });
      next = std::max(next, first->second.due);
    }
    if (next <= Clock::now()) {
      begin_or_forget(address, suspect);
      return;
    }
    suspect.timer.expires_at(next);
    suspect.timer.async_wait(
        [weak = weak_from_this(), address](const boost::system::error_code& ec) {
          const auto self = weak.lock();
          if (ec || !self || self->stopped_) return;
          if (const auto it = self->suspects_.find(address); it != self->suspects_.end())
            self->begin_or_forget(address, it->second);
        });
  }

  void begin_or_forget(const Address& address, Suspect& suspect) {
    if (suspect.busy) return;
    if (suspect.wishes.empty()) {
      suspects_.erase(address);
      return;
    }
    suspect.busy = true;
    suspect.timer.cancel();
    waiting_.push_back(address);
    begin_some();
  }

  // Of the services that wait for a look, those for which it is time.
  static Wishes take_due(Suspect& suspect) {
    Wishes due;
    for (auto it = suspect.wishes.begin(); it != suspect.wishes.end();) {
      const bool now = it->second.due <= Clock::now() + kTogether;
      if (now) due.insert(*it);
      it = now ? suspect.wishes.erase(it) : std::next(it);
    }
    return due;
  }

  void begin_some() {
    while (!stopped_ && looks_ < kMostLooks && !waiting_.empty()) {
      const Address address = waiting_.front();
      waiting_.pop_front();
      ++looks_;
      // Who fails from now on is told of after the rest: what was met until then says nothing of it.
      Wishes wishes = take_due(suspects_.at(address));
      const bool quick = std::all_of(wishes.begin(), wishes.end(),
                                     [](const auto& wish) { return wish.second.quick; });
      HealthCheck check;
      check.timeout = quick ? kQuickTimeout : kTimeout;
      asio::co_spawn(io_, probe_(address, check),
                     [self = shared_from_this(), address, quick, wishes = std::move(wishes)](
                         const std::exception_ptr& error, const Result<>& found) {
                       if (error)
                         root_ended(self->io_, "look at a suspect", error);
                       else
                         self->end(address, wishes, quick, found);
                     });
    }
  }

  void end(const Address& address, const Wishes& wishes, bool quick, const Result<>& found) {
    --looks_;
    if (stopped_) return;
    Suspect& suspect = suspects_.at(address);
    suspect.busy = false;
    suspect.rested = Clock::now() + rest_;
    const bool tells = found || tells_of_backend(found.error());
    for (const auto& [service, wish] : wishes) {
      const auto again = tells ? tell_({service, address, found, quick}) : rest_;
      if (again) want(suspect, service, {Clock::now() + *again, false});
    }
    plan(address, suspect);
    begin_some();
  }

  asio::io_context& io_;
  Tell tell_;
  HealthMonitor::Probe probe_;
  const milliseconds rest_;
  std::map<Address, Suspect> suspects_;
  std::deque<Address> waiting_;
  std::size_t looks_ = 0;
  bool stopped_ = false;
};

SuspectProber::SuspectProber(asio::io_context& io, Tell tell, HealthMonitor::Probe probe,
                             milliseconds rest)
    : impl_(std::make_shared<Impl>(io, std::move(tell), std::move(probe), rest)) {}

SuspectProber::~SuspectProber() { impl_->stop(); }

void SuspectProber::look(const ConnectFailure& failure) { impl_->look(failure, milliseconds(0)); }

void SuspectProber::look_later(const ConnectFailure& failure, milliseconds after) {
  impl_->look(failure, after);
}

ConnectFailure as_met(const SuspectProber::Looked& looked) {
  ConnectFailure out;
  out.service = looked.service;
  out.backend = looked.backend;
  out.confirmed = true;
  const std::error_code& code = looked.found.error().code;
  out.error = code.value();
  if (code == std::errc::connection_refused)
    out.kind = ConnectFailure::Kind::Refused;
  else if (code == std::errc::timed_out)
    out.kind = ConnectFailure::Kind::TimedOut;
  return out;
}

}  // namespace lb
