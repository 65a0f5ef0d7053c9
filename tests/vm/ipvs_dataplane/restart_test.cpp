// lbd dies and comes back, or comes back with another dataplane.
#include <gmock/gmock.h>

#include "support/patience.h"
#include "vm/ipvs_dataplane/fixture.h"
#include "vm/ipvs_dataplane/load.h"

namespace lb::test {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;

class IpvsRestart : public IpvsVm {
 protected:
  // The load goes on for a while and nothing of it fails.
  static void expect_served(SteadyLoad& load, int connects) {
    const int before = load.made();
    ASSERT_TRUE(eventually([&] { return load.made() >= before + connects; }, 20s));
    load.check_held();
    ASSERT_EQ(load.failures(), "");
  }
  void restart_as(std::string_view mode) {
    lbd_->stop();
    configure(mode);
    ASSERT_TRUE(lbd_->start());
    ASSERT_TRUE(eventually([&] { return programmed(); })) << lbd_->json({"list"});
    EXPECT_EQ(status("/dataplane/mode"), mode);
  }
  std::string hooks() const {
    return run({"bpftool", "cgroup", "show", sandbox_->cgroup(), "effective"}).out;
  }
};

TEST_F(IpvsRestart, WithNothingChangedNothingIsWritten) {
  serve(service("web", kWeb, {kHost, kNear, kNear6}) +
        service("dns", "udp://127.0.0.1:8080", {kNear}) +
        service("any", "0.0.0.0:8090", {kHost, kNear}) + service("any6", "[::]:8091", {kNear6}));
  // How the kernel lists the tables is noted some seconds after the last change.
  ASSERT_TRUE(eventually([&] { return all_is_noted(); }, 30s));
  EXPECT_NE(status("/dataplane/writes"), "0");
  for (const bool in_order : {true, false}) {
    if (in_order)
      lbd_->stop();
    else
      lbd_->kill();
    ASSERT_TRUE(lbd_->start());
    ASSERT_TRUE(eventually([&] { return programmed(); }));
    EXPECT_EQ(status("/dataplane/writes"), "0") << (in_order ? "stopped" : "killed");
  }
  EXPECT_EQ(ask_times(2, kWeb).size(), 2U);
}

TEST_F(IpvsRestart, TwentyKillsUnderLoadBreakNothing) {
  serve(service("web", kWeb, {kLocal, kHost, kNear, kSecond}));
  SteadyLoad load(kWeb, 8);
  for (int i = 0; i < 20; ++i) {
    lbd_->kill();
    expect_served(load, 20);
    ASSERT_TRUE(lbd_->start());
    expect_served(load, 20);
  }
  load.stop();
  RecordProperty("connects", load.made());
}

TEST_F(IpvsRestart, TheOtherDataplaneTakesOverWithoutBreakingConnections) {
  write_services(service("web", kWeb, {kHost, kNear}));
  configure("ebpf");
  ASSERT_TRUE(lbd_->start());
  ASSERT_TRUE(eventually([&] { return programmed(); })) << lbd_->json({"list"});
  ASSERT_THAT(hooks(), HasSubstr("lb_connect4"));
  SteadyLoad load(kWeb, 4);
  expect_served(load, 20);
  restart_as("ipvs");
  SteadyLoad second(kWeb, 4);
  expect_served(load, 20);
  EXPECT_TRUE(eventually([&] { return hooks().find("lb_") == std::string::npos; })) << hooks();
  restart_as("ebpf");
  ASSERT_THAT(hooks(), HasSubstr("lb_connect4"));
  expect_served(load, 20);
  expect_served(second, 20);
  for (SteadyLoad* each : {&load, &second}) {
    each->stop();
    each->drop_held();
  }
  // A minute at the most until it lets go, and IPVS's own 10 s for what was reset.
  EXPECT_TRUE(eventually([] { return ipvs().find("127.0.0.1:8080") == std::string::npos; }, 80s))
      << ipvs();
  EXPECT_TRUE(eventually([] {
    return run({"ip", "address", "show", "lo"}).out.find("169.254.213.2") == std::string::npos;
  }));
  EXPECT_EQ(ask_times(2, kWeb).size(), 2U);
}

// Connection tracking comes with IPVS. An idle connection through the hooks is one that it has never seen, so its port looks free for
// masquerading: a client that gets it would have the backend reset that connection.
TEST_F(IpvsRestart, AnIdleConnectionThroughTheHooksKeepsItsPort) {
  write_services(service("web", kWeb, {kNear}) + service("web6", "[::1]:8081", {kNear6}));
  configure("ebpf");
  ASSERT_TRUE(lbd_->start());
  ASSERT_TRUE(eventually([&] { return programmed(); })) << lbd_->json({"list"});
  const Held idle(kWeb), idle6("[::1]:8081");
  ASSERT_EQ(idle.greeting(), "near 10.9.0.1");
  ASSERT_EQ(idle6.greeting(), "near fd09::1");
  restart_as("ipvs");
  ASSERT_TRUE(eventually([&] { return hooks().find("lb_") == std::string::npos; })) << hooks();
  EXPECT_EQ(ask_tcp(kWeb, {.bind_to = "127.0.0.1", .bind_port = idle.port()}), "near 10.9.0.1");
  EXPECT_EQ(ask_tcp("[::1]:8081", {.bind_to = "::1", .bind_port = idle6.port()}), "near fd09::1");
  EXPECT_TRUE(idle.alive());
  EXPECT_TRUE(idle6.alive());
}

}  // namespace
}  // namespace lb::test
