// relaybench: one updater with many listeners, each side in a process of its own. One change: how long
// until all have it, how many bytes each gets, and what the updater's memory is.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/spawn.h"
#include "relay/connection.h"
#include "relay/message.h"
#include "relay/server.h"

namespace {

using namespace lb;
using namespace lb::relay;
using namespace std::chrono_literals;
using std::chrono::steady_clock;

struct Options {
  std::size_t listeners = 2'000;
  std::size_t services = 1'000;
  std::size_t backends = 10;
  int changes = 10;
  TlsFiles server_tls, client_tls;
};

Backend backend(std::size_t service, std::size_t number, unsigned port) {
  Backend out;
  out.address = {IpAddress::v4(static_cast<std::uint32_t>(0x0a000000u + number * 256 + 17)),
                 static_cast<Port>(port)};
  out.id = fmt::format("my-app-{}.instance-00000000-0000-11ea-8000-0000000000{:02}._app.1", service,
                       number);
  out.host = fmt::format("mesos-agent-{:03}.dc1.example.com", number);
  out.origin = fmt::format("/group/my-app-{}", service);
  return out;
}

ServicePtr service(const Options& options, std::size_t number, unsigned changed_port) {
  Service out;
  out.key = {Protocol::Tcp, IpAddress::v4(0x7f000001), static_cast<Port>(10'000 + number)};
  out.name = out.origin = fmt::format("/group/my-app-{}", number);
  out.default_address = true;
  for (std::size_t i = 0; i < options.backends; ++i)
    out.backends.push_back(backend(number, i, i == 4 ? changed_port : 31'000));
  return std::make_shared<const Service>(std::move(out));
}

double seconds(steady_clock::duration time) { return std::chrono::duration<double>(time).count(); }

// "VmRSS" of this process, in MiB.
double memory(std::string_view field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(field)) return std::atof(line.c_str() + field.size() + 1) / 1024;
  return 0;
}

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto of = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return of(usage.ru_utime) + of(usage.ru_stime);
}

// --- the listeners' process: acknowledges what comes, without looking into it

std::uint64_t sequence_of(std::string_view line) {
  const auto at = line.find("\"seq\":");
  return std::strtoull(line.substr(at + 6, 20).data(), nullptr, 10);
}

std::string epoch_of(const std::string& line) {
  const auto at = line.find("\"epoch\":\"") + 9;
  return line.substr(at, line.find('"', at) - at);
}

struct Listeners {
  asio::io_context io{1};
  std::uint64_t delta_bytes = 0;
  std::uint64_t deltas = 0;

  // Null: none.
  Line answer_to(const std::string& line) {
    const bool delta = line.starts_with(R"({"t":"delta")");
    if (delta) {
      delta_bytes += line.size() + 1;
      ++deltas;
    }
    if (delta || line.starts_with(R"({"t":"snapshot")"))
      return line_of(Ack{{epoch_of(line), sequence_of(line)}});
    return line.starts_with(R"({"t":"ping")") ? line_of(Ping{}) : nullptr;
  }
  static Line line_of(const Message& message) {
    return std::make_shared<const std::string>(encode(message));
  }
};

// Apart from the coroutine: gcc 12 destroys temporaries of such expressions twice.
Line hello_line(std::size_t number) {
  return Listeners::line_of(
      ListenerHello{1, fmt::format("host-{:04}", number), "bench", {}, true, {}});
}

asio::awaitable<void> listen(Listeners& all, HostPort to, TlsFiles tls, std::size_t number) {
  auto dialled = co_await Connection::dial(all.io, to, tls, 60s);
  if (!dialled) {
    fmt::print(stderr, "listener {}: {}\n", number, dialled.error().message());
    co_return;
  }
  const auto connection = *std::move(dialled);
  Line answer = hello_line(number);
  for (;;) {
    if (answer) (void)co_await connection->write(answer, 60s);
    const auto line = co_await connection->read_line(kLineLimit, 60s);
    if (!line) {
      if (line.error().code != std::errc::no_message_available)
        fmt::print(stderr, "listener {}: {}\n", number, line.error().message());
      co_return;
    }
    answer = all.answer_to(*line);
  }
}

int run_listeners(const Options& options, const HostPort& to) {
  Listeners all;
  for (std::size_t i = 0; i < options.listeners; ++i)
    spawn(all.io, "listener", [&, i] { return listen(all, to, options.client_tls, i); });
  all.io.run();
  fmt::print("bytes per listener and change: {:.0f}\n",
             static_cast<double>(all.delta_bytes) /
                 static_cast<double>(std::max<std::uint64_t>(1, all.deltas)));
  return 0;
}

// --- the updater

class Bench {
 public:
  Bench(Options options, asio::io_context& io) : options_(std::move(options)), io_(io) {}

  Result<> open() {
    LB_TRY(server_, Server::open(io_, {"127.0.0.1:0", options_.server_tls, false, true}, orders_,
                                 "bench", "bench", {}));
    for (std::size_t i = 0; i < options_.services; ++i)
      services_.push_back(service(options_, i, 31'000));
    const double before = memory("VmRSS:");
    server_->publish(services_, {{"marathon", "1", sys_now(), sys_now(), true}});
    fmt::print("{} services x {} backends; updater without listeners {:.0f} MiB\n",
               options_.services, options_.backends, before);
    return {};
  }
  [[nodiscard]] std::string address() const { return server_->address(); }

  asio::awaitable<void> run() {
    const auto start = steady_clock::now();
    const double cpu = cpu_seconds();
    co_await applied();
    fmt::print("start storm: {} listeners have the snapshot after {:.2f} s ({:.2f} s of CPU)\n",
               options_.listeners, seconds(steady_clock::now() - start), cpu_seconds() - cpu);
    print_memory();
    co_await pause(6s);
    for (int i = 1; i <= options_.changes; ++i) co_await change(i);
    std::sort(times_.begin(), times_.end());
    fmt::print("one change, all have acknowledged: median {:.0f} ms, worst {:.0f} ms (bar: 1000)\n",
               times_[times_.size() / 2] * 1000, times_.back() * 1000);
    print_memory();
    const double idle = cpu_seconds();
    co_await pause(10s);
    fmt::print("idle, {} connections pinged every 5 s: {:.2f} % of a CPU\n", options_.listeners,
               (cpu_seconds() - idle) * 10);
    server_->stop();
    co_await pause(3s);
    io_.stop();
  }

 private:
  asio::awaitable<void> pause(steady_clock::duration time) {
    asio::steady_timer timer(io_, time);
    (void)co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
  }

  [[nodiscard]] bool all_have_it() const {
    const auto views = server_->listeners();
    return views.size() == options_.listeners &&
           std::all_of(views.begin(), views.end(), [&](const ListenerView& view) {
             return view.applied == server_->position();
           });
  }

  // Looks every 5 ms, which costs the updater as well.
  asio::awaitable<void> applied() {
    const auto deadline = steady_clock::now() + 120s;
    while (!all_have_it()) {
      if (steady_clock::now() > deadline) {
        fmt::print(stderr, "not all listeners have it after 120 s\n");
        std::exit(1);
      }
      co_await pause(5ms);
    }
  }

  asio::awaitable<void> change(int number) {
    const std::size_t which = static_cast<std::size_t>(number) % services_.size();
    services_[which] = service(options_, which, 31'000 + static_cast<unsigned>(number));
    const auto start = steady_clock::now();
    server_->publish(services_, {{"marathon", "2", sys_now(), sys_now(), true}});
    co_await applied();
    times_.push_back(seconds(steady_clock::now() - start));
    co_await pause(200ms);
  }

  static void print_memory() {
    fmt::print("updater's memory: {:.0f} MiB, at most {:.0f} MiB (bar: 300)\n", memory("VmRSS:"),
               memory("VmHWM:"));
  }

  Options options_;
  asio::io_context& io_;
  FleetOrders orders_;
  std::unique_ptr<Server> server_;
  std::vector<ServicePtr> services_;
  std::vector<double> times_;
};

int run(const Options& options) {
  int channel[2];
  if (::pipe(channel) != 0) return 1;
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(channel[1]);  // so that it ends with an updater that cannot start
    char address[64] = {};
    if (::read(channel[0], address, sizeof address - 1) <= 0) ::_exit(1);
    const int code = run_listeners(options, HostPort::parse(address).value());
    std::fflush(stdout);
    ::_exit(code);
  }
  asio::io_context io{1};
  Bench bench(options, io);
  if (const auto opened = bench.open(); !opened) {
    fmt::print(stderr, "{}\n", opened.error().message());
    return 1;
  }
  const std::string address = bench.address();
  if (::write(channel[1], address.data(), address.size()) < 0) return 1;
  spawn(io, "bench", [&] { return bench.run(); });
  io.run();
  int status = 0;
  ::waitpid(child, &status, 0);
  return status == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (argc > 1) options.listeners = std::strtoul(argv[1], nullptr, 10);
  if (argc > 2) options.services = std::strtoul(argv[2], nullptr, 10);
  if (argc > 3) {  // FOLDER with ca.crt, server.crt, server.key, client.crt, client.key
    const std::string folder = std::string(argv[3]) + "/";
    options.server_tls = {folder + "ca.crt", folder + "server.crt", folder + "server.key"};
    options.client_tls = {folder + "ca.crt", folder + "client.crt", folder + "client.key"};
  }
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);
  return run(options);
}
