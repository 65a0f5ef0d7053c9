#include "support/etcd_keys.h"

#include <algorithm>
#include <ostream>
#include <thread>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/text.h"

namespace lb::test {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using Clock = std::chrono::steady_clock;

// Longer than an election and the requests that were under way when it began.
constexpr auto kPatience = 30s;
// etcd's own limit is 128 operations.
constexpr std::size_t kOperations = 100;

std::string folder_end(std::string folder) {
  ++folder.back();
  return folder;
}

json range_of(const std::string& folder) {
  const std::string all = folder + "/";
  return {{"key", base64_encode(all)}, {"range_end", base64_encode(folder_end(all))}};
}

json put_of(const std::string& key, const std::string& value, std::int64_t lease) {
  json out{{"key", base64_encode(key)}, {"value", base64_encode(value)}};
  if (lease != 0) out["lease"] = std::to_string(lease);
  return out;
}

json parsed(const HttpReply& reply) { return json::parse(reply.body, nullptr, false); }

std::map<std::string, std::string> values_of(const json& range) {
  std::map<std::string, std::string> out;
  if (range.is_discarded() || !range.contains("kvs")) return out;
  for (const json& kv : range["kvs"])
    out[base64_decode(kv.value("key", "")).value()] = base64_decode(kv.value("value", "")).value();
  return out;
}

void collect(const json& node, std::map<std::string, std::string>& out) {
  if (node.contains("value")) out[node.at("key")] = node.at("value");
  if (node.contains("nodes"))
    for (const json& child : node["nodes"]) collect(child, out);
}

// Refused for good, rather than for now.
bool is_final(const HttpReply& reply) {
  return reply.status != 0 && reply.status < 500 && reply.status != 401;
}

}  // namespace

std::string to_string(EtcdStore store) { return store == EtcdStore::V2 ? "v2" : "v3"; }

void PrintTo(EtcdStore store, std::ostream* out) { *out << to_string(store); }

EtcdKeys::EtcdKeys(EtcdCluster& cluster, EtcdStore store)
    : cluster_(cluster), store_(store), call_(cluster.call_options()) {}

std::string EtcdKeys::token() {
  if (!cluster_.options().auth || !token_.empty()) return token_;
  for (const std::size_t i : cluster_.sound()) {
    const HttpReply reply = call_("POST", cluster_.url(i) + "/v3/auth/authenticate",
                                  R"({"name":"root","password":"root"})");
    if (reply.ok()) return token_ = parsed(reply).value("token", "");
  }
  return {};
}

std::vector<std::size_t> EtcdKeys::candidates() const {
  std::vector<std::size_t> out = cluster_.sound();
  std::stable_partition(out.begin(), out.end(), [this](std::size_t i) { return i == preferred_; });
  return out;
}

HttpReply EtcdKeys::send(const std::string& method, const std::string& path,
                         const std::string& body, const std::string& content_type) {
  HttpReply reply;
  const auto end = Clock::now() + kPatience;
  while (Clock::now() < end) {
    for (const std::size_t i : candidates()) {
      std::vector<std::string> headers{"Content-Type: " + content_type,
                                       "Grpc-Metadata-Hasleader: true"};
      if (const std::string t = token(); !t.empty()) headers.push_back("Authorization: " + t);
      reply = call_(method, cluster_.url(i) + path, body, headers);
      if (is_final(reply)) return reply;
      token_.clear();
    }
    std::this_thread::sleep_for(50ms);
  }
  ADD_FAILURE() << "etcd: " << method << " " << path << ": " << reply.status << " " << reply.error
                << reply.body;
  return reply;
}

HttpReply EtcdKeys::v3(const std::string& path, const std::string& body) {
  HttpReply reply = send("POST", "/v3" + path, body, "application/json");
  EXPECT_TRUE(reply.ok()) << path << " " << body << ": " << reply.body;
  return reply;
}

