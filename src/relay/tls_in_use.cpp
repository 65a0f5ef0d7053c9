#include "relay/tls_in_use.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/time.h"
#include "relay/revocation.h"
#include "relay/tls.h"

namespace lb::relay {
namespace {

using std::chrono::steady_clock;
using std::chrono::system_clock;

constexpr std::chrono::hours kExpirySoon{14 * 24};
constexpr std::chrono::seconds kLookAtMost{1};

}  // namespace

TlsInUse::TlsInUse(TlsFiles files, std::shared_ptr<asio::ssl::context> context)
    : files_(std::move(files)), context_(std::move(context)), stamp_(stamp_of(files_)) {}

Result<std::shared_ptr<TlsInUse>> TlsInUse::open(TlsFiles files) {
  LB_TRY(auto context, server_context(files));
  return std::shared_ptr<TlsInUse>(new TlsInUse(std::move(files), std::move(context)));
}

// A list that has run out refuses everything: it replaces none that is good.
Result<std::shared_ptr<asio::ssl::context>> TlsInUse::read() const {
  LB_TRY(auto fresh, server_context(files_));
  const auto now = system_clock::now();
  std::string trouble = trouble_of_lists(*fresh, crl(), now);
  if (!trouble.empty() && trouble_of_lists(*context_, crl(), now).empty())
    return fail(std::move(trouble));
  return fresh;
}

std::shared_ptr<asio::ssl::context> TlsInUse::current() {
  looked_ = steady_clock::now();
  std::string stamp = stamp_of(files_);
  if (stamp == stamp_) return context_;
  auto fresh = read();
  if (fresh) {
    context_ = *std::move(fresh);
    spdlog::info("relay: the files of TLS have changed, and were read");
  } else {  // perhaps half of them are there: the next change is looked at
    spdlog::error("relay: {}; the ones before stay in use", fresh.error().message());
  }
  stamp_ = std::move(stamp);
  return context_;
}

bool TlsInUse::revoked(const Connection& connection) {
  if (files_.crl.empty()) return false;
  if (steady_clock::now() - looked_ >= kLookAtMost) (void)current();
  return connection.revoked_by(*context_);
}

std::vector<std::string> TlsInUse::warnings() const {
  std::vector<std::string> out;
  const auto now = system_clock::now();
  if (const auto expiry = expiry_of_own(*context_); expiry && *expiry < now + kExpirySoon) {
    const auto when =
        format_iso8601(std::chrono::time_point_cast<std::chrono::milliseconds>(*expiry));
    out.push_back(fmt::format("tls_cert {} {} {}", files_.cert,
                              *expiry < now ? "ran out at" : "runs out at", when));
  }
  for (const std::string& trouble :
       {trouble_of_lists(*context_, crl(), now), lists_end_soon(*context_, crl(), now)})
    if (!trouble.empty()) out.push_back(trouble);
  return out;
}

}  // namespace lb::relay
