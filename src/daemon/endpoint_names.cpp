#include "daemon/endpoint_names.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/resolver.h"

namespace lb {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::seconds kEvery{30}, kAnswers{10};

IpAddress to_ip(const asio::ip::address& address) {
  return address.is_v4() ? IpAddress::v4(address.to_v4().to_uint())
                         : IpAddress::v6(address.to_v6().to_bytes());
}

}  // namespace

void EndpointNames::want(const std::vector<DialledEndpoint>& endpoints) {
  named_.clear();
  for (const DialledEndpoint& each : endpoints)
    if (!IpAddress::parse(each.host)) named_.push_back(each);
  std::erase_if(found_, [&](const auto& entry) {
    return std::none_of(named_.begin(), named_.end(),
                        [&](const DialledEndpoint& each) { return each.host == entry.first; });
  });
  wanted_.notify();
}

asio::awaitable<void> EndpointNames::look_up(std::string name) {
  struct Look {
    explicit Look(asio::io_context& io) : done(io.get_executor()) {}
    Event done;
    Resolver::Answer answer = fail("silent");
  };
  const auto look = std::make_shared<Look>(io_);
  const auto question = asio::use_service<Resolver>(io_).ask(name, [look](Resolver::Answer answer) {
    look->answer = std::move(answer);
    look->done.notify();
  });
  (void)co_await look->done.wait(steady_clock::now() + kAnswers);
  if (!look->answer) co_return;
  std::vector<IpAddress> addresses;
  for (const asio::ip::address& address : *look->answer) addresses.push_back(to_ip(address));
  found_[name] = std::move(addresses);
}

asio::awaitable<void> EndpointNames::follow() {
  for (;;) {
    std::set<std::string> names;
    for (const DialledEndpoint& each : named_) names.insert(each.host);
    for (const std::string& name : names) co_await look_up(name);
    const Event::Woken woken = co_await wanted_.wait(steady_clock::now() + kEvery);
    if (woken == Event::Woken::Cancelled) co_return;
  }
}

std::vector<std::string> EndpointNames::warnings(const Reconciler& reconciler) const {
  std::vector<std::string> out;
  for (const DialledEndpoint& each : named_) {
    const auto found = found_.find(each.host);
    if (found == found_.end()) continue;
    for (const IpAddress& address : found->second)
      if (const auto owner = reconciler.owner({Protocol::Tcp, address, each.port}))
        out.push_back(fmt::format(
            "service {} is at {}, where lbd itself connects as to {}: lbd's own connections are "
            "not steered to its backends, those of other programs are",
            owner->to_string(), Address{address, each.port}.to_string(), each.what));
  }
  return out;
}

}  // namespace lb
