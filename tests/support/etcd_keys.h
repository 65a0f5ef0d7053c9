// Writes and reads keys of an EtcdCluster through v2 or v3, blocking, by HTTP requests of its own. Goes
// to any member that is sound and asks the next one when that fails; a test failure when none answers.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <map>
#include <optional>
#include <string>

#include "support/etcd_cluster.h"
#include "support/http_call.h"

namespace lb::test {

enum class EtcdStore { V3, V2 };  // disjoint: what is in one is not in the other

[[nodiscard]] std::string to_string(EtcdStore store);  // "v3", as lbd's configuration has it
void PrintTo(EtcdStore store, std::ostream* out);      // for gtest

class EtcdKeys {
 public:
  EtcdKeys(EtcdCluster& cluster, EtcdStore store);

  // Ask this one first from now on.
  void prefer(std::size_t member) { preferred_ = member; }

  void put(const std::string& key, const std::string& value);
  // Gone after so long: under a lease of its own (v3), or with a TTL (v2).
  void put_for(std::chrono::seconds life, const std::string& key, const std::string& value);
  void remove(const std::string& key);
  void remove_tree(const std::string& folder);  // and everything below it
  void make_folder(const std::string& folder);  // v3 has none
  [[nodiscard]] std::optional<std::string> get(const std::string& key);
  [[nodiscard]] std::map<std::string, std::string> list(const std::string& folder);  // full keys

  // v3 only. A lease that is revoked looks to a watcher as one that ran out.
  [[nodiscard]] std::int64_t grant(std::chrono::seconds life);
  void put(const std::string& key, const std::string& value, std::int64_t lease);
  void revoke(std::int64_t lease);
  // Many puts in few transactions.
  void put_many(const std::map<std::string, std::string>& values, std::int64_t lease = 0);
  [[nodiscard]] std::int64_t revision();
  void compact(std::int64_t revision);

 private:
  HttpReply v3(const std::string& path, const std::string& body);
  HttpReply v2(const std::string& method, const std::string& key, const std::string& query,
               const std::string& form = {});
  // Tries the sound members in turn until one gives a final answer.
  HttpReply send(const std::string& method, const std::string& path, const std::string& body,
                 const std::string& content_type);
  [[nodiscard]] std::vector<std::size_t> candidates() const;
  std::string token();

  EtcdCluster& cluster_;
  EtcdStore store_;
  HttpCall call_;
  std::string token_;
  std::size_t preferred_ = 0;
};

}  // namespace lb::test
