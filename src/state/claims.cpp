#include "state/claims.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace lb {
namespace {

const OwnEndpoint* find_endpoint(const Reach& reach, const ServiceKey& key) {
  if (key.protocol != Protocol::Tcp) return nullptr;
  const auto found =
      std::find_if(reach.endpoints.begin(), reach.endpoints.end(), [&](const OwnEndpoint& own) {
        return own.address == Address{key.address, key.port};
      });
  return found == reach.endpoints.end() ? nullptr : &*found;
}

std::string not_among(const std::string& source, const Reach& reach, const IpAddress& address,
                      const HostView& host) {
  AddressRanges allowing = reach.claims;
  allowing.add(address);
  return fmt::format(
      "{}{} is not among the addresses of source {} ({}): addresses = [\"{}\"] in its "
      "[[source]] would allow it",
      address.to_string(), host.known && !host.has(address) ? ", which is not this host's," : "",
      source, reach.claims.to_string(), fmt::join(allowing.texts(), "\", \""));
}

// One pass over all snapshots at once, key by key: they are sorted.
class Resolver {
 public:
  Resolver(std::span<const SourceInput> sources, const View* previous, const HostView& host)
      : sources_(sources), previous_(previous), host_(host), next_(sources.size(), 0) {
    for (const SourceInput& source : sources)
      view_.sources.push_back({source.name, source.ports, source.reach});
  }

  View resolve();

 private:
  struct Claimant {
    std::uint32_t source = 0;
    ServicePtr service;
    std::string refusal;  // empty: the claim is right
  };

  [[nodiscard]] const Service* head(std::size_t source) const;
  [[nodiscard]] const Service* lowest_head() const;
  void collect(const ServiceKey& key);
  void decide(const ServiceKey& key);
  void settle_on(const ServiceKey& key, const Claimant& winner);
  void leave_undecided(const ServiceKey& key, std::uint32_t waiting_for);
  [[nodiscard]] std::optional<std::uint32_t> waiting_before(std::uint32_t source) const;
  [[nodiscard]] std::optional<std::string> previous_owner(const ServiceKey& key);

  std::span<const SourceInput> sources_;
  const View* previous_;
  const HostView& host_;
  std::vector<std::size_t> next_;    // by source: the first service not looked at
  std::size_t previous_next_ = 0;    // in previous_->services
  std::vector<Claimant> claimants_;  // of the current key, in the order of the configuration
  View view_;
};

const Service* Resolver::head(std::size_t source) const {
  const Snapshot* snapshot = sources_[source].snapshot;
  if (!snapshot || next_[source] == snapshot->services.size()) return nullptr;
  return snapshot->services[next_[source]].get();
}

const Service* Resolver::lowest_head() const {
  const Service* lowest = nullptr;
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    const Service* candidate = head(i);
    if (candidate && (!lowest || candidate->key < lowest->key)) lowest = candidate;
  }
  return lowest;
}

void Resolver::collect(const ServiceKey& key) {
  claimants_.clear();
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    const Service* candidate = head(i);
    if (!candidate || candidate->key != key) continue;
    claimants_.push_back({static_cast<std::uint32_t>(i), sources_[i].snapshot->services[next_[i]++],
                          why_refused(view_.sources[i], key, host_)});
  }
}

std::optional<std::uint32_t> Resolver::waiting_before(std::uint32_t source) const {
  for (std::uint32_t i = 0; i < source; ++i)
    if (!sources_[i].snapshot && !sources_[i].gave_up) return i;
  return std::nullopt;
}

std::optional<std::string> Resolver::previous_owner(const ServiceKey& key) {
  if (!previous_) return std::nullopt;
  const auto& services = previous_->services;
  while (previous_next_ < services.size() && services[previous_next_].service->key < key)
    ++previous_next_;
  if (previous_next_ == services.size() || services[previous_next_].service->key != key)
    return std::nullopt;
  return previous_->sources[services[previous_next_].source].name;
}

void Resolver::decide(const ServiceKey& key) {
  // A claim on what its source may not have is void when another claims it rightly.
  const auto allowed = std::find_if(claimants_.begin(), claimants_.end(),
                                    [](const Claimant& c) { return c.refusal.empty(); });
  const Claimant& first = allowed != claimants_.end() ? *allowed : claimants_.front();
  const auto waiting = waiting_before(first.source);
  if (!waiting || sources_[first.source].former ||
      !why_refused(view_.sources[*waiting], key, host_).empty())
    return settle_on(key, first);
  const auto owner = previous_owner(key);
  const auto keeps = std::find_if(claimants_.begin(), claimants_.end(), [&](const Claimant& c) {
    const SourceInput& source = sources_[c.source];
    return owner && (source.name == *owner || source.formerly == *owner);
  });
  if (keeps != claimants_.end()) return settle_on(key, *keeps);
  leave_undecided(key, *waiting);
}

void Resolver::settle_on(const ServiceKey& key, const Claimant& winner) {
  const std::string& winner_name = sources_[winner.source].name;
  for (const Claimant& c : claimants_) {
    if (c.source == winner.source) continue;
    view_.losers.push_back({sources_[c.source].name, key, c.service->name, winner_name,
                            c.refusal.empty()
                                ? fmt::format("{} belongs to source {}, which claims it as {}",
                                              key.to_string(), winner_name, winner.service->name)
                                : c.refusal});
  }
  view_.services.push_back(
      {winner.service, winner.source, !winner.refusal.empty(), winner.refusal});
}

void Resolver::leave_undecided(const ServiceKey& key, std::uint32_t waiting_for) {
  for (const Claimant& c : claimants_)
    view_.losers.push_back({sources_[c.source].name, key, c.service->name, "",
                            fmt::format("source {} goes first and has not delivered yet",
                                        sources_[waiting_for].name)});
}

View Resolver::resolve() {
  std::size_t most = 0;
  view_.complete = true;
  for (const SourceInput& source : sources_) {
    if (source.snapshot)
      most += source.snapshot->services.size();
    else
      view_.complete = false;
  }
  view_.services.reserve(most);
  while (const Service* lowest = lowest_head()) {
    const ServiceKey key = lowest->key;
    collect(key);
    decide(key);
  }
  return std::move(view_);
}

}  // namespace

std::string why_refused(const View::SourceRef& source, const ServiceKey& key,
                        const HostView& host) {
  if (!source.ports.contains(key.port))
    return fmt::format("port {} is not among the ports of source {} ({})", key.port, source.name,
                       source.ports.to_string());
  if (!source.reach || key.address.is_unspecified()) return {};
  const Reach& reach = *source.reach;
  if (const OwnEndpoint* own = find_endpoint(reach, key))
    return fmt::format("lbd itself connects there: it is {}", own->what);
  if (reach.of_host && !host.known) return {};
  if (reach.claims.contains(key.address, host.has(key.address))) return {};
  return not_among(source.name, reach, key.address, host);
}

View resolve_claims(std::span<const SourceInput> sources, const View* previous,
                    const HostView& host) {
  return Resolver(sources, previous, host).resolve();
}

}  // namespace lb
