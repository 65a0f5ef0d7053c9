#include "dataplane/publishing_dataplane.h"

#include <algorithm>
#include <map>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "dataplane/ipvs_entry.h"

namespace lb {
namespace {

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

class PublishingDataplane final : public Dataplane {
 public:
  PublishingDataplane(std::unique_ptr<Dataplane> inside, OpenOutside open_outside)
      : inside_(std::move(inside)), open_outside_(std::move(open_outside)) {}

  Result<> open_outside();

  Result<Observed> read() override;
  Result<ObservedService> read(const ServiceKey& key) override;
  Result<> prepare(std::span<const ProgrammedService> services) override;
  Result<> upsert(const ProgrammedService& service) override;
  Result<> remove(const ServiceKey& key) override;
  void settle(Settled done) override;
  Result<> collect() override;
  Result<std::uint64_t> count_sockets(const ServiceKey& key, const Address& backend) override;
  Result<std::uint64_t> terminate(const ServiceKey& key, const Address& backend) override;
  void on_connect_failure(std::function<void(const ConnectFailure&)> handler) override {
    inside_->on_connect_failure(std::move(handler));
  }
  [[nodiscard]] DataplaneInfo info() const override;

 private:
  void mark_untold(Observed& observed) const;

  std::unique_ptr<Dataplane> inside_, outside_;
  OpenOutside open_outside_;
  std::string outside_error_;
  std::map<ServiceKey, ProgrammedService> published_;
};

Result<> PublishingDataplane::open_outside() {
  if (outside_) return {};
  auto opened = open_outside_();
  if (opened) {
    outside_ = *std::move(opened);
    outside_error_.clear();
    spdlog::info("dataplane={} serves clients of other hosts", outside_->info().mode);
    return {};
  }
  const std::string error = opened.error().message();
  if (error != outside_error_) spdlog::error("clients of other hosts are not served: {}", error);
  outside_error_ = error;
  return tl::unexpected(std::move(opened).error());
}

Result<Observed> PublishingDataplane::read() {
  LB_TRY(Observed out, inside_->read());
  mark_untold(out);
  if (!outside_) return out;
  LB_TRY(const Observed theirs, outside_->read());
  for (const ObservedService& service : theirs.services) {
    const auto it = std::lower_bound(
        out.services.begin(), out.services.end(), service.key,
        [](const ObservedService& s, const ServiceKey& key) { return s.key < key; });
    if (it != out.services.end() && it->key == service.key)
      add(*it, service);
    else if (is_published(service.key))
      out.services.insert(it,
                          service);  // the hooks have lost it: whoever wants it no more removes it
  }
  // Whatever is amiss there is put right here: what the reconciler compares are the hooks. One that cannot be had outside must
  // not hide all the others from whoever reads; its own upsert has told why.
  for (const auto& [key, service] : published_)
    if (const auto done = outside_->upsert(service); !done)
      spdlog::debug("clients of other hosts: {}", done.error().message());
  return out;
}

// After a start the hooks may have all that is wanted, so that the reconciler would upsert nothing: what the other side has not
// been told shows as balanced otherwise.
void PublishingDataplane::mark_untold(Observed& observed) const {
  for (ObservedService& service : observed.services)
    if (is_published(service.key) && !service.addresses.empty() &&
        !published_.contains(service.key))
      service.balance =
          service.balance == Balance::LeastConn ? Balance::RoundRobin : Balance::LeastConn;
}

Result<ObservedService> PublishingDataplane::read(const ServiceKey& key) {
  LB_TRY(ObservedService out, inside_->read(key));
  if (outside_ && is_published(key))
    if (const auto theirs = outside_->read(key)) add(out, *theirs);
  return out;
}

// Outside nothing lasts: what is said there holds from the next packet on.
void PublishingDataplane::settle(Settled done) {
  if (outside_) outside_->settle([](const Result<>&) {});
  inside_->settle(std::move(done));
}

Result<> PublishingDataplane::prepare(std::span<const ProgrammedService> services) {
  LB_CHECK(inside_->prepare(services));
  return outside_ ? outside_->prepare(services) : Result<>{};
}

// Local clients must not suffer from what cannot be had for others: that is told by status and doctor.
Result<> PublishingDataplane::upsert(const ProgrammedService& service) {
  LB_CHECK(inside_->upsert(service));
  // What an earlier lbd with another dataplane left goes when the hooks serve it.
  if (!is_published(service.key)) return outside_ ? outside_->remove(service.key) : Result<>{};
  published_.insert_or_assign(service.key, service);
  if (!open_outside()) return {};
  return outside_->upsert(service);
}

Result<> PublishingDataplane::remove(const ServiceKey& key) {
  published_.erase(key);
  LB_CHECK(inside_->remove(key));
  return outside_ && is_published(key) ? outside_->remove(key) : Result<>{};
}

Result<> PublishingDataplane::collect() {
  LB_CHECK(inside_->collect());
  return outside_ ? outside_->collect() : Result<>{};
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
  if (!outside_error_.empty() && !published_.empty())
    out.notes.push_back("clients of other hosts are not served: " + outside_error_);
  if (!outside_) return out;
  const DataplaneInfo theirs = outside_->info();
  out.notes.push_back(fmt::format("clients of other hosts: {}", theirs.mode));
  for (const std::string& note : theirs.notes) out.notes.push_back("other hosts: " + note);
  return out;
}

}  // namespace

Result<std::unique_ptr<Dataplane>> make_publishing_dataplane(std::unique_ptr<Dataplane> inside,
                                                             OpenOutside open_outside,
                                                             bool left_over) {
  auto out = std::make_unique<PublishingDataplane>(std::move(inside), std::move(open_outside));
  // It keeps running what is there even if we cannot open it; the error shows in the notes.
  if (left_over) (void)out->open_outside();
  return out;
}

}  // namespace lb
