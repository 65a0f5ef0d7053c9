#include "reconcile/drain_watch.h"

#include <algorithm>

namespace lb {
namespace {

std::uint64_t active_in(const ObservedService& service, const Address& backend) {
  for (const ObservedBackend& b : service.backends)
    if (b.address == backend) return b.active_connections.value_or(0);
  return 0;
}

}  // namespace

Result<std::optional<std::uint64_t>> DrainWatch::connections(const Id& id) {
  LB_TRY(const auto service, read(id.first));
  return count(service, id);
}

Result<std::optional<ObservedService>> DrainWatch::read(const ServiceKey& key) {
  auto observed = dataplane_.read(key);
  if (observed) return std::optional(*std::move(observed));
  if (observed.error().code == std::errc::no_such_file_or_directory) return std::nullopt;
  return tl::unexpected(std::move(observed).error());
}

Result<std::optional<std::uint64_t>> DrainWatch::count(
    const std::optional<ObservedService>& service, const Id& id) {
  if (!service) return std::nullopt;
  if (id.first.protocol == Protocol::Tcp) return active_in(*service, id.second);
  LB_TRY(const std::uint64_t sockets, dataplane_.count_udp(id.first, id.second));
  return sockets;
}

DrainWatch::Look DrainWatch::look(std::span<const WatchedBackend> watched) {
  Look look;
  std::set<Id> empty;
  for (auto it = watched.begin(); it != watched.end();) {
    const auto service = read(it->service);  // once for all its backends
    if (!service) look.errors.push_back(service.error());
    for (const ServiceKey key = it->service; it != watched.end() && it->service == key; ++it)
      if (service) look_at(*it, *service, look, empty);
  }
  if (!std::includes(settled_.begin(), settled_.end(), empty.begin(), empty.end()))
    if (auto settled = dataplane_.settle(); !settled) {
      look.errors.push_back(std::move(settled).error());
      empty.clear();
    }
  settled_ = std::move(empty);
  return look;
}

void DrainWatch::look_at(const WatchedBackend& watched,
                         const std::optional<ObservedService>& service, Look& look,
                         std::set<Id>& empty) {
  const Id id{watched.service, watched.backend};
  auto active = count(service, id);
  if (!active) {
    look.errors.push_back(std::move(active).error());
    return;
  }
  if (active->value_or(0) == 0) {
    if (!*active || settled_.contains(id))
      look.finished.push_back(id);
    else
      empty.insert(id);
    return;
  }
  if (!watched.terminate) return;
  if (auto killed = dataplane_.terminate(watched.service, watched.backend))
    look.terminated += *killed;
  else
    look.errors.push_back(std::move(killed).error());
}

}  // namespace lb
