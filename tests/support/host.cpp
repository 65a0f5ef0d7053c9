#include "support/host.h"

#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "dataplane/ebpf_dataplane.h"
#include "support/sockets.h"

namespace lb::test {
namespace {

constexpr auto kBridge = "wire";

void kill_all_in(const std::string& cgroup) {
  std::ifstream procs(cgroup + "/cgroup.procs");
  for (pid_t pid = 0; procs >> pid;) ::kill(pid, SIGKILL);
}

}  // namespace

Wire::Wire() {
  run_or_throw({"ip", "link", "add", kBridge, "type", "bridge"});
  add_address("10.79.255.254");
  run_or_throw({"ip", "link", "set", kBridge, "up"});
}

void Wire::add_address(const std::string& ip) {
  run_or_throw({"ip", "address", "add", ip + "/16", "dev", kBridge});
}

Host::Host(const Sandbox& sandbox, std::string name, std::string ip)
    : name_(std::move(name)),
      ip_(std::move(ip)),
      folder_(sandbox.folder() + "/" + name_),
      cgroup_(sandbox.cgroup() + "-" + name_),
      bpffs_(sandbox.bpffs() + "-" + name_),
      lbd_(std::make_unique<Daemon>(sandbox)) {
  std::filesystem::create_directories(folder_);
  std::filesystem::create_directories(cgroup_);
  run_or_throw(
      {"ip", "link", "add", name_, "type", "veth", "peer", "name", "eth0", "netns", net_.path()});
  run_or_throw({"ip", "link", "set", name_, "master", kBridge, "up"});
  net_.run({"ip", "address", "add", ip_ + "/16", "dev", "eth0"});
  net_.run({"ip", "link", "set", "eth0", "up"});
  lbd_->live_in(folder_, cgroup_, bpffs_);
  lbd_->prefix = wrap({});
}

Host::~Host() {
  lbd_.reset();
  kill_all_in(cgroup_);
  (void)detach_ebpf(bpffs_);
  for (int i = 0; i < 200 && ::rmdir(cgroup_.c_str()) != 0; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
}

Command Host::wrap(Command command) const {
  const Command enter{
      "sh", "-c",      fmt::format("echo $$ >{}/cgroup.procs && exec \"$@\"", cgroup_),
      "sh", "nsenter", "--net=" + net_.path(),
      "--"};
  command.insert(command.begin(), enter.begin(), enter.end());
  return command;
}

void Host::unplug() const { run_or_throw({"ip", "link", "set", name_, "down"}); }
void Host::plug() const { run_or_throw({"ip", "link", "set", name_, "up"}); }

SteadyClient::SteadyClient(const Host& host, std::string to, int held)
    : path_(host.file("client-" + to)),
      process_(host.wrap({"python3", std::string(LB_TEST_SUPPORT) + "/steady_client.py",
                          address(to).ip.to_string(), std::to_string(address(to).port),
                          std::to_string(held), path_}),
               host.file("client.log")) {}

SteadyClient::Tally SteadyClient::tally() const {
  const auto json = nlohmann::json::parse(read_text(path_), nullptr, false);
  if (json.is_discarded()) return {};
  return {.made = json.at("made"),
          .failed = json.at("failed"),
          .broken = json.at("broken"),
          .first_failure = json.at("first_failure")};
}

SteadyClient::Tally SteadyClient::stop() {
  process_.kill();
  return tally();
}

}  // namespace lb::test
