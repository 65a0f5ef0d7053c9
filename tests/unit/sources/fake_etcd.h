// An etcd in memory, for what writes to it: keys, leases that run out by the test's clock, endpoints
// that fail.
#pragma once

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "etcd/api.h"

namespace lb::test {

// What all members share.
struct FakeStore {
  using SteadyTime = std::chrono::steady_clock::time_point;
  struct Entry {
    std::string value;
    std::int64_t lease = 0;
    SteadyTime ends = SteadyTime::max();  // of v2
  };

  std::map<std::string, Entry> entries;
  std::map<std::int64_t, SteadyTime> leases;  // of v3
  std::int64_t last_lease = 100;
  std::map<std::string, int> down;  // endpoint -> errno
  std::vector<std::string> log;     // "put /s/publisher", without the reads
  std::vector<std::string> asked;   // endpoints
  std::function<bool(const std::string& operation)> loses_answer;  // done, and reported as failed
  int in_flight = 0;
  int most_in_flight = 0;

  void expire(SteadyTime now) {
    std::erase_if(leases, [now](const auto& lease) { return lease.second <= now; });
    std::erase_if(entries, [&](const auto& entry) {
      const auto& [value, lease, ends] = entry.second;
      return ends <= now || (lease > 1 && !leases.contains(lease));
    });
  }
  [[nodiscard]] std::map<std::string, std::string> values(const std::string& prefix = "") const {
    std::map<std::string, std::string> out;
    for (const auto& [key, entry] : entries)
      if (key.starts_with(prefix)) out[key.substr(prefix.size())] = entry.value;
    return out;
  }
};

class FakeEtcd final : public etcd::Api {
 public:
  FakeEtcd(FakeStore& store, etcd::ApiVersion version,
           const std::chrono::steady_clock::time_point& now)
      : store_(store), version_(version), now_(now) {}

  [[nodiscard]] etcd::ApiVersion version() const override { return version_; }

  template <class T>
  using Answer = etcd::asio::awaitable<Result<T>>;

  Answer<etcd::Listing> list(std::string endpoint, std::string prefix, Wanted) override {
    auto open = co_await enter(endpoint, "");
    if (!open) co_return tl::unexpected(open.error());
    etcd::Listing out;
    out.header = {7, 1};
    for (const auto& [key, entry] : store_.entries)
      if (key.starts_with(prefix)) out.kvs.push_back({key, entry.value, 1, entry.lease});
    co_return out;
  }

  Answer<void> put(std::string endpoint, std::string key, std::string value,
                   etcd::Lease lease) override {
    auto open = co_await enter(endpoint, "put " + key);
    if (!open) co_return open;
    auto under = check(lease);
    if (!under) co_return under;
    store_.entries[key] = entry(std::move(value), lease);
    co_return answer("put " + key);
  }

  Answer<bool> create(std::string endpoint, std::string key, std::string value,
                      etcd::Lease lease) override {
    auto open = co_await enter(endpoint, "create " + key);
    if (!open) co_return tl::unexpected(open.error());
    auto under = check(lease);
    if (!under) co_return tl::unexpected(under.error());
    const bool made = store_.entries.try_emplace(key, entry(std::move(value), lease)).second;
    auto told = answer("create " + key);
    if (!told) co_return tl::unexpected(told.error());
    co_return made;
  }

  Answer<void> remove(std::string endpoint, std::string key) override {
    auto open = co_await enter(endpoint, "remove " + key);
    if (!open) co_return open;
    store_.entries.erase(key);
    co_return Result<>{};
  }

  Answer<void> remove_prefix(std::string endpoint, std::string prefix) override {
    auto open = co_await enter(endpoint, "remove all " + prefix);
    if (!open) co_return open;
    std::erase_if(store_.entries, [&](const auto& e) { return e.first.starts_with(prefix); });
    co_return Result<>{};
  }

  Answer<etcd::Lease> grant(std::string endpoint, std::chrono::seconds ttl) override {
    auto open = co_await enter(endpoint, "grant");
    if (!open) co_return tl::unexpected(open.error());
    if (version_ == etcd::ApiVersion::V2) co_return etcd::Lease{0, ttl};
    store_.leases[++store_.last_lease] = now_ + ttl;
    co_return etcd::Lease{store_.last_lease, ttl};
  }

  Answer<void> keep_alive(std::string endpoint, etcd::Lease lease,
                          std::vector<std::string> keys) override {
    auto open = co_await enter(endpoint, "keep alive");
    if (!open) co_return open;
    auto under = check(lease);
    if (!under) co_return under;
    if (version_ == etcd::ApiVersion::V3) store_.leases[lease.id] = now_ + lease.ttl;
    if (version_ == etcd::ApiVersion::V2)
      for (const std::string& key : keys) {
        const auto it = store_.entries.find(key);
        if (it == store_.entries.end()) co_return fail(ENOENT, endpoint + ": refresh of " + key);
        it->second.ends = now_ + lease.ttl;
      }
    co_return Result<>{};
  }

  Answer<void> revoke(std::string endpoint, etcd::Lease lease,
                      std::vector<std::string> keys) override {
    auto open = co_await enter(endpoint, "revoke");
    if (!open) co_return open;
    store_.leases.erase(lease.id);
    store_.expire(now_);
    if (version_ == etcd::ApiVersion::V2)
      for (const std::string& key : keys) store_.entries.erase(key);
    co_return Result<>{};
  }

  // Not asked by writers.
  Answer<bool> has_keys(std::string, std::string) override { co_return false; }
  Answer<std::unique_ptr<etcd::Watch>> watch(std::string endpoint, std::uint64_t,
                                             std::vector<etcd::WatchRequest>) override {
    co_return fail(ENOTSUP, endpoint);
  }
  Answer<etcd::Header> probe(std::string, std::string) override { co_return etcd::Header{7, 1}; }

 private:
  // One turn of the loop passes, so that requests overlap as with a real etcd.
  Answer<void> enter(std::string endpoint, std::string operation) {
    store_.asked.push_back(endpoint);
    store_.most_in_flight = std::max(store_.most_in_flight, ++store_.in_flight);
    co_await etcd::asio::post(co_await etcd::asio::this_coro::executor, etcd::asio::use_awaitable);
    --store_.in_flight;
    store_.expire(now_);
    if (const auto it = store_.down.find(endpoint); it != store_.down.end())
      co_return fail(it->second, endpoint);
    if (!operation.empty()) store_.log.push_back(operation);
    co_return Result<>{};
  }

  Result<> check(const etcd::Lease& lease) const {
    if (version_ == etcd::ApiVersion::V3 && !store_.leases.contains(lease.id))
      return fail(ENOENT, "requested lease not found");
    return {};
  }
  FakeStore::Entry entry(std::string value, const etcd::Lease& lease) const {
    if (version_ == etcd::ApiVersion::V2) return {std::move(value), 1, now_ + lease.ttl};
    return {std::move(value), lease.id, FakeStore::SteadyTime::max()};
  }
  Result<> answer(const std::string& operation) const {
    if (store_.loses_answer && store_.loses_answer(operation))
      return fail(ETIMEDOUT, "lost: " + operation);
    return {};
  }

  FakeStore& store_;
  etcd::ApiVersion version_;
  const std::chrono::steady_clock::time_point& now_;
};

}  // namespace lb::test
