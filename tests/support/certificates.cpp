#include "support/certificates.h"

#include <ctime>
#include <filesystem>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "support/net_namespace.h"
#include "support/process.h"

namespace lb::test {
namespace {

// -newkey of curve P-256: made in milliseconds, unlike RSA.
const Command kNewKey{"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"};

Command with_new_key(Command command) {
  command.insert(command.end(), kNewKey.begin(), kNewKey.end());
  return command;
}

std::string time_of(std::chrono::system_clock::time_point at) {
  return fmt::format("{:%Y%m%d%H%M%SZ}", fmt::gmtime(std::chrono::system_clock::to_time_t(at)));
}

}  // namespace

Certificates::Certificates(std::string folder, const std::string& authority)
    : folder_(std::move(folder)) {
  std::filesystem::create_directories(folder_);
  run_or_throw(with_new_key({"openssl", "req", "-x509", "-days", "2", "-subj", "/CN=" + authority,
                             "-out", ca(), "-keyout", folder_ + "/ca.key"}));
  replace_file(folder_ + "/index.txt", "");
  replace_file(folder_ + "/ca.conf",
               fmt::format("[ca]\ndefault_ca=own\n[own]\ndatabase={}/index.txt\n"
                           "default_md=sha256\nunique_subject=no\n",
                           folder_));
}

void Certificates::sign(const std::string& name, const std::string& san,
                        const std::string& cn) const {
  const std::string request = path(name, "csr");
  const std::string extensions = path(name, "ext");
  replace_file(extensions, (san.empty() ? "" : "subjectAltName=" + san + "\n") +
                               "extendedKeyUsage=serverAuth,clientAuth\n");
  run_or_throw(with_new_key({"openssl", "req", "-new", "-subj", cn.empty() ? "/" : "/CN=" + cn,
                             "-out", request, "-keyout", key(name)}));
  run_or_throw({"openssl", "x509", "-req", "-days", "2", "-in", request, "-CA", ca(), "-CAkey",
                folder_ + "/ca.key", "-CAcreateserial", "-extfile", extensions, "-out",
                cert(name)});
}

void Certificates::run_authority(const std::vector<std::string>& arguments) const {
  Command command{"openssl",           "ca",    "-config", folder_ + "/ca.conf", "-keyfile",
                  folder_ + "/ca.key", "-cert", ca()};
  command.insert(command.end(), arguments.begin(), arguments.end());
  run_or_throw(command);
}

void Certificates::revoke(const std::string& name) const { run_authority({"-revoke", cert(name)}); }

std::string Certificates::list(const std::string& name, std::chrono::seconds left) const {
  const auto now = std::chrono::system_clock::now();
  run_authority({"-gencrl", "-crl_lastupdate", time_of(now - std::chrono::hours(1)),
                 "-crl_nextupdate", time_of(now + left), "-out", path(name, "crl")});
  return path(name, "crl");
}

}  // namespace lb::test
