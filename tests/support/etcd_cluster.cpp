#include "support/etcd_cluster.h"

#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <stdexcept>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "support/sockets.h"

namespace lb::test {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
namespace fs = std::filesystem;

constexpr auto kEtcd = "/usr/bin/etcd";
constexpr auto kBridge = "etcd";
constexpr auto kLbd = "10.77.0.254";
constexpr auto kWriter = "10.77.0.253";
constexpr auto kPort = 2379;
constexpr auto kPeerPort = 2380;

std::string text_at(const std::string& body, const char* pointer) {
  const json parsed = json::parse(body, nullptr, false);
  const json::json_pointer at(pointer);
  return parsed.is_discarded() || !parsed.contains(at) ? "" : parsed.at(at).get<std::string>();
}

void require(const HttpReply& reply, const std::string& what) {
  if (!reply.ok()) throw std::runtime_error(what + ": " + reply.error + reply.body);
}

}  // namespace

std::string EtcdCluster::obstacle() {
  return ::access(kEtcd, X_OK) == 0 ? "" : "needs /usr/bin/etcd: run tools/setup";
}

EtcdCluster::EtcdCluster(std::string folder, EtcdOptions options)
    : folder_(std::move(folder)), options_(std::move(options)) {
  if (options_.tls) {
    certificates_ = std::make_unique<Certificates>(folder_ + "/certificates");
    std::string san = "DNS:localhost";
    for (std::size_t i = 0; i < options_.members; ++i) san += ",IP:" + ip(i);
    certificates_->sign("member", san, "etcd");
    certificates_->sign("client", "DNS:lbd.test");
  }
  call_ = std::make_unique<HttpCall>(call_options());
  run_or_throw({"ip", "link", "add", kBridge, "type", "bridge"});
  for (const auto* address : {kLbd, kWriter})  // the first one is what lbd's connections come from
    run_or_throw({"ip", "address", "add", fmt::format("{}/24", address), "dev", kBridge});
  run_or_throw({"ip", "link", "set", kBridge, "up"});
  for (std::size_t i = 0; i < options_.members; ++i) {
    members_.push_back(std::make_unique<Member>());
    join_bridge(i);
  }
  restart_all();
  if (options_.auth) enable_auth();
}

std::string EtcdCluster::ip(std::size_t i) { return fmt::format("10.77.0.{}", i + 1); }
std::string EtcdCluster::name(std::size_t i) const { return fmt::format("etcd{}", i + 1); }
std::string EtcdCluster::data(std::size_t i) const { return folder_ + "/" + name(i) + ".data"; }

std::string EtcdCluster::url(std::size_t i) const {
  return fmt::format("{}://{}:{}", scheme(), ip(i), kPort);
}

std::vector<std::string> EtcdCluster::urls() const {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < size(); ++i) out.push_back(url(i));
  return out;
}

std::string EtcdCluster::source_toml() const {
  std::string out = fmt::format("endpoints = [\"{}\"]\n", fmt::join(urls(), "\", \""));
  if (options_.tls)
    out += fmt::format("ca = \"{}\"\ncert = \"{}\"\nkey = \"{}\"\n", certificates_->ca(),
                       certificates_->cert("client"), certificates_->key("client"));
  if (options_.auth) {
    const std::string password = folder_ + "/password";
    replace_file(password, "secret\n");
    out += fmt::format("username = \"lbd\"\npassword_file = \"{}\"\n", password);
  }
  return out;
}

HttpCallOptions EtcdCluster::call_options() const {
  HttpCallOptions out;
  out.local_address = kWriter;
  if (!certificates_) return out;
  out.ca = certificates_->ca();
  out.cert = certificates_->cert("client");
  out.key = certificates_->key("client");
  return out;
}

void EtcdCluster::join_bridge(std::size_t i) const {
  const NetNamespace& net = members_[i]->net;
  const std::string end = name(i);
  run_or_throw(
      {"ip", "link", "add", end, "type", "veth", "peer", "name", "eth0", "netns", net.path()});
  run_or_throw({"ip", "link", "set", end, "master", kBridge, "up"});
  net.run({"ip", "address", "add", ip(i) + "/24", "dev", "eth0"});
  net.run({"ip", "link", "set", "eth0", "up"});
}

Command EtcdCluster::command(std::size_t i) const {
  const std::string peer = fmt::format("http://{}:{}", ip(i), kPeerPort);
  std::vector<std::string> cluster;
  for (std::size_t k = 0; k < size(); ++k)
    cluster.push_back(fmt::format("{}=http://{}:{}", name(k), ip(k), kPeerPort));
  Command out{kEtcd,
              "--enable-v2",
              "--name",
              name(i),
              "--data-dir",
              data(i),
              "--listen-client-urls",
              url(i),
              "--advertise-client-urls",
              url(i),
              "--listen-peer-urls",
              peer,
              "--initial-advertise-peer-urls",
              peer,
              "--initial-cluster",
              fmt::format("{}", fmt::join(cluster, ",")),
              "--initial-cluster-token",
              generation_};
  if (certificates_)
    for (const std::string& word :
         {std::string("--client-cert-auth"), std::string("--trusted-ca-file"), certificates_->ca(),
          std::string("--cert-file"), certificates_->cert("member"), std::string("--key-file"),
          certificates_->key("member")})
      out.push_back(word);
  out.insert(out.end(), options_.flags.begin(), options_.flags.end());
  return members_[i]->net.wrap(std::move(out));
}

void EtcdCluster::start(std::size_t i) {
  members_[i]->process = std::make_unique<Process>(command(i), folder_ + "/" + name(i) + ".log");
  members_[i]->sound = true;
}

