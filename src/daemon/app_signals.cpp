// What a service manager, or a person at a terminal, tells lbd: to read its configuration again, to end, and that it is alive.
#include <chrono>
#include <sstream>
#include <string>
#include <utility>

#include <spdlog/spdlog.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/audit.h"
#include "base/beside.h"
#include "base/spawn.h"
#include "daemon/app.h"
#include "daemon/notify.h"

namespace lb {
namespace {

using std::chrono::milliseconds;

// A plan in progress is finished at SIGTERM, but systemd and people must not be kept waiting.
constexpr std::chrono::seconds kLongestFinish{2};
// For answers that are on their way to lbctl.
constexpr milliseconds kGoodbye{50};
// Half a configuration may be a good one that lacks sources.
constexpr milliseconds kLookWhileWritten{100};
constexpr int kLooksWhileWritten = 20;
constexpr milliseconds kConfigAnswers{5'000};

}  // namespace

asio::awaitable<void> App::signal_loop() {
  for (;;) {
    const auto [error, signal] = co_await signals_.async_wait(asio::as_tuple(asio::use_awaitable));
    if (error) co_return;
    if (signal != SIGHUP) break;
    if (std::exchange(reloading_, true))
      reload_again_ = true;
    else
      spawn(io_, "reload", [this] { return reload_beside(); });
  }
  stop();
  asio::steady_timer goodbye(io_, kGoodbye);
  co_await goodbye.async_wait(asio::as_tuple(asio::use_awaitable));
  stopped_();
  io_.stop();
}

// From the loop, so that the service manager ends a daemon whose loop stands still, and starts it
// again; meanwhile the kernel goes on. Twice as often as it must hear us.
asio::awaitable<void> App::watchdog_loop(std::chrono::microseconds limit) {
  asio::steady_timer timer(io_);
  for (;;) {
    if (auto told = notify_service_manager("WATCHDOG=1"); !told)
      spdlog::warn("{}", told.error().message());
    timer.expires_after(limit / 2);
    const auto [error] = co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
    if (error) co_return;
  }
}

void App::stop() {
  stopping_ = true;
  spdlog::info("stopping");
  if (auto told = notify_service_manager("STOPPING=1"); !told)
    spdlog::warn("{}", told.error().message());
  for (const auto& slot : engine_->slots()) slot->stop.emit(asio::cancellation_type::terminal);
  fleet_->stop();
  if (api_) api_->stop();
  const auto deadline = std::chrono::steady_clock::now() + kLongestFinish - kGoodbye;
  while (engine_->turn(kBatch) && std::chrono::steady_clock::now() < deadline) {
  }
}

Result<> App::finish(const std::function<Result<>(const Config&)>& detach) {
  save_all();
  if (!config_.dataplane.detach_on_exit) return {};
  api_.reset();
  operator_.reset();
  health_.reset();
  suspects_.reset();
  engine_.reset();
  dataplane_.reset();
  return detach(config_);
}

void App::save_all() { engine_->save_all(); }

// A configuration on a disk that hangs must not hold the loop, nor keep SIGTERM from being heard.
asio::awaitable<void> App::reload_beside() {
  const auto read = parts_.reload;
  asio::steady_timer timer(io_);
  do {
    reload_again_ = false;
    int left = kLooksWhileWritten;
    for (;;) {
      auto config = co_await beside(read, kConfigAnswers);
      if (stopping_) co_return;
      if (take_reloaded(std::move(config)) || --left == 0) break;
      timer.expires_after(kLookWhileWritten);
      co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
    }
    if (left == 0)
      spdlog::error("reload rejected, the configuration in force stays: it is still being written");
  } while (reload_again_);
  reloading_ = false;
}

bool App::reload() { return take_reloaded(parts_.reload()); }

// False: it is being written.
bool App::take_reloaded(Result<Config> config) {
  if (!config && config.error().code == std::errc::device_or_resource_busy) return false;
  Audit act{.event = "reload", .who = "signal", .from = "SIGHUP", .what = config_name_, .why = {}};
  if (!config) {
    std::istringstream lines(config.error().message());  // one for each complaint
    for (std::string line; std::getline(lines, line);)
      spdlog::error("reload rejected, the configuration in force stays: {}", line);
    act.result = "rejected";
    write_audit(act);
    return true;
  }
  apply_config(*std::move(config));
  write_audit(act);
  return true;
}

}  // namespace lb
