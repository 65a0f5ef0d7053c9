#include "daemon/logger.h"

#include <csignal>

#include <spdlog/spdlog.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/host_name.h"
#include "base/spawn.h"
#include "daemon/changes.h"
#include "daemon/commands.h"

namespace lb {
namespace {

class Logger {
 public:
  Logger(asio::io_context& io, const RelaySourceConfig& config, bool full, std::ostream& out)
      : source_(
            io, config, std::nullopt, orders_, [] {}, host_name() + " (logger)", LB_VERSION,
            Clocks{}),
        full_(full),
        out_(out) {}

  asio::awaitable<void> run() {
    for (;;) {
      const Result<Snapshot> snapshot = co_await source_.next();
      if (snapshot)
        print(*snapshot);
      else
        complain(snapshot.error().message());
      source_.applied();  // the next change comes when this one is on its way out
      co_await asio::post(asio::use_awaitable);
    }
  }

 private:
  void print(const Snapshot& snapshot) {
    const std::string from = source_.status().position;
    const std::string line = full_ ? describe_state(snapshot.services, sys_now(), from)
                                   : describe_changes(before_, snapshot.services, sys_now(), from);
    before_ = snapshot.services;
    for (const std::string& warning : snapshot.warnings) complain(warning);
    if (!line.empty()) out_ << line << std::endl;  // whoever reads a pipe wants it now
  }

  void complain(const std::string& words) {
    if (words != complained_) spdlog::warn("{}", words);
    complained_ = words;
  }

  FleetOrders orders_;  // heard and passed on, kept nowhere
  RelaySource source_;
  std::vector<ServicePtr> before_;
  std::string complained_;
  bool full_;
  std::ostream& out_;
};

}  // namespace

int run_logger(RelaySourceConfig config, bool full, std::ostream& out) {
  asio::io_context io{1};
  config.observes = true;
  Logger logger(io, config, full, out);
  asio::signal_set signals(io, SIGTERM, SIGINT);
  signals.async_wait([&](const auto&, int) { io.stop(); });
  spawn(io, "logger", [&] { return logger.run(); });
  io.run();
  return out ? kExitOk : kExitFailed;
}

}  // namespace lb
