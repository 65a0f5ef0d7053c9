// relayflood LBD LBCTL: a real listener (`lbd run` with dataplane "none") is sent ten thousand signed orders, ten
// thousand services and a thousand checks that want to be made as often as is allowed. How long its loop does
// nothing else, as its own `status` has it. Exit code 1: the bar is missed.
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <nlohmann/json.hpp>

#include "base/foreign_json.h"
#include "base/spawn.h"
#include "relay/fleet.h"
#include "relay/order_signature.h"
#include "relay/server.h"

namespace {

using namespace lb;
using namespace std::chrono_literals;
using std::chrono::milliseconds;

constexpr int kOrders = 10'000;
constexpr int kServices = 10'000;
constexpr int kChecks = 1'000;
constexpr milliseconds kStallBar{50};
constexpr auto kPatience = 180s;
constexpr auto kAfterwards = 15s;  // of checks, and of orders told again

std::vector<ServicePtr> services() {
  std::vector<ServicePtr> out;
  for (int i = 0; i < kServices; ++i) {
    Service service;
    service.key = {Protocol::Tcp, IpAddress::v4(0x7f000001), static_cast<std::uint16_t>(2'000 + i)};
    service.name = fmt::format("service-{}", i);
    service.default_address = true;
    if (i < kChecks) {
      service.check.emplace();
      service.check->interval = service.check->timeout = 100ms;
    }
    Backend backend;
    backend.address = {IpAddress::v4(0x0a000000U + static_cast<std::uint32_t>(i)), 31'000};
    backend.id = fmt::format("task-{}", i);
    backend.host = fmt::format("host-{}", i);
    service.backends.push_back(std::move(backend));
    out.push_back(std::make_shared<const Service>(std::move(service)));
  }
  return out;
}

Result<FleetOrders> orders(const OrderSigner& signer) {
  FleetOrders out;
  for (int i = 0; i < kOrders; ++i) {
    FleetOrder order{.id = fmt::format("order-{}", i),
                     .time = sys_now(),
                     .target = fmt::format("host-{}", i),
                     .service = "",
                     .drain = true,
                     .ids = {}};
    LB_CHECK(signer.sign(order, sys_now() + 24h));
    LB_CHECK(out.adopt(order));
  }
  out.change_keys([&](OrderKeys& keys) {
    keys.set_own(signer);
    return false;
  });
  return out;
}

pid_t start(const std::string& lbd, const std::string& folder, const std::string& updater) {
  std::ofstream(folder + "/lbd.toml") << fmt::format(
      "[daemon]\nstate_dir = \"{0}/state\"\nruntime_dir = \"{0}/run\"\nlog_level = \"warn\"\n"
      "[dataplane]\nmode = \"none\"\n[[source]]\ntype = \"relay\"\nupdaters = [\"{1}\"]\n",
      folder, updater);
  const pid_t child = ::fork();
  if (child != 0) return child;
  ::execl(lbd.c_str(), lbd.c_str(), "run", "--config", (folder + "/lbd.toml").c_str(), nullptr);
  ::_exit(127);
}

nlohmann::json status_of(const std::string& lbctl, const std::string& folder) {
  const std::string command =
      fmt::format("{} --socket {}/run/lbd.sock --json status 2>/dev/null", lbctl, folder);
  std::string out;
  FILE* pipe = ::popen(command.c_str(), "r");
  std::array<char, 65536> buffer{};
  while (const auto n = std::fread(buffer.data(), 1, buffer.size(), pipe))
    out.append(buffer.data(), n);
  ::pclose(pipe);
  return parse_json(out).value_or(nlohmann::json());
}

bool has_all(const relay::ListenerView& view, const relay::Position& at) {
  std::size_t programmed = 0;
  for (const auto& item : view.orders) programmed += item.programmed ? 1 : 0;
  return view.applied == at && programmed == kOrders;
}

int run(const std::string& lbd, const std::string& lbctl, const std::string& folder) {
  asio::io_context io{1};
  const auto signer = OrderSigner::open(folder + "/order.key");
  auto known = signer ? orders(*signer) : tl::unexpected(signer.error());
  if (!known) return fmt::print("{}\n", known.error().message()), 1;
  relay::ServerConfig config;
  config.listen = "127.0.0.1:0";
  auto server = relay::Server::open(io, config, *known, "flood", "1", {});
  if (!server) return fmt::print("{}\n", server.error().message()), 1;
  (*server)->publish(services(), {{"marathon", "1", sys_now(), sys_now(), true}});
  const pid_t listener = start(lbd, folder, (*server)->address());
  const auto began = std::chrono::steady_clock::now();
  bool whole = false;
  while (!whole && std::chrono::steady_clock::now() - began < kPatience) {
    io.run_for(500ms);
    for (const auto& view : (*server)->listeners())
      whole = whole || has_all(view, (*server)->position());
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  io.run_for(kAfterwards);
  const auto status = status_of(lbctl, folder);
  ::kill(listener, SIGTERM);
  io.run_for(2s);
  ::waitpid(listener, nullptr, 0);
  if (!whole || !status.is_object()) return fmt::print("the listener has not come so far\n"), 1;
  const double stall = status.at("loop").at("longest_stall_seconds").get<double>() * 1000;
  fmt::print(
      "{} orders, {} services, {} checks: all in force after {:.1f} s, longest stall {:.0f} ms "
      "(bar: {})\n",
      kOrders, status.at("services").get<int>(), kChecks, took.count(), stall, kStallBar.count());
  return stall <= static_cast<double>(kStallBar.count()) ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return std::fputs("usage: relayflood LBD LBCTL\n", stderr), 2;
  spdlog::set_level(spdlog::level::err);
  std::signal(SIGPIPE, SIG_IGN);
  char folder[] = "/tmp/relayflood-XXXXXX";
  if (::mkdtemp(folder) == nullptr) return 1;
  const int code = run(argv[1], argv[2], folder);
  std::filesystem::remove_all(folder);
  return code;
}
