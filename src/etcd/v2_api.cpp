#include "etcd/v2_api.h"

#include <cerrno>

namespace lb::etcd {

asio::awaitable<Result<Listing>> V2Api::list(std::string, std::string) {
  co_return fail(ENOTSUP, "list");
}
asio::awaitable<Result<bool>> V2Api::has_keys(std::string, std::string) {
  co_return fail(ENOTSUP, "has_keys");
}
asio::awaitable<Result<std::unique_ptr<Watch>>> V2Api::watch(std::string, std::uint64_t, std::vector<WatchRequest>) {
  co_return fail(ENOTSUP, "watch");
}
asio::awaitable<Result<Header>> V2Api::probe(std::string, std::string) {
  co_return fail(ENOTSUP, "probe");
}
asio::awaitable<Result<>> V2Api::put(std::string, std::string, std::string, Lease) {
  co_return fail(ENOTSUP, "put");
}
asio::awaitable<Result<bool>> V2Api::create(std::string, std::string, std::string, Lease) {
  co_return fail(ENOTSUP, "create");
}
asio::awaitable<Result<>> V2Api::remove(std::string, std::string) {
  co_return fail(ENOTSUP, "remove");
}
asio::awaitable<Result<>> V2Api::remove_prefix(std::string, std::string) {
  co_return fail(ENOTSUP, "remove_prefix");
}
asio::awaitable<Result<Lease>> V2Api::grant(std::string, std::chrono::seconds) {
  co_return fail(ENOTSUP, "grant");
}
asio::awaitable<Result<>> V2Api::keep_alive(std::string, Lease, std::vector<std::string>) {
  co_return fail(ENOTSUP, "keep_alive");
}
asio::awaitable<Result<>> V2Api::revoke(std::string, Lease, std::vector<std::string>) {
  co_return fail(ENOTSUP, "revoke");
}

}  // namespace lb::etcd
