#include "vm/ipvs_dataplane/fixture.h"

#include <gmock/gmock.h>

#include <cstdlib>
#include <filesystem>

#include <fmt/format.h>

namespace lb::test {

std::string service(std::string_view name, std::string_view listen,
                    const std::vector<std::string>& backends, std::string_view more) {
  std::string list;
  for (const std::string& backend : backends)
    list += fmt::format("{{ address = \"{}\" }}, ", backend);
  return fmt::format(
      "[[service]]\nname = \"{}\"\nlisten = \"{}\"\nbalance = \"round-robin\"\nbackends = [ {} "
      "]\n{}\n",
      name, listen, list, more);
}

void IpvsVm::SetUp() {
  if (std::getenv("LB_VM_KERNEL") == nullptr) GTEST_SKIP() << "needs a machine of tests/vm/run";
  if (const std::string why = Sandbox::obstacle(); !why.empty()) GTEST_SKIP() << why;
  sandbox_.emplace();
  network_.emplace();
  lbd_ = std::make_unique<Daemon>(*sandbox_);
  const auto start = [this](const NetNamespace& net, const char* name, const char* v4,
                            const char* v6) {
    inside(net, [&] {
      backends_.push_back(std::make_unique<Backend>(name, std::vector<std::string>{v4, v6}));
    });
  };
  backends_.push_back(
      std::make_unique<Backend>("local", std::vector<std::string>{kLocal, kLocal6}));
  backends_.push_back(std::make_unique<Backend>("host", std::vector<std::string>{kHost, kHost6}));
  start(network_->near, "near", kNear, kNear6);
  start(network_->second, "second", kSecond, kSecond6);
}

void IpvsVm::TearDown() {
  lbd_.reset();
  backends_.clear();
  network_.reset();
  sandbox_.reset();
}

void IpvsVm::configure(std::string_view mode, const std::string& more) const {
  lbd_->configure(
      fmt::format("[dataplane]\nmode = \"{}\"\n{}\n[[source]]\ntype = \"file\"\npath = \"{}\"\n",
                  mode, more, file("services.toml")));
}

void IpvsVm::serve(const std::string& toml) {
  write_services(toml);
  configure();
  ASSERT_TRUE(lbd_->start());
  ASSERT_TRUE(eventually([&] { return programmed(); }, kPatient)) << lbd_->json({"list"});
}

void IpvsVm::change(const std::string& toml) {
  write_services(toml);
  ASSERT_TRUE(eventually([&] { return programmed(); }, kPatient)) << lbd_->json({"list"});
}

bool IpvsVm::all_is_noted() const {
  const std::string journal = read_text(lbd_->state_dir + "/ipvs.json");
  const auto last = journal.rfind('{');
  return last != std::string::npos && journal.find("\"tables\"", last) != std::string::npos;
}

bool IpvsVm::programmed() {
  const std::string text = read_text(file("services.toml"));
  const auto count = [&](std::string_view what) {
    std::size_t n = 0;
    for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++n;
    return n;
  };
  std::size_t services = 0, backends = 0;
  for (const ListedService& service : lbd_->list()) {
    if (count('"' + service.name + '"') == 0) {  // it has left, and may have connections
      if (service.condition != "no-backends") return false;
      continue;
    }
    if (service.condition != "ok") return false;
    ++services;
    for (const ListedBackend& backend : service.backends) {
      if (backend.state == "draining" && backend.reason != "operator") continue;
      if (backend.state != "active" && backend.reason != "unsupported") return false;
      ++backends;
    }
  }
  return services == count("[[service]]") && backends == count("address =");
}

std::string IpvsVm::ipvs() { return run({"ipvsadm", "-Sn"}).out; }

void IpvsVm::detach() {
  if (lbd_->running()) lbd_->stop();
  const Finished done = run(lbd_->command("detach"));
  EXPECT_EQ(done.code, 0) << done.all();
  EXPECT_EQ(run({"nft", "list", "tables"}).out.find("lbd"), std::string::npos);
  const std::string addresses = run({"ip", "address", "show", "lo"}).out;
  EXPECT_EQ(addresses.find("169.254.213.2"), std::string::npos);
  EXPECT_EQ(addresses.find("fd77::289"), std::string::npos);
}

}  // namespace lb::test
