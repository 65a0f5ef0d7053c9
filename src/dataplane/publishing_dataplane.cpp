#include "dataplane/publishing_dataplane.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <map>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/upkeep.h"
#include "nft/dnat_rules.h"

namespace lb {
namespace {

using nft::is_published;
using Now = std::function<std::chrono::steady_clock::time_point()>;

// A backend that one of the two has let go of may still have connections in the other. Of TCP
// connections that one side cannot count the sum is unknown.
void add(ObservedBackend& to, const ObservedBackend& from, Protocol protocol) {
  to.listed = to.listed || from.listed;
  if (from.active_connections && (to.active_connections || protocol == Protocol::Udp))
    to.active_connections = to.active_connections.value_or(0) + *from.active_connections;
  to.total_connections += from.total_connections;
}

// What is programmed is told by the hooks' side; the other adds its connections.
void add(ObservedService& to, const ObservedService& from) {
  for (const ObservedBackend& theirs : from.backends) {
    const auto it =
        std::lower_bound(to.backends.begin(), to.backends.end(), theirs.address,
                         [](const ObservedBackend& b, const Address& a) { return b.address < a; });
    if (it != to.backends.end() && it->address == theirs.address) {
      add(*it, theirs, to.key.protocol);
    } else if (theirs.active_connections.value_or(0) > 0) {
      ObservedBackend left = theirs;
      left.listed = false;
      left.weight = 0;
      to.backends.insert(it, std::move(left));
    }
  }
}

void forget_counts(ObservedService& service) {
  for (ObservedBackend& b : service.backends) b.active_connections.reset();
}

// Why none of the backends that local clients get can be had from outside; "" where one can, or where there is none.
std::string why_backends_local(const ProgrammedService& service) {
  std::string why;
  for (const ProgrammedBackend& b : service.backends) {
    if (b.weight == 0) continue;
    why = nft::refusal(service.addresses, b.address);
    if (why.empty()) return {};
  }
  return why;
}

// It is for clients of other hosts at one of its addresses at least.
bool is_for_others(const ProgrammedService& service) {
  return std::any_of(service.addresses.begin(), service.addresses.end(), [&](const IpAddress& a) {
    return !a.is_loopback() &&
           std::find(service.withheld.begin(), service.withheld.end(), a) == service.withheld.end();
  });
}

ProgrammedService for_others(ProgrammedService service) {
  std::erase_if(service.addresses, [&](const IpAddress& a) {
    return std::find(service.withheld.begin(), service.withheld.end(), a) != service.withheld.end();
  });
  service.withheld.clear();
  return service;
}

class PublishingDataplane final : public Dataplane {
 public:
  PublishingDataplane(std::unique_ptr<Dataplane> inside, OpenOutside open_outside, bool left_over,
                      Now now);

  Result<> open_outside();

  Result<std::vector<ServiceKey>> keys() override;
  Result<Observed> read_some(std::span<const ServiceKey> keys) override;
  Result<> prepare(std::span<const ProgrammedService> services) override;
  Result<> upsert(const ProgrammedService& service) override;
  Result<> remove(const ServiceKey& key) override;
  void settle(Settled done) override;
  Result<> collect() override;
  [[nodiscard]] std::chrono::milliseconds pace() const override { return inside_->pace(); }
  Result<std::uint64_t> count_sockets(const ServiceKey& key, const Address& backend) override;
  Result<std::uint64_t> terminate(const ServiceKey& key, const Address& backend) override;
  void on_connect_failure(std::function<void(const ConnectFailure&)> handler) override {
    inside_->on_connect_failure(std::move(handler));
  }
  std::optional<std::chrono::milliseconds> looked(const ServiceKey& key, const Address& backend,
                                                  Look look) override {
    return inside_->looked(key, backend, look);
  }
  [[nodiscard]] DataplaneInfo info() const override;

 private:
  // Of a service on a loopback address there is none.
  struct Published {
    ProgrammedService service;
    bool for_others =
        false;  // else its source may not publish it: the other side has nothing of it
    std::string local_only;
  };
  [[nodiscard]] bool needs_outside() const {
    return left_over_ || std::any_of(published_.begin(), published_.end(),
                                     [](const auto& entry) { return entry.second.for_others; });
  }
  void mark_untold(ObservedService& service) const;
  void mark_local_only(ObservedService& service) const;
  void note_local_only(const ServiceKey& key, Published& published) const;
  // Tells the other side what it must have of this service.
  void tell(const ServiceKey& key);
  // What is looked at about once a second: see the constructor.
  [[nodiscard]] Result<std::size_t> keep_open();
  [[nodiscard]] Result<std::size_t> keep_told();
  [[nodiscard]] Result<std::size_t> tell_all();

