#include "tools/lbctl/registrar.h"

#include <cerrno>
#include <utility>

namespace lb::lbctl {

using std::chrono::milliseconds;

asio::awaitable<Result<etcd::Api*>> Registrar::api() {
  if (api_ == nullptr) {
    LB_CO_TRY(api_, co_await api_at_(endpoint()));
  }
  co_return api_;
}

milliseconds Registrar::settle(const std::error_code& code, double random) {
  if (!code) {
    retry_.succeeded();
    return milliseconds(0);
  }
  // An upgrade of etcd may end the v2 API while we run.
  if (code.value() == ENOTSUP) api_ = nullptr;
  return retry_.failed(random);
}

asio::awaitable<WriteReport> Registrar::reach(Goal goal, SysTime now) {
  auto report = co_await attempt(goal, now);
  if (report) co_return std::move(*report);
  WriteReport failed;
  failed.goal = goal;
  failed.done = tl::unexpected(std::move(report.error()));
  co_return failed;
}

asio::awaitable<Result<WriteReport>> Registrar::attempt(Goal goal, SysTime now) {
  LB_CO_TRY(etcd::Api * api, co_await this->api());
  WriteReport out;
  out.goal = goal;
  out.where = endpoint() + (api->version() == etcd::ApiVersion::V2 ? " (v2)" : " (v3)");
  LB_CO_TRY(const etcd::Listing there, co_await api->list(endpoint(), keys_.folder));
  WritePlan plan = plan_writes(keys_, there.kvs, goal, now);
  out.other_address = plan.other_address;
  out.done = co_await write(*api, std::move(plan));
  co_return out;
}

asio::awaitable<Result<>> Registrar::write(etcd::Api& api, WritePlan plan) {
  if (plan.remove_folder) {
    auto removed = co_await api.remove_prefix(endpoint(), keys_.folder);
    co_return removed;
  }
  for (const KeyWrite& write : plan.writes) {
    Result<> done;
    if (write.value)
      done = co_await api.put(endpoint(), write.key, *write.value);
    else
      done = co_await api.remove(endpoint(), write.key);
    if (!done) co_return tl::unexpected(std::move(done.error()));
  }
  co_return Result<>{};
}

asio::awaitable<Result<PublishedLeft>> Registrar::published(std::string state_prefix,
                                                            std::string name) {
  LB_CO_TRY(etcd::Api * api, co_await this->api());
  LB_CO_TRY(const etcd::Listing there, co_await api->list(endpoint(), state_prefix + "/"));
  co_return read_published(there.kvs, state_prefix, name);
}

}  // namespace lb::lbctl
