#include "support/certificates.h"

#include <filesystem>

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

}  // namespace

Certificates::Certificates(std::string folder) : folder_(std::move(folder)) {
  std::filesystem::create_directories(folder_);
  run_or_throw(with_new_key({"openssl", "req", "-x509", "-days", "2", "-subj", "/CN=lbd test CA",
                             "-out", ca(), "-keyout", folder_ + "/ca.key"}));
}

void Certificates::sign(const std::string& name, const std::string& san,
                        const std::string& cn) const {
  const std::string request = path(name, "csr");
  const std::string extensions = path(name, "ext");
  replace_file(extensions, "subjectAltName=" + san + "\nextendedKeyUsage=serverAuth,clientAuth\n");
  run_or_throw(with_new_key({"openssl", "req", "-new", "-subj", cn.empty() ? "/" : "/CN=" + cn,
                             "-out", request, "-keyout", key(name)}));
  run_or_throw({"openssl", "x509", "-req", "-days", "2", "-in", request, "-CA", ca(), "-CAkey",
                folder_ + "/ca.key", "-CAcreateserial", "-extfile", extensions, "-out",
                cert(name)});
}

}  // namespace lb::test
