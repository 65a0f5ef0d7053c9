#include "sources/merlion_publication.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fmt/format.h>
#include <boost/asio/experimental/awaitable_operators.hpp>

namespace lb {
namespace {

using namespace std::chrono_literals;
using namespace asio::experimental::awaitable_operators;

// etcd writes what comes at once to its disk at once; more than this gains nothing.
constexpr std::size_t kInFlight = 16;
// Then there is another look at what is wanted, and at the lease.
constexpr std::size_t kSlice = 256;
constexpr std::size_t kKeysPerRefresh = 64;
// A lease is kept alive so many times within its ttl, and a free claim is found after such a part.
constexpr int kPerTtl = 3;
// Bounds what others can do to our keys, and a write that etcd carries out after its answer was given
// up. A large listing is made more seldom: at most 0.2 % of the time.
constexpr auto kOwnAuditEvery = 60s;
constexpr int kOwnAuditShare = 500;

}  // namespace

MerlionPublication::MerlionPublication(etcd::Api& api, Where where, const Clocks& clocks,
                                       std::function<double()> random)
    : api_(api),
      where_(std::move(where)),
      clocks_(clocks),
      random_(std::move(random)),
      own_(fmt::format("{}/hosts/{}/backends/", where_.prefix, where_.host)),
      flat_(where_.prefix + "/backends/") {}

void MerlionPublication::want(MerlionState state) {
  std::erase_if(state, [](const auto& entry) { return !is_key_segment(entry.first); });
  for (const std::string& name : pacing_.look(state, clocks_.steady()))
    for (MerlionFolder* folder : folders()) folder->touch(name);
}

std::vector<MerlionFolder*> MerlionPublication::folders() {
  // Merlion's keys first: it is them that others wait for.
  if (holds_claim_) return {&flat_, &own_};
  return {&own_};
}

bool MerlionPublication::unfinished() const {
  return !lease_ || !loaded_ || own_.any_touched() || (holds_claim_ && flat_.any_touched());
}

MerlionPublication::SteadyTime MerlionPublication::due() const {
  if (unfinished()) return clocks_.steady();
  const auto lease = std::min(next_keep_alive_, holds_claim_ ? next_audit_ : next_claim_);
  return std::min({lease, next_audit_, pacing_.due()});
}

// What v2 tells of keys with a ttl is 1, as it has no leases.
std::int64_t MerlionPublication::lease_of_keys() const {
  return version() == etcd::ApiVersion::V2 ? 1 : lease_->id;
}

// All keys are gone, or will go with the lease.
void MerlionPublication::forget() {
  lease_.reset();
  loaded_ = false;
  holds_claim_ = false;
  may_have_claimed_ = true;
  own_ = MerlionFolder(own_.root());
  flat_ = MerlionFolder(flat_.root());
}

asio::awaitable<Result<>> MerlionPublication::advance(std::string endpoint) {
  last_writes_ = 0;
  // After a sleep or an outage nothing is left; v2 would not say so before the next refresh.
  if (lease_ && clocks_.steady() >= lease_ends_) forget();
  auto result = co_await begin(endpoint);
  if (result && clocks_.steady() >= next_keep_alive_) result = co_await keep_alive(endpoint);
  if (result && clocks_.steady() >= next_audit_) result = co_await audit(endpoint);
  if (result && !holds_claim_ && clocks_.steady() >= next_claim_) result = co_await claim(endpoint);
  if (result) result = co_await write(endpoint);
  if (!result && result.error().code.value() == ENOENT) forget();
  co_return result;
}

asio::awaitable<Result<>> MerlionPublication::begin(std::string endpoint) {
  const auto now = clocks_.steady();
  if (!lease_) {
    auto lease = co_await api_.grant(endpoint, where_.ttl);
    if (!lease) co_return tl::unexpected(lease.error());
    lease_ = *lease;
    lease_ends_ = now + where_.ttl;
    next_keep_alive_ = now + where_.ttl / kPerTtl;
    next_claim_ = now;
  }
  if (loaded_) co_return Result<>{};
  auto loaded = co_await load(own_, endpoint);
  loaded_ = loaded.has_value();
  next_audit_ = now + kOwnAuditEvery;
  co_return loaded;
}

asio::awaitable<Result<>> MerlionPublication::keep_alive(std::string endpoint) {
  const auto now = clocks_.steady();
  std::vector<std::string> keys;
  if (version() == etcd::ApiVersion::V2) {
    if (holds_claim_) keys.push_back(claim_key());
    for (const MerlionFolder* folder : folders())
      for (std::string& key : folder->keys()) keys.push_back(std::move(key));
  }
  std::vector<Job> jobs;
  for (std::size_t i = 0; i == 0 || i < keys.size(); i += kKeysPerRefresh) {
    const auto first = keys.begin() + static_cast<std::ptrdiff_t>(i);
    const auto count = std::min(kKeysPerRefresh, keys.size() - i);
    std::vector<std::string> some(first, first + static_cast<std::ptrdiff_t>(count));
    jobs.emplace_back([this, endpoint, some = std::move(some)] {
      return api_.keep_alive(endpoint, *lease_, some);
    });
  }
  auto kept = co_await run(std::move(jobs));
  if (!kept) co_return kept;
  lease_ends_ = now + where_.ttl;
  next_keep_alive_ = now + where_.ttl / kPerTtl;
  co_return Result<>{};
}

asio::awaitable<Result<std::optional<etcd::KeyValue>>> MerlionPublication::read_claim(
    std::string endpoint) {
  auto listing = co_await api_.list(endpoint, claim_key());
  if (!listing) co_return tl::unexpected(listing.error());
  for (etcd::KeyValue& kv : listing->kvs)
    if (kv.key == claim_key()) co_return std::move(kv);
  co_return std::nullopt;
}

asio::awaitable<Result<>> MerlionPublication::claim(std::string endpoint) {
  const auto now = clocks_.steady();
  const bool suspect = std::exchange(may_have_claimed_, true);
  auto claimed = co_await api_.create(endpoint, claim_key(), where_.host, *lease_);
  if (!claimed) co_return tl::unexpected(claimed.error());
  bool ours = *claimed;
  if (!ours && suspect) {
    auto holder = co_await read_claim(endpoint);
    if (!holder) co_return tl::unexpected(holder.error());
    ours = *holder && (*holder)->value == where_.host;
    if (ours) {
      auto renewed = co_await api_.put(endpoint, claim_key(), where_.host, *lease_);
      if (!renewed) co_return renewed;
    }
  }
  may_have_claimed_ = false;
  // Spread, so that of those who wait not all ask at the same time.
  next_claim_ = now + std::chrono::duration_cast<std::chrono::milliseconds>(where_.ttl / kPerTtl *
                                                                            (0.75 + random_() / 2));
  if (!ours) co_return Result<>{};
  flat_ = MerlionFolder(flat_.root());
  auto loaded = co_await load(flat_, endpoint);
  if (!loaded) {
    may_have_claimed_ = true;
    next_claim_ = now;
    co_return loaded;
  }
  holds_claim_ = true;
  co_return Result<>{};
}

asio::awaitable<Result<>> MerlionPublication::load(MerlionFolder& folder, std::string endpoint) {
  auto listing = co_await api_.list(endpoint, folder.root());
  if (!listing) co_return tl::unexpected(listing.error());
  folder.found(listing->kvs, lease_of_keys(), pacing_);
  co_return Result<>{};
}

asio::awaitable<Result<>> MerlionPublication::audit(std::string endpoint) {
  const auto began = clocks_.steady();
  if (holds_claim_) {
    auto holder = co_await read_claim(endpoint);
    if (!holder) co_return tl::unexpected(holder.error());
    if (!*holder || (*holder)->value != where_.host || (*holder)->lease != lease_of_keys()) {
      // Somebody has removed the claim, or writes under our name. What is there now is the other's.
      holds_claim_ = false;
      may_have_claimed_ = false;
      next_claim_ = began;
      flat_ = MerlionFolder(flat_.root());
    }
  }
  for (MerlionFolder* folder : folders()) {
    auto loaded = co_await load(*folder, endpoint);
    if (!loaded) co_return loaded;
  }
  const auto now = clocks_.steady();
  next_audit_ = now + std::max<std::chrono::steady_clock::duration>(kOwnAuditEvery,
                                                                    kOwnAuditShare * (now - began));
  co_return Result<>{};
}

asio::awaitable<Result<>> MerlionPublication::write(std::string endpoint) {
  std::vector<std::pair<MerlionFolder*, MerlionWrite>> writes;
  for (MerlionFolder* folder : folders())
    for (MerlionWrite& one : folder->take_writes(pacing_, kSlice))
      writes.emplace_back(folder, std::move(one));
  if (writes.empty()) co_return Result<>{};
  std::vector<Job> jobs;
  for (const auto& [folder, one] : writes)
    jobs.emplace_back(
        [this, endpoint, folder = folder, one = one] { return perform(*folder, one, endpoint); });
  last_writes_ = jobs.size();
  auto written = co_await run(std::move(jobs));
  if (!written)
    for (const auto& [folder, one] : writes) folder->touch(one.name);
  co_return written;
}

asio::awaitable<Result<>> MerlionPublication::perform(MerlionFolder& folder, MerlionWrite write,
                                                      std::string endpoint) {
  const std::string path = folder.path(write);
  folder.begin(write);
  Result<> result;
  switch (write.kind) {
    case MerlionWrite::Kind::Put:
      result = co_await api_.put(endpoint, path, write.value, *lease_);
      break;
    case MerlionWrite::Kind::Remove:
      result = co_await api_.remove(endpoint, path);
      break;
    case MerlionWrite::Kind::RemoveAll:
      result = co_await api_.remove_prefix(endpoint, path);
      break;
  }
  if (result) folder.done(write);
  co_return result;
}

asio::awaitable<Result<>> MerlionPublication::withdraw(std::string endpoint) {
  if (!lease_) co_return Result<>{};
  if (version() == etcd::ApiVersion::V2) {  // by folders, which revoke() would leave behind empty
    want({});
    for (MerlionFolder* folder : folders())
      for (const std::string& name : folder->names()) folder->touch(name);
    do {
      auto removed = co_await write(endpoint);
      if (!removed) co_return removed;
    } while (unfinished() && lease_ && loaded_);
  }
  std::vector<std::string> keys;
  if (holds_claim_) keys.push_back(claim_key());
  auto revoked = co_await api_.revoke(endpoint, *lease_, keys);
  if (!revoked) co_return revoked;
  forget();
  co_return Result<>{};
}

asio::awaitable<Result<>> MerlionPublication::run(std::vector<Job> list) {
  Jobs jobs;
  jobs.list = std::move(list);
  if (jobs.list.empty()) co_return Result<>{};
  co_await work(jobs, std::min(kInFlight, jobs.list.size()));
  co_return std::move(jobs.result);
}

asio::awaitable<void> MerlionPublication::work(Jobs& jobs, std::size_t workers) {
  auto one = work(jobs);
  if (workers == 1) {
    co_await std::move(one);
    co_return;
  }
  auto others = work(jobs, workers - 1);
  auto all = std::move(one) && std::move(others);
  co_await std::move(all);
}

asio::awaitable<void> MerlionPublication::work(Jobs& jobs) {
  while (jobs.next < jobs.list.size() && jobs.result) {
    const Job job = std::move(jobs.list[jobs.next++]);
    auto asked = job();
    auto result = co_await std::move(asked);
    if (!result && jobs.result) jobs.result = std::move(result);
  }
}

}  // namespace lb
