#include "health/suspects.h"

#include <cerrno>
#include <cstddef>
#include <deque>
#include <map>
#include <set>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/spawn.h"
#include "health/prober.h"

namespace lb {
namespace {

// Each look holds a descriptor; more backends than that do not fail all at once but by a fault of this host.
constexpr std::size_t kMostLooks = 128;

ConnectFailure as_met(const ServiceKey& service, const Address& backend, const Error& error) {
  ConnectFailure out;
  out.service = service;
  out.backend = backend;
  out.error = error.code.value();
  out.confirmed = true;
  if (error.code == std::errc::connection_refused)
    out.kind = ConnectFailure::Kind::Refused;
  else if (error.code == std::errc::timed_out)
    out.kind = ConnectFailure::Kind::TimedOut;
  return out;
}

}  // namespace

class SuspectProber::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(asio::io_context& io, std::function<void(const ConnectFailure&)> confirmed,
       HealthMonitor::Probe probe, std::chrono::milliseconds rest)
      : io_(io), confirmed_(std::move(confirmed)), probe_(std::move(probe)), rest_(rest) {
    if (!probe_)
      probe_ = [prober = std::make_shared<Prober>(io)](Address to, HealthCheck check) {
        return prober->probe(to, std::move(check));
      };
  }

  void look(const ConnectFailure& failure) {
    const auto [it, fresh] = suspects_.try_emplace(failure.backend);
    it->second.insert(failure.service);
    if (!fresh) return;
    waiting_.push_back(failure.backend);
    begin_some();
  }

  // Looks that are under way hold this until they end.
  void stop() {
    stopped_ = true;
    waiting_.clear();
    for (auto& [address, timer] : resting_) timer.cancel();
  }

 private:
  void begin_some() {
    while (!stopped_ && looks_ < kMostLooks && !waiting_.empty()) {
      const Address address = waiting_.front();
      waiting_.pop_front();
      ++looks_;
      HealthCheck check;
      check.timeout = kTimeout;
      // Who fails from now on is told of after the rest: what was met until then says nothing of it.
      std::set<ServiceKey> services = std::exchange(suspects_.at(address), {});
      asio::co_spawn(io_, probe_(address, check),
                     [self = shared_from_this(), address, services = std::move(services)](
                         const std::exception_ptr& error, const Result<>& found) {
                       if (error)
                         root_ended(self->io_, "look at a suspect", error);
                       else
                         self->end(address, services, found);
                     });
    }
  }

  void end(const Address& address, const std::set<ServiceKey>& services, const Result<>& found) {
    --looks_;
    if (stopped_) return;
    rest(address);
    begin_some();
    if (found || !tells_of_backend(found.error())) return;
    for (const ServiceKey& service : services) confirmed_(as_met(service, address, found.error()));
  }

  void rest(const Address& address) {
    const auto it = resting_.emplace(address, io_).first;
    it->second.expires_after(rest_);
    it->second.async_wait([weak = weak_from_this(), address](const boost::system::error_code& ec) {
      const auto self = weak.lock();
      if (!ec && self && !self->stopped_) self->rested(address);
    });
  }

  void rested(const Address& address) {
    resting_.erase(address);
    const auto suspect = suspects_.find(address);
    if (suspect->second.empty()) {
      suspects_.erase(suspect);
      return;
    }
    waiting_.push_back(address);
    begin_some();
  }

  asio::io_context& io_;
  std::function<void(const ConnectFailure&)> confirmed_;
  HealthMonitor::Probe probe_;
  const std::chrono::milliseconds rest_;
  // Waiting, looked at, or resting; with the services to be told.
  std::map<Address, std::set<ServiceKey>> suspects_;
  std::deque<Address> waiting_;
  std::map<Address, asio::steady_timer> resting_;
  std::size_t looks_ = 0;
  bool stopped_ = false;
};

SuspectProber::SuspectProber(asio::io_context& io,
                             std::function<void(const ConnectFailure&)> confirmed,
                             HealthMonitor::Probe probe, std::chrono::milliseconds rest)
    : impl_(std::make_shared<Impl>(io, std::move(confirmed), std::move(probe), rest)) {}

SuspectProber::~SuspectProber() { impl_->stop(); }

void SuspectProber::look(const ConnectFailure& failure) { impl_->look(failure); }

}  // namespace lb
