// A listener and its updaters in one loop, in a network namespace of their own.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include "netns/relay/listener_fake_updater.h"
#include "relay/relay_source.h"
#include "relay/server.h"
#include "support/sandbox.h"
#include "support/snapshot_builder.h"

namespace lb::test {

using namespace std::chrono_literals;
using std::chrono::steady_clock;
using Services = std::vector<ServicePtr>;
using Lines = std::vector<std::string>;

// A real updater's server that can be killed and started again on its port.
struct Updater {
  FleetOrders orders;
  std::unique_ptr<relay::Server> server;
  HostPort at{"127.0.0.1", 0};
  int adopted = 0;  // how often it was told of orders
};

class ListenerTest : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = Sandbox::obstacle(); !why.empty()) GTEST_SKIP() << why;
    sandbox_ = std::make_unique<Sandbox>();
  }
  void TearDown() override {
    forget();
    updaters_.clear();
    io_.restart();
    io_.poll();
  }

  void start(std::size_t index, const relay::TlsFiles& tls = {}) {
    while (updaters_.size() <= index) updaters_.push_back(std::make_unique<Updater>());
    Updater& updater = *updaters_[index];
    relay::ServerConfig config;
    config.listen = fmt::format("127.0.0.1:{}", updater.at.port);
    config.tls = tls;
    auto server = relay::Server::open(io_, config, updater.orders, fmt::format("updater{}", index),
                                      "1.0", [&updater] { ++updater.adopted; });
    ASSERT_TRUE(server) << server.error().message();
    updater.server = *std::move(server);
    updater.at = HostPort::parse(updater.server->address()).value();
  }
  void kill(std::size_t index) { updaters_[index]->server.reset(); }
  relay::Server& server(std::size_t index) { return *updaters_[index]->server; }

  // What an updater says whose source was read `age` ago.
  void publish(std::size_t index, Services services, std::chrono::seconds age = 0s) {
    server(index).publish(std::move(services), marks(age));
  }
  static std::vector<relay::SourceMark> marks(std::chrono::seconds age = 0s, bool ok = true) {
    const SysTime at = sys_now() - age;
    return {{"marathon", "7", at, at, ok}};
  }

  void listen(const std::vector<HostPort>& others = {}, relay::TlsFiles tls = {},
              std::optional<Snapshot> saved = std::nullopt) {
    RelaySourceConfig config;
    for (const auto& updater : updaters_) config.updaters.push_back(updater->at);
    config.updaters.insert(config.updaters.end(), others.begin(), others.end());
    config.tls = std::move(tls);
    config.confirm = confirm_;
    source_ = std::make_unique<RelaySource>(
        io_, config, std::move(saved), orders_, [this] { ++orders_changed_; }, "host1", "1.0",
        clocks_);
    pumping_ = true;
    asio::co_spawn(
        io_, [this] { return pump(); },
        asio::bind_cancellation_slot(stop_.slot(),
                                     [this](const std::exception_ptr&) { pumping_ = false; }));
  }
  // As at a reload: the source goes, the loop goes on.
  void forget() {
    stop_.emit(asio::cancellation_type::terminal);
    EXPECT_TRUE(reaches([this] { return !pumping_; }));
    source_.reset();
  }

  asio::awaitable<void> pump() {
    for (;;) {
      auto answer = co_await source_->next();
      if (!answer && answer.error().code.value() == ECANCELED) co_return;
      if (!answer) {
        errors_.push_back(answer.error().message());
        continue;
      }
      snapshots_.push_back(*std::move(answer));
      if (apply_) source_->applied();
    }
  }

  // Runs the loop until `condition` holds.
  template <class Condition>
  bool reaches(Condition condition, std::chrono::milliseconds patience = 20s) {
    const auto deadline = steady_clock::now() + patience;
    io_.restart();
    while (!condition()) {
      if (steady_clock::now() > deadline) return false;
      io_.run_one_for(20ms);
    }
    return true;
  }
  void run_for(std::chrono::milliseconds time) {
    io_.restart();
    io_.run_for(time);
  }

  // The backends of the last snapshot.
  [[nodiscard]] Lines seen() const {
    Lines out;
    if (snapshots_.empty()) return out;
    for (const ServicePtr& service : snapshots_.back().services)
      for (const Backend& backend : service->backends) out.push_back(backend.address.to_string());
    return out;
  }
  bool sees(const Lines& want, std::chrono::milliseconds patience = 20s) {
    return reaches([&] { return !snapshots_.empty() && seen() == want; }, patience);
  }
  [[nodiscard]] std::optional<std::size_t> feeder() const {
    const auto views = source_->updaters();
    for (std::size_t i = 0; i < views.size(); ++i)
      if (views[i].feeds) return i;
    return std::nullopt;
  }
  bool all_connected() {
    return reaches([this] {
      const auto views = source_->updaters();
      return std::all_of(views.begin(), views.end(), [](const auto& v) { return v.connected; });
    });
  }
  [[nodiscard]] std::optional<relay::ListenerView> view_at(std::size_t index) {
    for (const auto& view : server(index).listeners())
      if (view.connected) return view;
    return std::nullopt;
  }

  static Services web(const std::vector<std::string>& backends) {
    std::vector<Backend> out;
    for (const std::string& backend : backends) out.push_back(listed(backend));
    return {offered("127.0.0.1:8080", out), offered("127.0.0.1:8081", {}, "other")};
  }

  std::unique_ptr<Sandbox> sandbox_;
  asio::io_context io_{1};
  std::chrono::milliseconds confirm_ = 1500ms;
  Clocks clocks_;
  FleetOrders orders_;
  int orders_changed_ = 0;
  bool apply_ = true;
  std::vector<std::unique_ptr<Updater>> updaters_;
  std::unique_ptr<RelaySource> source_;
  asio::cancellation_signal stop_;
  bool pumping_ = false;
  std::vector<Snapshot> snapshots_;
  Lines errors_;
};

}  // namespace lb::test