HttpReply EtcdKeys::v2(const std::string& method, const std::string& key, const std::string& query,
                       const std::string& form) {
  return send(method, "/v2/keys" + url_encode(key, "/") + query, form,
              "application/x-www-form-urlencoded");
}

void EtcdKeys::put(const std::string& key, const std::string& value) { put(key, value, 0); }

void EtcdKeys::put(const std::string& key, const std::string& value, std::int64_t lease) {
  if (store_ == EtcdStore::V3) {
    (void)v3("/kv/put", put_of(key, value, lease).dump());
    return;
  }
  const HttpReply reply = v2("PUT", key, "", "value=" + url_encode(value));
  EXPECT_TRUE(reply.ok()) << key << ": " << reply.body;
}

void EtcdKeys::put_for(std::chrono::seconds life, const std::string& key,
                       const std::string& value) {
  if (store_ == EtcdStore::V3) return put(key, value, grant(life));
  const HttpReply reply =
      v2("PUT", key, "", fmt::format("value={}&ttl={}", url_encode(value), life.count()));
  EXPECT_TRUE(reply.ok()) << key << ": " << reply.body;
}

void EtcdKeys::remove(const std::string& key) {
  if (store_ == EtcdStore::V3)
    (void)v3("/kv/deleterange", json{{"key", base64_encode(key)}}.dump());
  else
    (void)v2("DELETE", key, "");
}

void EtcdKeys::remove_tree(const std::string& folder) {
  if (store_ == EtcdStore::V3)
    (void)v3("/kv/deleterange", range_of(folder).dump());
  else
    (void)v2("DELETE", folder, "?recursive=true&dir=true");
}

void EtcdKeys::make_folder(const std::string& folder) {
  if (store_ == EtcdStore::V2) (void)v2("PUT", folder, "", "dir=true");
}

std::optional<std::string> EtcdKeys::get(const std::string& key) {
  std::map<std::string, std::string> found;
  if (store_ == EtcdStore::V3) {
    found = values_of(parsed(v3("/kv/range", json{{"key", base64_encode(key)}}.dump())));
  } else if (const HttpReply reply = v2("GET", key, "?quorum=true"); reply.ok()) {
    collect(parsed(reply).at("node"), found);
  }
  const auto it = found.find(key);
  return it == found.end() ? std::nullopt : std::optional(it->second);
}

std::map<std::string, std::string> EtcdKeys::list(const std::string& folder) {
  if (store_ == EtcdStore::V3) return values_of(parsed(v3("/kv/range", range_of(folder).dump())));
  std::map<std::string, std::string> found;
  if (const HttpReply reply = v2("GET", folder, "?quorum=true&recursive=true"); reply.ok())
    collect(parsed(reply).at("node"), found);
  return found;
}

std::int64_t EtcdKeys::grant(std::chrono::seconds life) {
  const json reply = parsed(v3("/lease/grant", json{{"TTL", std::to_string(life.count())}}.dump()));
  return std::stoll(reply.value("ID", "0"));
}

void EtcdKeys::revoke(std::int64_t lease) {
  (void)v3("/kv/lease/revoke", json{{"ID", std::to_string(lease)}}.dump());
}

void EtcdKeys::put_many(const std::map<std::string, std::string>& values, std::int64_t lease) {
  json operations = json::array();
  const auto flush = [&] {
    if (!operations.empty()) (void)v3("/kv/txn", json{{"success", operations}}.dump());
    operations = json::array();
  };
  for (const auto& [key, value] : values) {
    operations.push_back({{"requestPut", put_of(key, value, lease)}});
    if (operations.size() == kOperations) flush();
  }
  flush();
}

std::int64_t EtcdKeys::revision() {
  const json reply = parsed(v3("/kv/range", R"({"key":"YQ=="})"));
  return std::stoll(reply.at("header").value("revision", "0"));
}

void EtcdKeys::compact(std::int64_t revision) {
  (void)v3("/kv/compaction",
           json{{"revision", std::to_string(revision)}, {"physical", true}}.dump());
}

}  // namespace lb::test
