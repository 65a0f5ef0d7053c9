// relaysiege: one updater on a plain port, under connections that say nothing and senders of junk, each side
// in a process of its own. How long a real listener waits for its state, how large the updater becomes, and
// how long its loop does nothing else. Exit code 1: a bar is missed.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include "base/spawn.h"
#include "relay/connection.h"
#include "relay/message.h"
#include "relay/server.h"

namespace {

using namespace lb;
using namespace lb::relay;
using namespace std::chrono_literals;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
using tcp = asio::ip::tcp;

constexpr auto kTuple = asio::as_tuple(asio::use_awaitable);
constexpr milliseconds kStateBar{2'000};
constexpr milliseconds kStallBar{50};
constexpr double kMemoryBar = 256;  // MiB

struct Options {
  std::chrono::seconds time{15};
  std::size_t silent = 10'000;
  std::size_t junk = 300;
};

double memory(std::string_view field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(field)) return std::atof(line.c_str() + field.size() + 1) / 1024;
  return 0;
}

asio::awaitable<void> pause(asio::io_context& io, steady_clock::duration time) {
  asio::steady_timer timer(io, time);
  (void)co_await timer.async_wait(kTuple);
}

// Every other one from an address that it shares with all, the others from many.
asio::awaitable<bool> dial(tcp::socket& socket, tcp::endpoint to, std::size_t number) {
  boost::system::error_code error;
  socket.open(tcp::v4(), error);
  const auto from = static_cast<asio::ip::address_v4::uint_type>(
      number % 2 == 0 ? 0x7f000002U : 0x7f010000U + number % 200);
  socket.bind({asio::ip::address_v4(from), 0}, error);
  if (error) co_return false;
  const auto [failed] = co_await socket.async_connect(to, kTuple);
  co_return !failed;
}

// --- those that say nothing

asio::awaitable<void> be_silent(asio::io_context& io, tcp::endpoint to, std::size_t number) {
  for (;;) {
    tcp::socket socket(io);
    const bool connected = co_await dial(socket, to, number);
    std::array<char, 256> bytes{};
    boost::system::error_code over;
    while (connected && !over) {
      const auto [error, size] = co_await socket.async_read_some(asio::buffer(bytes), kTuple);
      over = error;
    }
    co_await pause(io, 500ms);
  }
}

// --- those that send junk

std::string repeated(std::string_view text, std::size_t size) {
  std::string out;
  out.reserve(size + text.size());
  while (out.size() < size) out += text;
  return out;
}

std::string greeting(std::size_t number, int round) {
  return encode(ListenerHello{1, fmt::format("junk-{}-{}", number, round), "1", {}, true, {}});
}

std::string long_counts() {
  Counts out{.complete = true, .items = {}};
  for (unsigned i = 0; i < 60'000; ++i)
    out.items.push_back({ServiceKey::parse("127.0.0.1:80").value(),
                         Address{IpAddress::v4(0x0a000000U + i), 80}, i + 1});
  return encode(out);
}

std::string many_orders(std::size_t number) {
  Orders out;
  for (unsigned i = 0; i < 2'000; ++i)
    out.orders.push_back({fmt::format("id-{}-{}", number, i),
                          sys_now(),
                          fmt::format("junk-host-{}-{}", number, i),
                          "",
                          true,
                          {}});
  return encode(out);
}

// What a sender of this number says in one connection.
std::string junk_of(std::size_t number, int round) {
  static const std::string counts = long_counts();
  const std::string small = greeting(number, round);
  switch (number % 8) {
    case 0:
      return std::string(std::size_t{1} << 20, ' ');  // no hello
    case 1:
      return R"({"t":"hello","x":[)" + repeated("{},", 900'000);
    case 2:
      return small + counts;
    case 3:
      return small + R"({"t":"counts","items":[)" + repeated("{},", std::size_t{30} << 20);
    case 4:
      return small + repeated("{\"t\":\"resync\"}\n", 200'000);
    case 5:
      return small + many_orders(number);
    case 6:
      return small + repeated(R"({"t":"report","items":[{"id":"x","programmed":true,"ended":true,)"
                              "\"connections\":7}]}\n",
                              std::size_t{2} << 20);
    default:
      return repeated("GET / HTTP/1.1\r\n", 100'000);
  }
}

asio::awaitable<void> send_junk(asio::io_context& io, tcp::endpoint to, std::size_t number) {
  for (int round = 0;; ++round) {
    tcp::socket socket(io);
    if (co_await dial(socket, to, number)) {
      const std::string junk = junk_of(number, round);
      (void)co_await asio::async_write(socket, asio::buffer(junk), kTuple);
    }
    co_await pause(io, 50ms);
  }
}

// --- a real listener

struct Waits {
  milliseconds worst{};
  int states = 0;
  int failures = 0;
};

asio::awaitable<void> listen(asio::io_context& io, HostPort to, std::chrono::seconds time) {
  const auto end = steady_clock::now() + time;
  Waits waits;
  while (steady_clock::now() < end) {
    const auto begin = steady_clock::now();
    // Named: gcc 12 destroys twice what stands braced in such a call.
    const TlsFiles plain;
    auto dialled = co_await Connection::dial(io, to, plain, 30s);
    bool has = false;
    if (dialled) {
      const auto hello =
          std::make_shared<const std::string>(encode(ListenerHello{1, "real", "1", {}, true, {}}));
      (void)co_await (*dialled)->write(hello, 30s);
      for (bool more = true; more && !has;) {
        const auto line = co_await (*dialled)->read_line(kLineLimit, 30s);
        more = line.has_value();
        has = more && line->starts_with(R"({"t":"snapshot")");
      }
    }
    const auto took = std::chrono::duration_cast<milliseconds>(steady_clock::now() - begin);
    waits.worst = std::max(waits.worst, took);
    ++(has ? waits.states : waits.failures);
    co_await pause(io, 200ms);
  }
  fmt::print("a listener had its state {} times, after {} ms at worst (bar: {}), {} failures\n",
             waits.states, waits.worst.count(), kStateBar.count(), waits.failures);
  std::fflush(stdout);
  ::_exit(waits.worst <= kStateBar && waits.failures == 0 && waits.states > 0 ? 0 : 1);
}

// --- the updater

// Late by the clock, which the other three processes lengthen on few cores; and by the loop's own CPU time.
class Stall {
 public:
  explicit Stall(asio::io_context& io) : timer_(io) { tick(); }
  [[nodiscard]] milliseconds longest() const {
    return std::chrono::duration_cast<milliseconds>(longest_);
  }
  [[nodiscard]] milliseconds longest_cpu() const {
    return std::chrono::duration_cast<milliseconds>(longest_cpu_);
  }

 private:
  static std::chrono::nanoseconds cpu() {
    timespec now{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
  }
  void tick() {
    const auto used = cpu();
    longest_cpu_ = std::max(longest_cpu_, used - cpu_);
    cpu_ = used;
    timer_.expires_after(1ms);
    timer_.async_wait([this, due = timer_.expiry()](const boost::system::error_code& error) {
      if (error) return;
      longest_ = std::max(longest_, steady_clock::now() - due);
      tick();
    });
  }
  asio::steady_timer timer_;
  steady_clock::duration longest_{};
  std::chrono::nanoseconds longest_cpu_{};
  std::chrono::nanoseconds cpu_ = cpu();
};

std::vector<ServicePtr> services() {
  std::vector<ServicePtr> out;
  for (unsigned i = 0; i < 100; ++i) {
    Service service;
    service.key = {Protocol::Tcp, IpAddress::v4(0x7f000001), static_cast<Port>(10'000 + i)};
    service.name = service.origin = fmt::format("/group/my-app-{}", i);
    service.default_address = true;
    for (unsigned j = 0; j < 10; ++j) {
      Backend b;
      b.address = {IpAddress::v4(0x0a000000U + j), 31'000};
      b.id = fmt::format("my-app-{}.{}", i, j);
      b.host = "node";
      service.backends.push_back(std::move(b));
    }
    out.push_back(std::make_shared<const Service>(std::move(service)));
  }
  return out;
}

pid_t in_a_process(const std::function<void(asio::io_context&)>& work) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  asio::io_context io{1};
  work(io);
  io.run();
  ::_exit(0);
}

int run(const Options& options) {
  // The port first, the loop after the forks.
  int channel[2];
  if (::pipe(channel) != 0) return 1;
  const pid_t updater = ::fork();
  if (updater == 0) {
    asio::io_context io{1};
    FleetOrders orders;
    auto server = Server::open(io, {"127.0.0.1:0", {}, false}, orders, "siege", "1", {});
    if (!server) ::_exit(1);
    (*server)->publish(services(), {{"marathon", "1", sys_now(), sys_now(), true}});
    const std::string address = (*server)->address();
    if (::write(channel[1], address.data(), address.size()) < 0) ::_exit(1);
    const Stall stall(io);
    io.run_for(options.time + 2s);
    const double most = memory("VmHWM:");
    fmt::print(
        "the updater's memory was {:.0f} MiB at most (bar: {:.0f}), its longest stall {} ms of CPU "
        "(bar: {}), {} ms by the clock\n",
        most, kMemoryBar, stall.longest_cpu().count(), kStallBar.count(), stall.longest().count());
    std::fflush(stdout);
    ::_exit(most <= kMemoryBar && stall.longest_cpu() <= kStallBar ? 0 : 1);
  }
  char text[64] = {};
  if (::read(channel[0], text, sizeof text - 1) <= 0) return 1;
  const HostPort to = HostPort::parse(text).value();
  const tcp::endpoint at(asio::ip::make_address(to.host), to.port);
  const pid_t silent = in_a_process([&](asio::io_context& io) {
    for (std::size_t i = 0; i < options.silent; ++i)
      spawn(io, "silent", [&io, at, i] { return be_silent(io, at, i); });
  });
  const pid_t junk = in_a_process([&](asio::io_context& io) {
    for (std::size_t i = 0; i < options.junk; ++i)
      spawn(io, "junk", [&io, at, i] { return send_junk(io, at, i); });
  });
  const pid_t listener = in_a_process([&](asio::io_context& io) {
    spawn(io, "listener", [&io, to, &options] { return listen(io, to, options.time); });
  });
  int code = 0;
  for (const pid_t child : {listener, updater}) {
    int status = 0;
    ::waitpid(child, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) code = 1;
  }
  for (const pid_t child : {silent, junk}) {
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
  }
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (argc > 1) options.time = std::chrono::seconds(std::strtoul(argv[1], nullptr, 10));
  if (argc > 2) options.silent = std::strtoul(argv[2], nullptr, 10);
  if (argc > 3) options.junk = std::strtoul(argv[3], nullptr, 10);
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);
  std::signal(SIGPIPE, SIG_IGN);
  spdlog::set_level(spdlog::level::err);
  return run(options);
}