  std::unique_ptr<Dataplane> inside_, outside_;
  OpenOutside open_outside_;
  bool left_over_;
  Now now_;
  std::string outside_error_;  // why it cannot be opened
  std::string read_error_;     // why its connections could not be read, the last time
  bool compare_ = false;       // all of it was read since tell_all()
  std::map<ServiceKey, Published> published_;
  std::map<ServiceKey, std::string> untold_;  // what the other side did not take, and why
  Upkeep upkeep_{"dataplane=outside"};
};

PublishingDataplane::PublishingDataplane(std::unique_ptr<Dataplane> inside,
                                         OpenOutside open_outside, bool left_over, Now now)
    : inside_(std::move(inside)),
      open_outside_(std::move(open_outside)),
      left_over_(left_over),
      now_(std::move(now)) {
  constexpr std::chrono::milliseconds kEachTurn{0};
  upkeep_.add("clients of other hosts are not served", kEachTurn, [this] { return keep_open(); });
  upkeep_.add("clients of other hosts", kEachTurn, [this] { return keep_told(); });
  upkeep_.add("what serves clients of other hosts", kEachTurn, [this] { return tell_all(); });
}

Result<> PublishingDataplane::open_outside() {
  if (outside_) return {};
  auto opened = open_outside_();
  if (!opened) {
    outside_error_ = opened.error().message();
    return tl::unexpected(std::move(opened).error());
  }
  outside_ = *std::move(opened);
  outside_error_.clear();
  spdlog::info("dataplane={} serves clients of other hosts", outside_->info().mode);
  return {};
}

Result<std::size_t> PublishingDataplane::keep_open() {
  if (outside_ || !needs_outside()) return 0;
  LB_CHECK(open_outside());
  compare_ = true;
  return tell_all();
}

Result<std::size_t> PublishingDataplane::keep_told() {
  if (!outside_) return 0;
  const auto again = untold_;
  for (const auto& [key, error] : again) tell(key);
  if (untold_.empty()) return 0;
  const auto& [key, error] = *untold_.begin();
  return fail(fmt::format("{} of their services are not as they must be, {}: {}", untold_.size(),
                          key.to_string(), error));
}

// What is amiss there is put right by its upsert, which writes only what differs from what was read.
Result<std::size_t> PublishingDataplane::tell_all() {
  if (!outside_ || !std::exchange(compare_, false)) return 0;
  std::vector<ProgrammedService> all;
  for (const auto& [key, published] : published_)
    if (published.for_others) all.push_back(for_others(published.service));
  if (const auto done = outside_->prepare(all); !done)
    spdlog::debug("clients of other hosts: {}", done.error().message());  // each one tells it
  for (const ProgrammedService& service : all) tell(service.key);
  return 0;
}

void PublishingDataplane::tell(const ServiceKey& key) {
  if (!outside_) return;
  const auto wanted = published_.find(key);
  const bool has = wanted != published_.end() && wanted->second.for_others;
  const auto done =
      has ? outside_->upsert(for_others(wanted->second.service)) : outside_->remove(key);
  if (done) {
    untold_.erase(key);
    return;
  }
  std::string& error = untold_[key];
  if (error != done.error().message())
    spdlog::error("service={} clients of other hosts: {}", key.to_string(), done.error().message());
  error = done.error().message();
}

Result<std::vector<ServiceKey>> PublishingDataplane::keys() {
  LB_TRY(std::vector<ServiceKey> out, inside_->keys());
  if (!outside_) return out;
  auto theirs = outside_->keys();
  read_error_ = theirs ? "" : theirs.error().message();
  if (!theirs) return out;
  // The hooks have lost it: the reconciler removes it where no source wants it.
  std::erase_if(*theirs, [](const ServiceKey& key) { return !is_published(key); });
  std::vector<ServiceKey> all;
  std::set_union(out.begin(), out.end(), theirs->begin(), theirs->end(), std::back_inserter(all));
  return all;
}

// What cannot be read there hides nothing of what is here, but a count that lacks the connections of outside
// clients would end their drain: then there is none.
Result<Observed> PublishingDataplane::read_some(std::span<const ServiceKey> keys) {
  LB_TRY(Observed out, inside_->read_some(keys));
  for (ObservedService& service : out.services) {
    mark_untold(service);
    mark_local_only(service);
  }
  if (!outside_) return out;
  std::vector<ServiceKey> published;
  std::copy_if(keys.begin(), keys.end(), std::back_inserter(published), is_published);
  if (published.empty()) return out;
  const auto theirs = outside_->read_some(published);
  read_error_ = theirs ? "" : theirs.error().message();
  if (!theirs) {
    for (ObservedService& service : out.services)
      if (is_published(service.key)) forget_counts(service);
    return out;
  }
  // Who reads all ends with the last one.
  if (!published_.empty() && published.back() == published_.rbegin()->first) compare_ = true;
  for (const ObservedService& service : theirs->services) {
    const auto it = std::lower_bound(
        out.services.begin(), out.services.end(), service.key,
        [](const ObservedService& s, const ServiceKey& key) { return s.key < key; });
    if (it != out.services.end() && it->key == service.key)
      add(*it, service);
    else
      out.services.insert(it, service);
  }
  return out;
}

// After a start the hooks may have all that is wanted, so that the reconciler would upsert nothing: what the other side has not
// been told shows as balanced otherwise.
void PublishingDataplane::mark_untold(ObservedService& service) const {
  if (is_published(service.key) && !service.addresses.empty() && !published_.contains(service.key))
    service.balance =
        service.balance == Balance::LeastConn ? Balance::RoundRobin : Balance::LeastConn;
}

void PublishingDataplane::mark_local_only(ObservedService& service) const {
  const auto it = published_.find(service.key);
  if (it == published_.end()) return;
  service.withheld = it->second.service.withheld;
  if (service.addresses.empty() || !it->second.for_others) return;
  const auto untold = untold_.find(service.key);
  service.local_only = !outside_                 ? outside_error_
                       : untold != untold_.end() ? untold->second
                                                 : it->second.local_only;
}

// Outside nothing lasts: what is said there holds from the next packet on.
void PublishingDataplane::settle(Settled done) {
  if (outside_) outside_->settle([](const Result<>&) {});
  inside_->settle(std::move(done));
}

Result<> PublishingDataplane::prepare(std::span<const ProgrammedService> services) {
  LB_CHECK(inside_->prepare(services));
  if (!outside_) return {};
  std::vector<ProgrammedService> theirs;
  for (const ProgrammedService& service : services)
    if (is_published(service.key) && is_for_others(service)) theirs.push_back(for_others(service));
  return theirs.empty() ? Result<>{} : outside_->prepare(theirs);
}

// Local clients must not suffer from what cannot be had for others: that is told by list, status and doctor, and tried again.
Result<> PublishingDataplane::upsert(const ProgrammedService& service) {
  LB_CHECK(inside_->upsert(service));
  if (is_published(service.key)) {
    const auto [it, fresh] = published_.try_emplace(service.key);
    Published& published = it->second;
    published.service = service;
    // What runs out does so where it was.
    if (!service.addresses.empty())
      published.for_others = is_for_others(service);
    else if (fresh)
      published.for_others = left_over_;
    note_local_only(service.key, published);
    if (published.for_others && !outside_ && outside_error_.empty())
      (void)open_outside();  // later: keep_open()
  }
  // What an earlier lbd with another dataplane left goes when the hooks serve it.
  tell(service.key);
  return {};
}

void PublishingDataplane::note_local_only(const ServiceKey& key, Published& published) const {
  std::string why = published.for_others ? why_backends_local(published.service) : "";
  if (why == published.local_only) return;
  if (why.empty() && published.for_others)
    spdlog::info("service={} serves clients of other hosts, too", key.to_string());
  else if (!why.empty())
    spdlog::warn("service={} serves local clients only: {}", key.to_string(), why);
  published.local_only = std::move(why);
}

Result<> PublishingDataplane::remove(const ServiceKey& key) {
  published_.erase(key);
  LB_CHECK(inside_->remove(key));
  if (is_published(key)) tell(key);
  return {};
}

Result<> PublishingDataplane::collect() {
  upkeep_.run(now_());
  const Result<> theirs = outside_ ? outside_->collect() : Result<>{};
  LB_CHECK(inside_->collect());
  return theirs;
}

Result<std::uint64_t> PublishingDataplane::count_sockets(const ServiceKey& key,
                                                         const Address& backend) {
  LB_TRY(std::uint64_t count, inside_->count_sockets(key, backend));
  if (outside_ && is_published(key)) {
    LB_TRY(const std::uint64_t theirs, outside_->count_sockets(key, backend));
    count += theirs;
  }
  return count;
}

Result<std::uint64_t> PublishingDataplane::terminate(const ServiceKey& key,
                                                     const Address& backend) {
  LB_TRY(std::uint64_t count, inside_->terminate(key, backend));
  if (outside_ && is_published(key)) {
    LB_TRY(const std::uint64_t theirs, outside_->terminate(key, backend));
    count += theirs;
  }
  return count;
}

DataplaneInfo PublishingDataplane::info() const {
  DataplaneInfo out = inside_->info();
  for (std::string& problem : upkeep_.problems()) out.problems.push_back(std::move(problem));
  if (!read_error_.empty())
    out.problems.push_back("connections of clients of other hosts are not counted: " + read_error_);
  if (!outside_) return out;
  const DataplaneInfo theirs = outside_->info();
  out.notes.push_back(fmt::format("clients of other hosts: {}", theirs.mode));
  for (const std::string& note : theirs.notes) out.notes.push_back("other hosts: " + note);
  for (const std::string& each : theirs.problems) out.problems.push_back("other hosts: " + each);
  return out;
}

}  // namespace

Result<std::unique_ptr<Dataplane>> make_publishing_dataplane(std::unique_ptr<Dataplane> inside,
                                                             OpenOutside open_outside,
                                                             bool left_over, Now now) {
  auto out = std::make_unique<PublishingDataplane>(std::move(inside), std::move(open_outside),
                                                   left_over, std::move(now));
  // It keeps running what is there even if we cannot open it; that is tried again.
  if (left_over) (void)out->open_outside();
  return out;
}

}  // namespace lb
