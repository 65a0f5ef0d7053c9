// The real hooks in a sandbox, programmed directly: no daemon, no source.
#pragma once

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <boost/asio/io_context.hpp>

#include "dataplane/ebpf_dataplane.h"
#include "support/sandbox.h"
#include "support/sockets.h"

namespace lb::test {

constexpr auto kService = "127.0.0.1:5000";
constexpr auto kBackend = "127.0.0.1:7001";

struct Weighted {
  std::string address;
  std::uint32_t weight = 1;
};

inline auto all_balances() {
  return testing::Values(Balance::LeastConn, Balance::P2c, Balance::Random, Balance::RoundRobin,
                         Balance::SourceHash);
}
inline std::string name_of_balance(const testing::TestParamInfo<Balance>& each) {
  std::string name(to_string(each.param));
  std::erase(name, '-');
  return name;
}

class DataplaneNetns : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = Sandbox::obstacle(); !why.empty()) GTEST_SKIP() << why;
    sandbox_.emplace();
    open();
  }
  void TearDown() override {
    dataplane_.reset();
    sandbox_.reset();
  }

  // As a new lbd process would; the hooks of the one before stay in force meanwhile.
  void open(EbpfOptions options = {}) {
    dataplane_.reset();
    io_.restart();
    io_.poll();  // lets the former event stream end
    options.cgroup = sandbox_->cgroup();
    options.bpffs = sandbox_->bpffs();
    auto opened = open_ebpf_dataplane(io_, options);
    ASSERT_TRUE(opened) << opened.error().message();
    dataplane_ = *std::move(opened);
    dataplane_->on_connect_failure([this](const ConnectFailure& f) { failures_.push_back(f); });
  }

  void publish(std::string_view service, const std::vector<Weighted>& backends,
               Balance balance = Balance::LeastConn, std::vector<std::string> addresses = {}) {
    auto key = ServiceKey::parse(service);
    ASSERT_TRUE(key) << key.error().message();
    ProgrammedService wanted{.key = *key, .addresses = {}, .balance = balance, .backends = {}};
    if (addresses.empty()) {
      wanted.addresses = {key->address};
      if (key->address == *IpAddress::parse("127.0.0.1"))
        wanted.addresses.push_back(*IpAddress::parse("::1"));
    }
    for (const auto& text : addresses) wanted.addresses.push_back(*IpAddress::parse(text));
    for (const auto& backend : backends)
      wanted.backends.push_back({address(backend.address), backend.weight});
    std::sort(wanted.backends.begin(), wanted.backends.end());
    const auto done = dataplane_->upsert(wanted);
    ASSERT_TRUE(done) << done.error().message();
  }

  std::optional<ObservedBackend> observe(std::string_view service, std::string_view backend) {
    const auto observed = dataplane_->read(*ServiceKey::parse(service));
    if (!observed) return std::nullopt;
    for (const auto& candidate : observed->backends)
      if (candidate.address == address(backend)) return candidate;
    return std::nullopt;
  }
  // -1 when the backend is not known.
  int active(std::string_view service, std::string_view backend) {
    const auto observed = observe(service, backend);
    return observed ? static_cast<int>(observed->active_connections.value_or(0)) : -1;
  }
  int total(std::string_view service, std::string_view backend) {
    const auto observed = observe(service, backend);
    return observed ? static_cast<int>(observed->total_connections) : -1;
  }

  // Runs the loop until nothing that was replaced before is in use any more.
  void settle() {
    bool settled = false;
    dataplane_->settle([&](const Result<>& done) { settled = done.has_value(); });
    io_.restart();
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!settled && std::chrono::steady_clock::now() < deadline)
      io_.run_one_for(std::chrono::milliseconds(10));
    ASSERT_TRUE(settled);
  }

  // Failure events that arrived so far.
  std::vector<ConnectFailure>& failures() {
    io_.restart();
    io_.poll();
    return failures_;
  }
  int failures_of(ConnectFailure::Kind kind) {
    int count = 0;
    for (const auto& failure : failures()) count += failure.kind == kind;
    return count;
  }

  boost::asio::io_context io_{1};
  std::optional<Sandbox> sandbox_;
  std::unique_ptr<Dataplane> dataplane_;
  std::vector<ConnectFailure> failures_;
};

}  // namespace lb::test
