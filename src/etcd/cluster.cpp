#include "etcd/cluster.h"

#include <cerrno>
#include <utility>

namespace lb::etcd {

Cluster::Cluster(asio::io_context& io, Access access)
    : access_(std::move(access)), http_(io), v3_(http_, access_), v2_(http_, access_) {
  for (std::string& endpoint : access_.endpoints)
    while (endpoint.ends_with('/')) endpoint.pop_back();
}

Api& Cluster::api(ApiVersion version) {
  if (version == ApiVersion::V2) return v2_;
  return v3_;
}

asio::awaitable<Result<Cluster::Choice>> Cluster::choose(std::string endpoint, std::string prefix,
                                                         std::optional<ApiVersion> before) {
  if (access_.mode == Mode::V3) co_return Choice{ApiVersion::V3, true};
  if (access_.mode == Mode::V2) co_return Choice{ApiVersion::V2, true};
  const bool v2_first = before == ApiVersion::V2;
  const ApiVersion first = v2_first ? ApiVersion::V2 : ApiVersion::V3;
  const ApiVersion second = v2_first ? ApiVersion::V3 : ApiVersion::V2;
  std::optional<ApiVersion> spoken;
  std::optional<Error> refused;
  for (const ApiVersion version : {first, second}) {
    auto found = co_await api(version).has_keys(endpoint, prefix);
    if (found && *found) co_return Choice{version, true};
    if (found) {
      if (!spoken || version == ApiVersion::V3) spoken = version;
      continue;
    }
    const int code = found.error().code.value();
    // Each store has an access control of its own: to be kept out of one says nothing of the other.
    if (code == EACCES)
      refused = std::move(found.error());
    else if (code != ENOTSUP)
      co_return tl::unexpected(std::move(found.error()));
  }
  if (refused) co_return tl::unexpected(std::move(*refused));
  if (!spoken)
    co_return fail(ENOTSUP, endpoint + ": speaks neither etcd's v3 nor its v2 API; is this etcd?");
  co_return Choice{*spoken, false};
}

}  // namespace lb::etcd
