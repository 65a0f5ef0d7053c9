// A real lbd beside a real etcd with Merlion's keys: configuration under /conf/site, backends under
// /svc/site, published on 127.0.0.1:8080. Each test runs against etcd's v2 and its v3 API.
#pragma once

#include <gmock/gmock.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "netns/daemon/fixture.h"
#include "support/etcd_cluster.h"
#include "support/etcd_keys.h"

namespace lb::test {

constexpr auto kSite = "/conf/site";
constexpr auto kUpstream = "/svc/site";
constexpr auto kState = "/state/site";
constexpr auto kListen = "127.0.0.1:8080";

inline const std::vector<EtcdStore> kStores{EtcdStore::V3, EtcdStore::V2};

using WallTime = std::chrono::system_clock::time_point;

// "2026-01-31T12:00:00.123+00:00".
std::string iso(WallTime time);
std::string now(std::chrono::milliseconds later = {});

class MerlionNetns : public DaemonNetns, public testing::WithParamInterface<EtcdStore> {
 protected:
  void SetUp() override;  // an empty etcd; lbd configured, not running
  void TearDown() override;
  // What etcd shall be like, for fixtures derived from this one.
  [[nodiscard]] virtual EtcdOptions etcd_options() const { return {}; }

  // The [[source]] with these prefixes.
  [[nodiscard]] std::string source_toml(const std::vector<std::string>& prefixes) const;

  void set(const std::string& name, const std::string& value) {
    keys_->put(std::string(kSite) + "/" + name, value);
  }
  void unset(const std::string& name) { keys_->remove(std::string(kSite) + "/" + name); }
  [[nodiscard]] static std::string key(const std::string& backend, const std::string& name) {
    return fmt::format("{}/{}/{}", kUpstream, backend, name);
  }
  void configure(const std::string& freshness = "3600");  // a valid configuration
  void add(const std::string& backend, const std::string& address, const std::string& seen = now());
  void touch(const std::string& backend, const std::string& seen = now()) {
    keys_->put(key(backend, "last-seen-at"), seen);
  }
  void drop(const std::string& backend) {
    keys_->remove_tree(std::string(kUpstream) + "/" + backend);
  }

  // lbd runs and "site" has this condition.
  void start(const std::string& condition = "ok");
  // Backends a, b, c on the three small servers, and lbd running.
  void serve_three();

  // What `backend` (by address) is: "active", "stale", ...
  [[nodiscard]] std::string state_of(const std::string& address) const {
    return lbd_->backend("site", address).state;
  }
  bool turns(const std::string& address, const std::string& state,
             std::chrono::milliseconds patience = std::chrono::seconds(5));
  // A field of the only source, from `lbctl sources`.
  [[nodiscard]] std::string source(const std::string& field) const;
  bool warns_of(const std::string& text);
  // Who answers, asked often enough to meet everybody.
  [[nodiscard]] static std::vector<std::string> who(const std::string& at = kListen);

  std::unique_ptr<EtcdCluster> etcd_;
  std::unique_ptr<EtcdKeys> keys_;
};

std::string store_name(const testing::TestParamInfo<EtcdStore>& info);

}  // namespace lb::test
