// docs/OPERATIONS.md, "Moving over": a host where a real HAProxy, configured as by Marathoner's listener,
// holds every port of Marathon's services.
#include <gmock/gmock.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <optional>
#include <sstream>

#include <fmt/format.h>

#include "base/time.h"
#include "netns/marathoner/fixture.h"
#include "support/patience.h"

namespace lb::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

struct App {
  const char* name;
  int port;
};
constexpr std::array<App, 3> kApps{{{"web", 10001}, {"shop", 10002}, {"api", 10003}}};

class MovingOver : public MarathonerNetns {
 protected:
  void SetUp() override {
    MarathonerNetns::SetUp();
    if (IsSkipped()) return;
    if (::access("/usr/sbin/haproxy", X_OK) != 0) GTEST_SKIP() << "needs /usr/sbin/haproxy";
    start_marathons(1);
    std::string listens;
    for (const App& app : kApps) {
      const std::string id = fmt::format("/{}", app.name);
      marathon().add_app({.id = id, .ports = {app.port}});
      listens += fmt::format("listen {0}_{1}\n  bind 127.0.0.1:{1}\n", app.name, app.port);
      for (int i = 0; i < 2; ++i) {
        const std::string& address = launch(id, 31000 + app.port).address;
        listens += fmt::format("  server {0} {0} check\n", address);
      }
    }
    start_updaters(1);
    listeners_.push_back(std::make_unique<Host>(*sandbox_, "node1", "10.79.3.1"));
    replace_file(host().file("haproxy.cfg"), haproxy_defaults() + listens);
    start_haproxy();
    for (const App& app : kApps)
      clients_.push_back(
          std::make_unique<SteadyClient>(host(), fmt::format("127.0.0.1:{}", app.port), 3));
    get_on("HAProxy has started");
    ASSERT_EQ(failed() + broken(), 0);
  }

  [[nodiscard]] Host& host() { return *listeners_[0]; }

  // Of Marathoner's template.
  [[nodiscard]] std::string haproxy_defaults() {
    return fmt::format(
        "global\n  maxconn 4096\n  stats socket {} mode 600 level admin\n"
        "defaults\n  mode tcp\n  balance leastconn\n  retries 3\n  option redispatch\n"
        "  timeout connect 5s\n  timeout client 50s\n  timeout server 50s\n  timeout tunnel 2h\n"
        "  timeout client-fin 20s\n",
        host().file("haproxy.sock"));
  }

  void start_haproxy() {
    haproxy_ = std::make_unique<Process>(
        host().wrap({"/usr/sbin/haproxy", "-db", "-f", host().file("haproxy.cfg")}),
        host().file("haproxy.log"));
    ASSERT_TRUE(eventually([&] { return held_ports() == 3; }, 40s)) << haproxy_->log();
  }
  // How many of the services' ports somebody listens on.
  [[nodiscard]] int held_ports() {
    const std::string out = run(host().wrap({"ss", "-Htln"})).out;
    return static_cast<int>(std::count_if(kApps.begin(), kApps.end(), [&](const App& app) {
      return out.find(fmt::format("127.0.0.1:{} ", app.port)) != std::string::npos;
    }));
  }

  [[nodiscard]] bool all_are(const std::string& condition) {
    const auto services = host().lbd().list();
    return services.size() == kApps.size() &&
           std::all_of(services.begin(), services.end(),
                       [&](const ListedService& s) { return s.condition == condition; });
  }
  [[nodiscard]] std::int64_t chosen_by_lbd() {
    std::int64_t total = 0;
    for (const ListedService& service : host().lbd().list())
      for (const ListedBackend& backend : service.backends) total += backend.total;
    return total;
  }

  [[nodiscard]] int failed() const {
    int sum = 0;
    for (const auto& client : clients_) sum += client->tally().failed;
    return sum;
  }
  [[nodiscard]] int broken() const {
    int sum = 0;
    for (const auto& client : clients_) sum += client->tally().broken;
    return sum;
  }
  // Every client has connected some more. Patient: clients, HAProxy and servers may get little CPU.
  void get_on(const std::string& after) {
    std::vector<int> before;
    for (const auto& client : clients_) before.push_back(client->tally().made);
    for (std::size_t i = 0; i < clients_.size(); ++i)
      EXPECT_TRUE(eventually([&] { return clients_[i]->tally().made > before[i] + 10; }, 60s))
          << after << ": " << clients_[i]->tally().first_failure;
  }
  void end_clients() {
    for (const auto& client : clients_) {
      const auto tally = client->stop();
      EXPECT_EQ(tally.broken, 0) << tally.first_failure;
    }
  }

  // When lbd last programmed something after `since`, by its log.
  [[nodiscard]] std::optional<SysTime> programmed_after(SysTime since) {
    std::istringstream log(host().lbd().log());
    std::optional<SysTime> last;
    for (std::string line; std::getline(log, line);) {
      if (line.find(" applied upserted=") == std::string::npos) continue;
      const auto time = parse_iso8601(line.substr(0, line.find(' ')));
      if (time && *time >= since) last = *time;
    }
    return last;
  }

