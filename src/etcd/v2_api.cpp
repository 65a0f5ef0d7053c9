#include "etcd/v2_api.h"

#include <algorithm>
#include <cerrno>
#include <functional>
#include <utility>

#include <fmt/format.h>

#include "base/beside.h"
#include "base/text.h"
#include "etcd/v2_codec.h"
#include "etcd/v2_watch.h"

namespace lb::etcd {
namespace {

using namespace std::chrono_literals;

constexpr auto kQuorumTimeout = 3s;  // etcd without a quorum answers after 7 s
// All reads: a member without one would answer from what it last knew.
constexpr auto kQuorum = "quorum=true";
constexpr auto kRecursiveQuorum = "recursive=true&quorum=true";

v2::Answer answer_of(const HttpResponse& response) {
  return v2::answer_of(response.status, response.headers, response.body);
}

// An error of the codec or of curl, with what it is about.
tl::unexpected<Error> about(const std::string& endpoint, const char* what, const std::string& key,
                            Error error) {
  error.context = fmt::format("{}: {} of {}: {}", endpoint, what, printable(key), error.context);
  return tl::unexpected(std::move(error));
}

Result<> accept(const HttpResponse& response) {
  const v2::Answer answer = answer_of(response);
  if (response.status != 200 && response.status != 201) return tl::unexpected(v2::failure(answer));
  LB_CHECK(v2::parse_header(answer));
  return {};
}

}  // namespace

Result<HttpRequest> V2Api::request(std::string url, const char* method) const {
  HttpRequest out;
  out.method = method;
  out.url = std::move(url);
  out.tls = access_.tls;
  if (!access_.username.empty()) {
    out.username = access_.username;
    LB_TRY(out.password, read_password(access_));
  }
  return out;
}

asio::awaitable<Result<HttpResponse>> V2Api::ask(Call call) {
  auto path = call.whole_directory ? v2::directory_path(call.key) : v2::key_path(call.key);
  if (!path) co_return about(call.endpoint, call.what, call.key, std::move(path.error()));
  auto asked =
      request(call.endpoint + *path + (call.query.empty() ? "" : "?" + call.query), call.method);
  if (!asked) co_return about(call.endpoint, call.what, call.key, std::move(asked.error()));
  asked->timeout = call.timeout;
  if (!call.form.empty()) {
    asked->headers = {"Content-Type: application/x-www-form-urlencoded"};
    asked->body = std::move(call.form);
  }
  auto response = co_await http_.request(std::move(*asked));
  if (!response) co_return about(call.endpoint, call.what, call.key, std::move(response.error()));
  co_return response;
}

asio::awaitable<Result<>> V2Api::change(Call call, int tolerated_error) {
  auto response = co_await ask(call);
  if (!response) co_return tl::unexpected(std::move(response.error()));
  if (tolerated_error != 0 && v2::error_code(response->body) == tolerated_error)
    co_return Result<>{};
  auto accepted = accept(*response);
  if (!accepted) co_return about(call.endpoint, call.what, call.key, std::move(accepted.error()));
  co_return Result<>{};
}

asio::awaitable<Result<Listing>> V2Api::list(std::string endpoint, std::string prefix, Wanted) {
  Call call{endpoint, "list", prefix};
  call.whole_directory = true;
  call.query = kRecursiveQuorum;
  auto response = co_await ask(std::move(call));
  if (!response) co_return tl::unexpected(std::move(response.error()));
  auto listing = Result<Listing>(fail(ECANCELED, "parse"));
  if (response->body.size() < kLargeText) {
    listing = v2::parse_listing(answer_of(*response), prefix);
  } else {
    // What is large is parsed beside the loop, which has connections to count meanwhile.
    std::function<Result<Listing>()> job = [answer = std::move(*response), prefix] {
      return v2::parse_listing(answer_of(answer), prefix);
    };
    listing = co_await off_loop<Listing>(std::move(job));
  }
  if (!listing) co_return about(endpoint, "list", prefix, std::move(listing.error()));
  co_return listing;
}

asio::awaitable<Result<bool>> V2Api::has_keys(std::string endpoint, std::string prefix) {
  // What cannot be a key of v2 may still be one of v3: that is for the caller to find out.
  if (!v2::directory_path(prefix)) co_return false;
  Call call{endpoint, "look", prefix};
  call.whole_directory = true;
  call.query = kQuorum;
  auto response = co_await ask(std::move(call));
  if (!response) co_return tl::unexpected(std::move(response.error()));
  auto found = v2::parse_presence(answer_of(*response), prefix);
  if (!found) co_return about(endpoint, "look", prefix, std::move(found.error()));
  if (*found) co_return **found;
  // Nothing but directories, which may all be empty.
  auto listing = co_await list(std::move(endpoint), std::move(prefix));
  if (!listing) co_return tl::unexpected(std::move(listing.error()));
  co_return !listing->kvs.empty();
}

asio::awaitable<Result<std::unique_ptr<Watch>>> V2Api::watch(std::string endpoint,
                                                             std::uint64_t cluster,
                                                             std::vector<WatchRequest> requests) {
  v2::WatchTarget target{http_, endpoint, cluster,
                         [this, endpoint](const std::string& path, const std::string& query) {
                           return request(endpoint + path + "?" + query, "GET");
                         }};
  auto opened = co_await v2::open_watch(std::move(target), std::move(requests));
  co_return opened;
}

asio::awaitable<Result<Header>> V2Api::probe(std::string endpoint, std::string key) {
  Call call{endpoint, "probe", key};
  call.query = kQuorum;
  call.timeout = kQuorumTimeout;
  auto response = co_await ask(std::move(call));
  if (!response) co_return tl::unexpected(std::move(response.error()));
  auto read = v2::parse_is_directory(answer_of(*response));
  if (!read) co_return about(endpoint, "probe", key, std::move(read.error()));
  auto header = v2::parse_header(answer_of(*response));
  if (!header) co_return about(endpoint, "probe", key, std::move(header.error()));
  co_return header;
}

asio::awaitable<Result<>> V2Api::put(std::string endpoint, std::string key, std::string value,
                                     Lease lease) {
  Call call{std::move(endpoint), "put", std::move(key), "PUT"};
  call.form = v2::value_form(value, lease.ttl);
  auto done = co_await change(std::move(call), 0);
  co_return done;
}

asio::awaitable<Result<bool>> V2Api::create(std::string endpoint, std::string key,
                                            std::string value, Lease lease) {
  Call call{endpoint, "create", key, "PUT"};
  call.form = v2::create_form(value, lease.ttl);
  auto response = co_await ask(std::move(call));
  if (!response) co_return tl::unexpected(std::move(response.error()));
  if (v2::error_code(response->body) == v2::kNodeExists) co_return false;
  auto accepted = accept(*response);
  if (!accepted) co_return about(endpoint, "create", key, std::move(accepted.error()));
  co_return true;
}

asio::awaitable<Result<>> V2Api::remove(std::string endpoint, std::string key) {
  Call call{std::move(endpoint), "remove", std::move(key), "DELETE"};
  auto done = co_await change(std::move(call), v2::kKeyNotFound);
  co_return done;
}

asio::awaitable<Result<>> V2Api::remove_prefix(std::string endpoint, std::string prefix) {
  if (!prefix.ends_with('/')) {  // not a directory: what begins so, one by one
    auto listing = co_await list(endpoint, prefix);
    if (!listing) co_return tl::unexpected(std::move(listing.error()));
    for (const KeyValue& kv : listing->kvs) {
      auto done = co_await remove(endpoint, kv.key);
      if (!done) co_return done;
    }
    co_return Result<>{};
  }
  Call look{endpoint, "remove", prefix};
  look.query = kQuorum;
  auto response = co_await ask(std::move(look));
  if (!response) co_return tl::unexpected(std::move(response.error()));
  // A recursive delete would take a plain key of that name too, which is not below the prefix.
  auto directory = v2::parse_is_directory(answer_of(*response));
  if (!directory) co_return about(endpoint, "remove", prefix, std::move(directory.error()));
  if (!*directory) co_return Result<>{};
  Call call{std::move(endpoint), "remove", std::move(prefix), "DELETE"};
  call.query = "recursive=true";
  auto done = co_await change(std::move(call), v2::kKeyNotFound);
  co_return done;
}

asio::awaitable<Result<Lease>> V2Api::grant(std::string, std::chrono::seconds ttl) {
  co_return Lease{0, std::max(ttl, std::chrono::seconds(1))};
}

asio::awaitable<Result<>> V2Api::keep_alive(std::string endpoint, Lease lease,
                                            std::vector<std::string> keys) {
  for (const std::string& key : keys) {
    Call call{endpoint, "refresh", key, "PUT"};
    call.form = v2::refresh_form(lease.ttl);
    auto response = co_await ask(std::move(call));
    if (!response) co_return tl::unexpected(std::move(response.error()));
    auto accepted = accept(*response);
    if (accepted) continue;
    Error error = std::move(accepted.error());
    if (v2::error_code(response->body) == v2::kKeyNotFound)
      error.code = std::error_code(ENOENT, std::generic_category());
    co_return about(endpoint, "refresh", key, std::move(error));
  }
  co_return Result<>{};
}

asio::awaitable<Result<>> V2Api::revoke(std::string endpoint, Lease,
                                        std::vector<std::string> keys) {
  for (const std::string& key : keys) {
    auto done = co_await remove(endpoint, key);
    if (!done) co_return done;
  }
  co_return Result<>{};
}

}  // namespace lb::etcd
