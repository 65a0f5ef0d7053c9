#include "daemon/secrets.h"

#include <fmt/format.h>

#include "base/secret_file.h"

namespace lb {
namespace {

// One overload per type, so that std::visit finds the one that was forgotten.
class Warner {
 public:
  Warner(const std::string& source, std::vector<std::string>& out) : source_(source), out_(out) {}

  void operator()(const FileSourceConfig&) {}
  void operator()(const EtcdSourceConfig& etcd) {
    file("password_file", etcd.access.password_file);
    file("key", etcd.access.tls.key);
    if (!etcd.access.username.empty())
      plain("user and password", plain_endpoint(etcd.access.endpoints));
  }
  void operator()(const MarathonSourceConfig& marathon) {
    const marathon::Access& access = marathon.access;
    file("password_file", access.password_file);
    file("token_file", access.token_file);
    file("dcos_key_file", access.dcos_key_file);
    file("key", access.tls.key);
    const std::string endpoint = plain_endpoint(access.endpoints);
    if (!access.username.empty()) plain("user and password", endpoint);
    if (!access.token_file.empty()) plain("the token", endpoint);
    if (access.dcos_login.empty()) return;
    plain("the token", endpoint);
    plain("the login", plain_endpoint({access.dcos_login}));
  }
  void operator()(const RelaySourceConfig& relay) { file("key", relay.tls.key); }

 private:
  void file(const char* what, const std::string& path) {
    if (const std::string why = why_exposed(path); !why.empty())
      out_.push_back(fmt::format("source {}: {}: {}", source_, what, why));
  }
  void plain(const char* what, const std::string& endpoint) {
    if (!endpoint.empty())
      out_.push_back(
          fmt::format("source {}: {} can be read by all between here and {}, and by what "
                      "answers there in its place: use https",
                      source_, what, endpoint));
  }

  const std::string& source_;
  std::vector<std::string>& out_;
};

}  // namespace

std::vector<std::string> secret_warnings(const Config& config) {
  std::vector<std::string> out;
  for (const SourceConfig& source : config.sources)
    std::visit(Warner(source.name, out), source.settings);
  if (const std::string why = why_exposed(config.relay.tls.key); !why.empty())
    out.push_back("relay: tls_key: " + why);
  return out;
}

}  // namespace lb
