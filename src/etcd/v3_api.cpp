#include "etcd/v3_api.h"

#include <algorithm>
#include <cerrno>
#include <functional>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "base/beside.h"
#include "etcd/v3_codec.h"
#include "etcd/v3_watch.h"

namespace lb::etcd {
namespace {

using namespace std::chrono_literals;

// A page of small keys is some 300 kB of JSON, which is read without holding up anything else.
constexpr int kPage = 2000;
// Ten times what keys of Merlion come to. Larger is what lbd does not need: its values stay in etcd.
constexpr std::size_t kMaxPage = std::size_t{8} << 20;
constexpr int kListings = 3;  // the history may be compacted while pages are read
constexpr auto kCountTimeout = 3s;

RangeQuery below(const std::string& prefix) {
  RangeQuery query;
  query.key = prefix_begin(prefix);
  query.end = prefix_end(prefix);
  return query;
}

Result<> done(const Result<Header>& answer) {
  if (!answer) return tl::unexpected(answer.error());
  return {};
}

}  // namespace

template <class T>
asio::awaitable<Result<T>> V3Api::ask(V3Gateway::Call call, Result<T> (*parse)(std::string_view)) {
  auto body = co_await gateway_.ask(call);
  if (!body) co_return tl::unexpected(std::move(body.error()));
  auto parsed = Result<T>(fail(ECANCELED, "parse"));
  if (body->size() < kLargeText) {
    parsed = parse(*body);
  } else {
    // What is large is parsed beside the loop, which has connections to count meanwhile.
    std::function<Result<T>()> job = [parse, text = std::move(*body)] { return parse(text); };
    parsed = co_await off_loop<T>(std::move(job));
  }
  if (parsed) co_return parsed;
  if (parsed.error().code.value() == EBADMSG) gateway_.forget(call.endpoint);
  co_return V3Gateway::failed(call, std::move(parsed.error()));
}

asio::awaitable<Result<RangeResponse>> V3Api::range(std::string endpoint, std::string what,
                                                    RangeQuery query) {
  V3Gateway::Call call{std::move(endpoint), "/kv/range", range_request(query), std::move(what)};
  if (query.count_only) call.timeout = kCountTimeout;
  call.max_body = kMaxPage;
  auto answer = co_await ask(std::move(call), &parse_range);
  co_return answer;
}

// Keys with the values of all of them, or, where that is too much, of those that are wanted.
asio::awaitable<Result<RangeResponse>> V3Api::page(Walk& walk, RangeQuery query) {
  const std::string what = "range of " + walk.prefix;
  if (!bulky_.contains(walk.prefix)) {
    auto all = co_await range(walk.endpoint, what, query);
    if (all || all.error().code.value() != EMSGSIZE) co_return all;
    bulky_.insert(walk.prefix);
  }
  query.keys_only = true;
  auto keys = co_await range(walk.endpoint, what, query);
  if (!keys) co_return keys;
  // The values belong to the keys: of the revision that showed them.
  if (walk.out.header.revision == 0) walk.out.header = keys->header;
  auto fetched = co_await fetch_values(walk, keys->kvs);
  if (!fetched) co_return tl::unexpected(std::move(fetched.error()));
  co_return keys;
}

// Wanted keys that follow each other come in one answer.
asio::awaitable<Result<>> V3Api::fetch_values(Walk& walk, std::vector<KeyValue>& kvs) {
  const std::span<KeyValue> all(kvs);
  for (std::size_t begin = 0; begin < all.size();) {
    std::size_t end = begin;
    while (end < all.size() && (!walk.wanted || walk.wanted(all[end].key))) ++end;
    if (end > begin) {
      auto fetched = co_await fetch_run(walk, all.subspan(begin, end - begin));
      if (!fetched) co_return fetched;
    }
    while (end < all.size() && walk.wanted && !walk.wanted(all[end].key)) {
      ++walk.out.unread;
      ++end;
    }
    begin = end;
  }
  co_return Result<>{};
}

// By halves, until an answer is small enough.
asio::awaitable<Result<>> V3Api::fetch_run(Walk& walk, std::span<KeyValue> run) {
  RangeQuery query;
  query.key = run.front().key;
  query.end = run.back().key + '\0';
  query.revision = walk.out.header.revision;
  auto values = co_await range(walk.endpoint, "range of " + walk.prefix, query);
  if (!values && values.error().code.value() == EMSGSIZE && run.size() > 1) {
    const std::size_t half = run.size() / 2;
    auto first = co_await fetch_run(walk, run.first(half));
    if (!first) co_return first;
    auto second = co_await fetch_run(walk, run.subspan(half));
    co_return second;
  }
  if (!values) {
    walk.compacted = values.error().code.value() == ESTALE;
    co_return tl::unexpected(std::move(values.error()));
  }
  if (values->kvs.size() != run.size())
    co_return fail(EBADMSG,
                   fmt::format("{}: range of {}: {} keys where there are {}", walk.endpoint,
                               walk.prefix, values->kvs.size(), run.size()));
  std::move(values->kvs.begin(), values->kvs.end(), run.begin());
  co_return Result<>{};
}

// All pages show the state at the revision of the first.
asio::awaitable<Result<>> V3Api::list_pages(Walk& walk) {
  RangeQuery query = below(walk.prefix);
  query.limit = kPage;
  for (bool more = true; more;) {
    auto got = co_await page(walk, query);
    if (!got) {
      walk.compacted =
          walk.compacted || (query.revision != 0 && got.error().code.value() == ESTALE);
      co_return tl::unexpected(std::move(got.error()));
    }
    if (query.revision == 0) walk.out.header = got->header;
    if (got->header.cluster != walk.out.header.cluster)
      co_return fail(ESTALE, fmt::format("{}: range of {}: two clusters answer there",
                                         walk.endpoint, walk.prefix));
    more = got->more && !got->kvs.empty();
    if (more) query.key = got->kvs.back().key + '\0';
    query.revision = walk.out.header.revision;
    std::move(got->kvs.begin(), got->kvs.end(), std::back_inserter(walk.out.kvs));
  }
  co_return Result<>{};
}

asio::awaitable<Result<Listing>> V3Api::list(std::string endpoint, std::string prefix,
                                             Wanted wanted) {
  for (int left = kListings;;) {
    Walk walk{endpoint, prefix, wanted, false, {}};
    auto listed = co_await list_pages(walk);
    if (listed) co_return std::move(walk.out);
    if (!walk.compacted || --left == 0) co_return tl::unexpected(std::move(listed.error()));
  }
}

asio::awaitable<Result<bool>> V3Api::has_keys(std::string endpoint, std::string prefix) {
  RangeQuery query = below(prefix);
  query.limit = 1;
  query.keys_only = true;
  auto answer = co_await range(std::move(endpoint), "range of " + prefix, std::move(query));
  if (!answer) co_return tl::unexpected(std::move(answer.error()));
  co_return !answer->kvs.empty();
}

asio::awaitable<Result<Header>> V3Api::probe(std::string endpoint, std::string key) {
  const std::string what = "probe of " + key;
  RangeQuery query;
  query.key = prefix_begin(key);
  query.limit = 1;
  query.count_only = true;
  auto answer = co_await range(std::move(endpoint), what, std::move(query));
  if (!answer) co_return tl::unexpected(std::move(answer.error()));
  co_return answer->header;
}

// From what the member itself knows: no quorum, and no permission, is needed. Before 3.4 it tells of no
// alarms.
asio::awaitable<Result<std::string>> V3Api::full(std::string endpoint) {
  V3Gateway::Call call{std::move(endpoint), "/maintenance/status", "{}", "status"};
  call.timeout = kCountTimeout;
  auto answer = co_await ask(std::move(call), &parse_alarm);
  co_return answer;
}

asio::awaitable<Result<std::unique_ptr<Watch>>> V3Api::watch(std::string endpoint,
                                                             std::uint64_t cluster,
                                                             std::vector<WatchRequest> requests) {
  return open_v3_watch(http_, gateway_, std::move(endpoint), cluster, std::move(requests));
}

asio::awaitable<Result<>> V3Api::put(std::string endpoint, std::string key, std::string value,
                                     Lease lease) {
  V3Gateway::Call call{std::move(endpoint), "/kv/put", put_request(key, value, lease.id),
                       "put " + key};
  auto answer = co_await ask(std::move(call), &parse_header);
  co_return done(answer);
}

asio::awaitable<Result<bool>> V3Api::create(std::string endpoint, std::string key,
                                            std::string value, Lease lease) {
  V3Gateway::Call call{std::move(endpoint), "/kv/txn", create_request(key, value, lease.id),
                       "create " + key};
  auto answer = co_await ask(std::move(call), &parse_created);
  co_return answer;
}

asio::awaitable<Result<>> V3Api::remove(std::string endpoint, std::string key) {
  V3Gateway::Call call{std::move(endpoint), "/kv/deleterange", remove_request(key),
                       "remove " + key};
  auto answer = co_await ask(std::move(call), &parse_header);
  co_return done(answer);
}

asio::awaitable<Result<>> V3Api::remove_prefix(std::string endpoint, std::string prefix) {
  // It would be everything that anybody has in this etcd.
  if (prefix.empty()) co_return fail(EINVAL, endpoint + ": remove all below an empty prefix");
  V3Gateway::Call call{std::move(endpoint), "/kv/deleterange",
                       remove_request(prefix, prefix_end(prefix)), "remove all below " + prefix};
  auto answer = co_await ask(std::move(call), &parse_header);
  co_return done(answer);
}

asio::awaitable<Result<Lease>> V3Api::grant(std::string endpoint, std::chrono::seconds ttl) {
  V3Gateway::Call call{std::move(endpoint), "/lease/grant", grant_request(ttl),
                       fmt::format("grant a lease of {} s", ttl.count())};
  auto answer = co_await ask(std::move(call), &parse_grant);
  co_return answer;
}

// The keys live and die with the lease: there is nothing to be done for each of them.
asio::awaitable<Result<>> V3Api::keep_alive(std::string endpoint, Lease lease,
                                            std::vector<std::string>) {
  V3Gateway::Call call{std::move(endpoint), "/lease/keepalive", lease_request(lease.id),
                       fmt::format("keep lease {:x} alive", lease.id)};
  auto answer = co_await ask(std::move(call), &parse_keep_alive);
  co_return done(answer);
}

asio::awaitable<Result<>> V3Api::revoke(std::string endpoint, Lease lease,
                                        std::vector<std::string>) {
  // Every version has it there; 3.4 and later have it at /lease/revoke, too.
  V3Gateway::Call call{std::move(endpoint), "/kv/lease/revoke", lease_request(lease.id),
                       fmt::format("revoke lease {:x}", lease.id)};
  auto answer = co_await ask(std::move(call), &parse_header);
  if (!answer && answer.error().code.value() == ENOENT) co_return Result<>{};  // it has ended
  co_return done(answer);
}

}  // namespace lb::etcd
