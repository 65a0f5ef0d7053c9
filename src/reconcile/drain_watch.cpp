#include "reconcile/drain_watch.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace lb {
namespace {

// nullopt: the dataplane does not count it. A backend that it does not know has no connection.
std::optional<std::uint64_t> active_in(const ObservedService& service, const Address& backend) {
  const auto found =
      std::lower_bound(service.backends.begin(), service.backends.end(), backend,
                       [](const ObservedBackend& b, const Address& a) { return b.address < a; });
  return found != service.backends.end() && found->address == backend
             ? found->active_connections
             : std::optional<std::uint64_t>(0);
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
  if (id.first.protocol == Protocol::Tcp)
    if (const auto active = active_in(*service, id.second)) return active;
  LB_TRY(const std::uint64_t sockets, dataplane_.count_sockets(id.first, id.second));
  return sockets;
}

DrainWatch::Look DrainWatch::look(std::span<const WatchedBackend> watched,
                                  const std::function<bool()>& enough) {
  Look look;
  auto it = watched.begin();
  if (looked_up_to_)
    it = std::upper_bound(
        it, watched.end(), *looked_up_to_,
        [](const ServiceKey& key, const WatchedBackend& w) { return key < w.service; });
  while (it != watched.end()) {
    const auto service = read(it->service);  // once for all its backends
    if (!service) look.errors.push_back(service.error());
    const ServiceKey key = it->service;
    for (; it != watched.end() && it->service == key; ++it)
      if (service) look_at(*it, *service, look, empty_);
    looked_up_to_ = key;
    look.more = it != watched.end() && enough();
    if (look.more) return look;
  }
  end_of_round(look);
  return look;
}

void DrainWatch::end_of_round(Look& look) {
  looked_up_to_.reset();
  std::set<Id> empty = std::exchange(empty_, {});
  settled_.clear();  // who was in it has finished, or had connections again
  std::erase_if(settling_, [&](const Id& id) { return !empty.contains(id); });
  settle(std::move(empty));
  if (settle_error_) look.errors.push_back(*std::exchange(settle_error_, std::nullopt));
}

// One at a time: what is found meanwhile goes with the next.
void DrainWatch::settle(std::set<Id> empty) {
  if (busy_ || empty.empty()) return;
  settling_ = std::move(empty);
  busy_ = true;
  dataplane_.settle([this](Result<> settled) {
    busy_ = false;
    if (settled)
      settled_.merge(settling_);
    else
      settle_error_ = std::move(settled).error();
    settling_.clear();
  });
}

void DrainWatch::keep_only(std::span<const WatchedBackend> watched) {
  const auto left = [&](const Id& id) {
    const auto at = std::lower_bound(
        watched.begin(), watched.end(), id, [](const WatchedBackend& w, const Id& i) {
          return std::tie(w.service, w.backend) < std::tie(i.first, i.second);
        });
    return at == watched.end() || at->service != id.first || at->backend != id.second;
  };
  for (std::set<Id>* ids : {&empty_, &settling_, &settled_}) std::erase_if(*ids, left);
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
