#include "etcd/v3_api.h"

#include <cerrno>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "etcd/v3_codec.h"
#include "etcd/v3_watch.h"

namespace lb::etcd {
namespace {

using namespace std::chrono_literals;

// A page of small keys is some 300 kB of JSON, which is read without holding up anything else.
constexpr int kPage = 2000;
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
  auto parsed = parse(*body);
  if (parsed) co_return parsed;
  if (parsed.error().code.value() == EBADMSG) gateway_.forget(call.endpoint);
  co_return V3Gateway::failed(call, std::move(parsed.error()));
}

asio::awaitable<Result<RangeResponse>> V3Api::range(std::string endpoint, std::string what,
                                                    RangeQuery query) {
  V3Gateway::Call call{std::move(endpoint), "/kv/range", range_request(query), std::move(what)};
  if (query.count_only) call.timeout = kCountTimeout;
  auto answer = co_await ask(std::move(call), &parse_range);
  co_return answer;
}

// All pages show the state at the revision of the first.
asio::awaitable<Result<Listing>> V3Api::list_pages(std::string endpoint, std::string prefix,
                                                   bool* compacted) {
  Listing out;
  RangeQuery query = below(prefix);
  query.limit = kPage;
  for (bool more = true; more;) {
    auto page = co_await range(endpoint, "range of " + prefix, query);
    if (!page) {
      *compacted = query.revision != 0 && page.error().code.value() == ESTALE;
      co_return tl::unexpected(std::move(page.error()));
    }
    if (query.revision == 0) out.header = page->header;
    if (page->header.cluster != out.header.cluster)
      co_return fail(ESTALE,
                     fmt::format("{}: range of {}: two clusters answer there", endpoint, prefix));
    more = page->more && !page->kvs.empty();
    if (more) query.key = page->kvs.back().key + '\0';
    query.revision = out.header.revision;
    std::move(page->kvs.begin(), page->kvs.end(), std::back_inserter(out.kvs));
  }
  co_return out;
}

asio::awaitable<Result<Listing>> V3Api::list(std::string endpoint, std::string prefix) {
  for (int left = kListings;;) {
    bool compacted = false;
    auto listing = co_await list_pages(endpoint, prefix, &compacted);
    if (listing || !compacted || --left == 0) co_return listing;
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
