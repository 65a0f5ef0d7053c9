#include "health/monitor.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <deque>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <tuple>
#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/spawn.h"
#include "health/dampener.h"
#include "health/prober.h"

namespace lb {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using User = HealthVerdicts::key_type;

// Two backends, of whatever services, for which these are the same share their probes.
struct ProbeKey {
  Address to;
  HealthCheck check;
  bool operator==(const ProbeKey&) const = default;
};

bool operator<(const ProbeKey& a, const ProbeKey& b) {
  const auto fields = [](const ProbeKey& k) {
    const HealthCheck& c = k.check;
    return std::tie(k.to, c.type, c.path, c.interval, c.timeout, c.rise, c.fall);
  };
  return fields(a) < fields(b);
}

ProbeKey probe_key(const Service& service, const Backend& backend) {
  HealthCheck check = *service.check;
  const Address to{backend.address.ip, check.port == 0 ? backend.address.port : check.port};
  check.port = 0;  // it is in the address now
  return {to, std::move(check)};
}

bool is_checked(const Service& service) {
  return service.check.has_value() && service.key.protocol == Protocol::Tcp;
}

// Each probe under way holds a descriptor, and the rest of lbd needs some as well. More targets than
// that which do not answer are looked at less often.
std::size_t most_in_flight() {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0) files.rlim_cur = 256;
  return std::clamp<std::size_t>(files.rlim_cur / 4, 16, 4096);
}

// What is probed, for whom, and what came of it.
struct Target {
  Target(asio::io_context& io, ProbeKey k, std::optional<HealthVerdict> earlier)
      : key(std::move(k)),
        dampener(key.check.rise, key.check.fall,
                 earlier ? std::optional(earlier->up) : std::nullopt),
        verdict(std::move(earlier)),
        timer(io) {}

  ProbeKey key;
  Dampener dampener;
  std::optional<HealthVerdict> verdict;
  std::set<User> users;  // empty: it is looked at no more
  asio::steady_timer timer;
};
using TargetPtr = std::shared_ptr<Target>;

}  // namespace

class HealthMonitor::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(asio::io_context& io, std::function<void()> changed, std::function<SysTime()> wall,
       Probe probe)
      : io_(io), changed_(std::move(changed)), wall_(std::move(wall)), probe_(std::move(probe)) {
    if (!probe_)
      probe_ = [prober = std::make_shared<Prober>(io)](Address to, HealthCheck check) {
        return prober->probe(to, std::move(check));
      };
  }

  void watch(const std::vector<ServicePtr>& services);
  void restore(HealthVerdicts verdicts) { restored_ = std::move(verdicts); }
  [[nodiscard]] const HealthVerdicts& verdicts() const { return verdicts_; }
  // Probes that are under way hold this until they end.
  void stop();

 private:
  void replace(const Service* before, const Service* after);
  void join(const User& user, const ProbeKey& key);
  void leave(const User& user, const ProbeKey& key);
  [[nodiscard]] std::optional<HealthVerdict> earlier(const User& user);
  void publish(const User& user, const Target& target);
  void forget(const User& user) { differs_ = verdicts_.erase(user) > 0 || differs_; }
  void tell();

  void wait(const TargetPtr& target, steady_clock::duration time);
  void begin(const TargetPtr& target);
  void end(const TargetPtr& target, steady_clock::time_point began, const Result<>& found);
  void take(Target& target, const Result<>& found);
  [[nodiscard]] steady_clock::duration share_of(milliseconds time, double from, double to) {
    const double share = std::uniform_real_distribution<>(from, to)(random_);
    return std::chrono::duration_cast<steady_clock::duration>(time * share);
  }

  asio::io_context& io_;
  std::function<void()> changed_;
  std::function<SysTime()> wall_;
  Probe probe_;
  std::minstd_rand random_{std::random_device{}()};
  const std::size_t most_in_flight_ = most_in_flight();
  std::size_t in_flight_ = 0;
  std::deque<TargetPtr> due_;                 // whose time has come, while too many are in flight
  std::vector<ServicePtr> last_;              // what watch() was called with
  std::map<ServiceKey, ServicePtr> watched_;  // of those, the ones with a check
  std::map<ProbeKey, TargetPtr> targets_;
  HealthVerdicts verdicts_, restored_;
  bool differs_ = false;  // and nobody was told
};

void HealthMonitor::Impl::watch(const std::vector<ServicePtr>& services) {
  if (services == last_) return;
  last_ = services;
  std::map<ServiceKey, ServicePtr> wanted;
  for (const ServicePtr& service : services)
    if (is_checked(*service)) wanted.emplace_hint(wanted.end(), service->key, service);
  // Who comes first joins before who goes has left, so that the probes of both go on.
  for (const auto& [key, service] : wanted) {
    const auto old = watched_.find(key);
    if (old == watched_.end())
      replace(nullptr, service.get());
    else if (old->second != service)
      replace(old->second.get(), service.get());
  }
  for (const auto& [key, service] : watched_)
    if (!wanted.contains(key)) replace(service.get(), nullptr);
  watched_ = std::move(wanted);
  tell();
}