HttpReply EtcdCluster::status(std::size_t i) {
  return (*call_)("POST", url(i) + "/v3/maintenance/status", "{}");
}

bool EtcdCluster::answers(std::size_t i) {
  // A member without a leader says so at once, and needs no token to say that it has one.
  const HttpReply reply = (*call_)("GET", url(i) + "/health");
  return reply.ok() && reply.body.find("true") != std::string::npos;
}

std::optional<std::size_t> EtcdCluster::leader() {
  for (const std::size_t asked : sound()) {
    const std::string leader = text_at(status(asked).body, "/leader");
    if (leader.empty()) continue;
    for (const std::size_t i : sound())
      if (text_at(status(i).body, "/header/member_id") == leader) return i;
  }
  return std::nullopt;
}

std::vector<std::size_t> EtcdCluster::sound() const {
  std::vector<std::size_t> out;
  for (std::size_t i = 0; i < size(); ++i)
    if (members_[i]->sound) out.push_back(i);
  return out;
}

bool EtcdCluster::settle(std::chrono::milliseconds patience) {
  return eventually(
      [this] {
        for (std::size_t i = 0; i < size(); ++i)
          if (!answers(i)) return false;
        return true;
      },
      patience);
}

void EtcdCluster::kill(std::size_t i) {
  members_[i]->process->kill();
  members_[i]->sound = false;
}

void EtcdCluster::freeze(std::size_t i) {
  members_[i]->process->signal(SIGSTOP);
  members_[i]->sound = false;
}

void EtcdCluster::thaw(std::size_t i) {
  members_[i]->process->signal(SIGCONT);
  members_[i]->sound = true;
}

void EtcdCluster::load_rules(std::size_t i, const std::string& rules) const {
  const std::string path = folder_ + "/" + name(i) + ".nft";
  replace_file(path, fmt::format("table inet cut {{ {}\n }}\n", rules));
  members_[i]->net.run({"nft", "-f", path});
}

void EtcdCluster::drop_packets(std::size_t i, const std::string& of) {
  load_rules(i,
             fmt::format("chain in {{ type filter hook input priority 0; ip saddr {0} drop; }}\n"
                         "chain out {{ type filter hook output priority 0; ip daddr {0} drop; }}",
                         of));
  members_[i]->sound = false;
}

void EtcdCluster::partition_from_peers(std::size_t i) {
  std::vector<std::string> others;
  for (std::size_t k = 0; k < size(); ++k)
    if (k != i) others.push_back(ip(k));
  drop_packets(i, fmt::format("{{ {} }}", fmt::join(others, ", ")));
}

void EtcdCluster::partition_from_all(std::size_t i) { drop_packets(i, "10.77.0.0/24"); }

void EtcdCluster::heal(std::size_t i) {
  members_[i]->net.run({"nft", "delete", "table", "inet", "cut"});
  members_[i]->sound = true;
}

void EtcdCluster::cut_off_lbd() {
  for (std::size_t i = 0; i < size(); ++i)
    load_rules(
        i, fmt::format("chain in {{ type filter hook input priority 0; ip saddr {} meta l4proto "
                       "tcp reject with tcp reset\n }}",
                       kLbd));
  run_or_throw({"ss", "-K", "src", kLbd, "dport", "=", fmt::format(":{}", kPort)});
}

void EtcdCluster::let_lbd_in() {
  for (std::size_t i = 0; i < size(); ++i)
    members_[i]->net.run({"nft", "delete", "table", "inet", "cut"});
}

void EtcdCluster::restart(std::size_t i) { start(i); }

void EtcdCluster::kill_all() {
  for (std::size_t i = 0; i < size(); ++i) kill(i);
}

void EtcdCluster::restart_all() {
  for (std::size_t i = 0; i < size(); ++i) start(i);
  if (!settle()) throw std::runtime_error("etcd does not answer; see its logs in " + folder_);
}

void EtcdCluster::wipe_all() {
  for (std::size_t i = 0; i < size(); ++i) fs::remove_all(data(i));
  generation_ += "1";
}

void EtcdCluster::save_all(const std::string& label) const {
  for (std::size_t i = 0; i < size(); ++i)
    fs::copy(data(i), data(i) + "." + label, fs::copy_options::recursive);
}

void EtcdCluster::restore_all(const std::string& label) const {
  for (std::size_t i = 0; i < size(); ++i) {
    fs::remove_all(data(i));
    fs::copy(data(i) + "." + label, data(i), fs::copy_options::recursive);
  }
}

void EtcdCluster::enable_auth() {
  const auto post = [this](const std::string& path, const json& body) {
    require((*call_)("POST", url(0) + path, body.dump()), "etcd " + path);
  };
  post("/v3/auth/user/add", {{"name", "root"}, {"password", "root"}});
  post("/v3/auth/user/grant", {{"user", "root"}, {"role", "root"}});
  post("/v3/auth/role/add", {{"name", "lbd"}});
  const auto grant = [&post](const std::string& prefix, const char* type) {
    std::string end = prefix;
    ++end.back();
    post("/v3/auth/role/grant", {{"name", "lbd"},
                                 {"perm",
                                  {{"permType", type},
                                   {"key", base64_encode(prefix)},
                                   {"range_end", base64_encode(end)}}}});
  };
  for (const std::string& prefix : options_.readable) grant(prefix, "READ");
  for (const std::string& prefix : options_.writable) grant(prefix, "READWRITE");
  post("/v3/auth/user/add", {{"name", "lbd"}, {"password", "secret"}});
  post("/v3/auth/user/grant", {{"user", "lbd"}, {"role", "lbd"}});
  post("/v3/auth/enable", json::object());
}

}  // namespace lb::test
