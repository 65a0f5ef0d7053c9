// What both APIs of etcd say, as values. v3's words are used; v2's fit into them.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace lb::etcd {

enum class ApiVersion : std::uint8_t { V3, V2 };

struct KeyValue {
  std::string key;
  std::string value;
  std::int64_t mod_revision = 0;  // v2: modifiedIndex
  std::int64_t lease = 0;         // 0: none. v2 has no leases: 1 when the key has a TTL

  bool operator==(const KeyValue&) const = default;
};

// Which cluster answered, and how far it was.
struct Header {
  std::uint64_t cluster = 0;  // v2: X-Etcd-Cluster-Id
  std::int64_t revision = 0;  // v2: X-Etcd-Index. 0: not told

  bool operator==(const Header&) const = default;
};

// All keys below a prefix as they were at one revision.
struct Listing {
  Header header;
  std::vector<KeyValue> kvs;  // sorted by key
  std::size_t unread = 0;  // so many of them have no value here: it was neither wanted nor fetched
};

struct Event {
  bool is_delete = false;
  KeyValue kv;  // of a DELETE only key and mod_revision
  // Before the event, where etcd tells. Its lease tells an expiry from a deletion: v2 says which it
  // was (an expiry has lease 1, a deletion 0), v3 does not (a deletion of a leased key looks the same).
  std::optional<KeyValue> previous;
  bool is_directory = false;  // v2: a directory went with everything below; `kv.key` is its name
};

// What is applied whole: one transaction never comes in two batches.
struct Batch {
  Header header;              // the newest revision that etcd told; 0: not told
  std::vector<Event> events;  // by revision
};

struct WatchRequest {
  std::string prefix;
  std::int64_t start_revision = 0;  // the first one wanted
};

// How long keys outlive their writer. With v3 one lease that all keys share; with v2 a TTL of each.
struct Lease {
  std::int64_t id = 0;  // v2: always 0
  std::chrono::seconds ttl{0};
};

}  // namespace lb::etcd