void HealthMonitor::Impl::replace(const Service* before, const Service* after) {
  std::map<Address, ProbeKey> now;
  if (after)
    for (const Backend& backend : after->backends) {
      const auto [it, fresh] = now.emplace(backend.address, probe_key(*after, backend));
      join({after->key, backend.address}, it->second);
    }
  if (!before) return;
  for (const Backend& backend : before->backends) {
    const User user{before->key, backend.address};
    const ProbeKey key = probe_key(*before, backend);
    const auto stays = now.find(backend.address);
    if (stays == now.end() || !(stays->second == key)) leave(user, key);
    if (stays == now.end()) forget(user);
  }
}

void HealthMonitor::Impl::join(const User& user, const ProbeKey& key) {
  auto found = targets_.find(key);
  if (found == targets_.end()) {
    auto target = std::make_shared<Target>(io_, key, earlier(user));
    // The first looks are spread over the interval, and so all that follow are.
    wait(target, share_of(target->key.check.interval, 0, 1));
    found = targets_.emplace(key, std::move(target)).first;
  }
  restored_.erase(user);
  if (found->second->users.insert(user).second) publish(user, *found->second);
}

void HealthMonitor::Impl::leave(const User& user, const ProbeKey& key) {
  const auto found = targets_.find(key);
  if (found == targets_.end()) return;
  found->second->users.erase(user);
  if (!found->second->users.empty()) return;
  found->second->timer.cancel();
  targets_.erase(found);
}

// What was found by another check of this backend, or in an earlier run.
std::optional<HealthVerdict> HealthMonitor::Impl::earlier(const User& user) {
  for (const HealthVerdicts* known : {&verdicts_, &restored_})
    if (const auto found = known->find(user); found != known->end()) return found->second;
  return std::nullopt;
}

void HealthMonitor::Impl::publish(const User& user, const Target& target) {
  if (!target.verdict) {
    forget(user);
    return;
  }
  const auto [it, fresh] = verdicts_.try_emplace(user, *target.verdict);
  if (!fresh && it->second == *target.verdict) return;
  it->second = *target.verdict;
  differs_ = true;
}

void HealthMonitor::Impl::tell() {
  if (std::exchange(differs_, false) && changed_) changed_();
}

void HealthMonitor::Impl::wait(const TargetPtr& target, steady_clock::duration time) {
  target->timer.expires_after(time);
  target->timer.async_wait(
      [self = weak_from_this(), weak = std::weak_ptr(target)](const boost::system::error_code& ec) {
        const auto impl = self.lock();
        const auto due = weak.lock();
        if (!ec && impl && due) impl->begin(due);
      });
}

void HealthMonitor::Impl::begin(const TargetPtr& target) {
  if (target->users.empty()) return;
  if (in_flight_ == most_in_flight_) {
    due_.push_back(target);
    return;
  }
  ++in_flight_;
  asio::co_spawn(io_, probe_(target->key.to, target->key.check),
                 [self = shared_from_this(), target, began = steady_clock::now()](
                     const std::exception_ptr& error, const Result<>& found) {
                   if (error)
                     root_ended(self->io_, "health check", error);
                   else
                     self->end(target, began, found);
                 });
}

void HealthMonitor::Impl::end(const TargetPtr& target, steady_clock::time_point began,
                              const Result<>& found) {
  --in_flight_;
  if (!target->users.empty()) {
    take(*target, found);
    const auto next = share_of(target->key.check.interval, 0.95, 1.05);
    wait(target, std::max(next - (steady_clock::now() - began), steady_clock::duration(0)));
    tell();
  }
  while (!due_.empty() && in_flight_ < most_in_flight_) {
    const TargetPtr next = std::move(due_.front());
    due_.pop_front();
    begin(next);
  }
}

void HealthMonitor::Impl::take(Target& target, const Result<>& found) {
  if (!found && !tells_of_backend(found.error())) return;
  const bool turned = target.dampener.add(found.has_value());
  const auto up = target.dampener.up();
  if (!up) return;
  if (turned) target.verdict = HealthVerdict{*up, wall_(), {}};
  if (!found && !*up) target.verdict->error = found.error().message();
  for (const User& user : target.users) publish(user, target);
}

void HealthMonitor::Impl::stop() {
  changed_ = {};
  due_.clear();
  for (auto& [key, target] : targets_) {
    target->users.clear();
    target->timer.cancel();
  }
  targets_.clear();
}

HealthMonitor::HealthMonitor(asio::io_context& io, std::function<void()> changed,
                             std::function<SysTime()> wall, Probe probe)
    : impl_(std::make_shared<Impl>(io, std::move(changed), std::move(wall), std::move(probe))) {}

HealthMonitor::~HealthMonitor() { impl_->stop(); }

void HealthMonitor::watch(const std::vector<ServicePtr>& services) { impl_->watch(services); }

void HealthMonitor::restore(HealthVerdicts verdicts) { impl_->restore(std::move(verdicts)); }

const HealthVerdicts& HealthMonitor::verdicts() const { return impl_->verdicts(); }

}  // namespace lb
