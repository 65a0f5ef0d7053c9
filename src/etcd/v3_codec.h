// The JSON gateway of etcd v3 as values: requests to text, answers from text. Knows no socket. Tolerant
// where versions differ: 64-bit numbers may be strings or numbers, zero values are left out, `error` is
// a text, an object or missing. Errors say what etcd said; the endpoint is the caller's to add.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "etcd/types.h"

namespace lb::etcd {

// Where a member has its gateway.
struct Gateway {
  std::string path;        // "/v3"
  bool fragments = false;  // knows `fragment` of a watch; older ones refuse unknown fields

  bool operator==(const Gateway&) const = default;
};

struct RangeQuery {
  std::string key;
  std::string end = {};       // the first key that is not asked for; "": `key` alone
  std::int64_t revision = 0;  // 0: now
  int limit = 0;              // 0: none
  bool keys_only = false;
  bool count_only = false;
};

struct RangeResponse {
  Header header;
  std::vector<KeyValue> kvs;
  bool more = false;
};

// How etcd says no.
struct Refusal {
  Error error;         // etcd's own words, and the errno value of api.h
  bool token = false;  // a new token may help: authenticate, and ask again
};

// All keys that start with `prefix` are from prefix_begin() to prefix_end(), its last byte plus one,
// 0xff carried.
[[nodiscard]] std::string prefix_begin(std::string_view prefix);
[[nodiscard]] std::string prefix_end(std::string_view prefix);

[[nodiscard]] std::string range_request(const RangeQuery& query);
[[nodiscard]] std::string put_request(std::string_view key, std::string_view value,
                                      std::int64_t lease);
[[nodiscard]] std::string create_request(std::string_view key, std::string_view value,
                                         std::int64_t lease);  // only if there is no such key
[[nodiscard]] std::string remove_request(std::string_view key, std::string_view end = {});
[[nodiscard]] std::string grant_request(std::chrono::seconds ttl);
[[nodiscard]] std::string lease_request(std::int64_t lease);  // keep alive, revoke
[[nodiscard]] std::string authenticate_request(const std::string& user,
                                               const std::string& password);
// Several watches on one connection get the ids 0, 1, ... in this order.
[[nodiscard]] std::string watch_request(const std::vector<WatchRequest>& watches, bool fragments);

// Bodies of answers with HTTP status 200; EBADMSG when they are no such answer.
[[nodiscard]] Result<Gateway> parse_version(std::string_view body);  // ENOTSUP: before 3.0
[[nodiscard]] Result<RangeResponse> parse_range(std::string_view body);
[[nodiscard]] Result<Header> parse_header(std::string_view body);  // put, remove, revoke
// Of /maintenance/status: the alarm that keeps it from taking writes, "" when there is none.
[[nodiscard]] Result<std::string> parse_alarm(std::string_view body);
[[nodiscard]] Result<bool> parse_created(std::string_view body);  // false: the key was there
[[nodiscard]] Result<Lease> parse_grant(std::string_view body);
[[nodiscard]] Result<Header> parse_keep_alive(std::string_view body);  // ENOENT: it has expired
[[nodiscard]] Result<std::string> parse_token(std::string_view body);

// Any other status. HTML and the like are shortened to something printable.
[[nodiscard]] Refusal parse_refusal(int status, std::string_view body);
// The same of words that came without one: of a watch that was cancelled. `grpc` 0: not told.
[[nodiscard]] Refusal refusal_of(int grpc, std::string_view words);

}  // namespace lb::etcd