  // HAProxy's sessions so far, of all services.
  [[nodiscard]] int chosen_by_haproxy() {
    const std::string stats =
        run({"sh", "-c", "echo 'show stat' | socat - UNIX:" + host().file("haproxy.sock")}).out;
    std::istringstream lines(stats);
    int sum = 0;
    for (std::string line; std::getline(lines, line);) {
      if (line.find(",FRONTEND,") == std::string::npos) continue;
      std::istringstream fields(line);
      std::string field;
      for (int i = 0; i < 8; ++i) std::getline(fields, field, ',');  // the eighth is stot
      sum += std::stoi(field);
    }
    return sum;
  }

  std::unique_ptr<Process> haproxy_;
  std::vector<std::unique_ptr<SteadyClient>> clients_;
};

TEST_F(MovingOver, LbdNamesHaproxyAndTakesOverWithinASecondOfItsStop) {
  ASSERT_TRUE(start_listener(0));
  ASSERT_TRUE(eventually([&] { return all_are("conflict"); }, 40s));
  // The process behind a socket is looked up beside the loop, and named a moment later.
  const std::string holder = fmt::format("haproxy (pid {})", haproxy_->pid());
  EXPECT_TRUE(eventually([&] {
    const auto services = host().lbd().list();
    return std::all_of(services.begin(), services.end(), [&](const ListedService& service) {
      return service.text.find(holder) != std::string::npos;
    });
  }));
  EXPECT_THAT(host().lbd().ctl({"list"}).all(), AllOf(HasSubstr("conflict"), HasSubstr("haproxy")));
  get_on("lbd waits");
  EXPECT_EQ(failed() + broken(), 0) << "HAProxy still serves";
  EXPECT_EQ(chosen_by_lbd(), 0);

  const SysTime signalled = sys_now();
  haproxy_->signal(SIGUSR1);
  ASSERT_TRUE(eventually([&] { return held_ports() == 0; }, 40s));
  const SysTime gone = sys_now();
  ASSERT_TRUE(eventually([&] { return all_are("ok"); }, 40s));
  // lbd may have been quicker than we were at looking.
  const auto taken = programmed_after(signalled);
  ASSERT_TRUE(taken.has_value()) << host().lbd().log();
  EXPECT_LE(*taken - gone, promised(1s));

  get_on("lbd has taken over");
  // Each client tries again after 10 ms at the earliest: that many are three seconds.
  const int during = failed();
  std::printf(
      "take-over: %d failed connects of 3 clients, %lld ms after HAProxy's listeners went\n",
      during,
      static_cast<long long>(
          std::chrono::duration_cast<std::chrono::milliseconds>(*taken - gone).count()));
  EXPECT_LE(during, promised(3 * 300));
  get_on("some time has passed");
  EXPECT_EQ(failed(), during) << "only while nobody had the ports";
  EXPECT_GT(chosen_by_lbd(), 0);
  EXPECT_TRUE(haproxy_->running()) << "it has connections";
  end_clients();
  EXPECT_EQ(haproxy_->wait(60s).value_or(-1), 0) << "it ends with its last connection";
}

TEST_F(MovingOver, ShadowTakesOverAtOnceAndGivesBackWithoutAFailedConnect) {
  host().lbd().configure(
      fmt::format("[dataplane]\non_local_listener = \"shadow\"\n[[source]]\ntype = \"relay\"\n"
                  "updaters = [\"{}\"]\n",
                  updater_addresses()));
  ASSERT_TRUE(host().lbd().start());
  ASSERT_TRUE(eventually([&] { return all_are("ok"); }, 40s));
  get_on("lbd shadows HAProxy");
  EXPECT_GT(chosen_by_lbd(), 0);
  EXPECT_EQ(failed() + broken(), 0);
  haproxy_->signal(SIGUSR1);
  ASSERT_TRUE(eventually([&] { return held_ports() == 0; }, 40s));
  get_on("HAProxy stops");
  EXPECT_TRUE(haproxy_->running()) << "it has the connections from before";
  EXPECT_EQ(failed() + broken(), 0);

  // Back: first HAProxy has the ports again, then lbd goes.
  const std::unique_ptr<Process> first = std::move(haproxy_);
  start_haproxy();
  get_on("HAProxy is back beside lbd");
  EXPECT_EQ(host().lbd().stop(), 0);
  const auto left = chosen_by_haproxy();
  const Finished detached = run(host().lbd().preset("detach", {}));
  EXPECT_EQ(detached.code, 0) << detached.all();
  get_on("lbd has gone");
  EXPECT_GT(chosen_by_haproxy(), left);
  EXPECT_EQ(failed() + broken(), 0);
  end_clients();
}

}  // namespace
}  // namespace lb::test
