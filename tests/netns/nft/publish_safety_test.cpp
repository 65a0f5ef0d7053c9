// Publishing a service makes nothing else reachable, changes nothing of others, and leaves nothing behind.
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <filesystem>

#include <gmock/gmock.h>

#include "network.h"
#include "nft/ipvs_rules.h"
#include "nft/tables.h"

namespace lb::test {
namespace {

using testing::HasSubstr;

class PublishSafetyTest : public PublishTest {
 protected:
  void publish() {
    serve(b1_, "10.80.0.11:9001", "b1");
    open();
    program(service("tcp://[::]:8080", {backend("10.80.0.11:9001")}));
  }
  // From now on the client sends what is meant for 127.0.0.1 or the launder address to the balancing host, as an attacker would.
  void attack() const {
    client_.run({"sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1"});
    client_.run({"ip", "address", "del", "127.0.0.1/8", "dev", "lo"});
    client_.run({"ip", "route", "add", "127.0.0.0/8", "via", "10.80.0.1"});
    client_.run({"ip", "route", "add", "169.254.213.2", "via", "10.80.0.1"});
  }
  static void be_patient(const UniqueFd& fd) {
    const timeval patience{.tv_sec = 5, .tv_usec = 0};
    for (const int option : {SO_RCVTIMEO, SO_SNDTIMEO})
      ::setsockopt(fd.get(), SOL_SOCKET, option, &patience, sizeof patience);
  }
  // From the client, with this source.
  std::string ask_bound(const Address& from, const std::string& to) const {
    std::string answer;
    inside(client_, [&] {
      const SocketName name = to_name(from);
      const UniqueFd fd = open_socket(name.storage.ss_family, SOCK_STREAM);
      be_patient(fd);
      ASSERT_EQ(::bind(fd.get(), name.get(), name.length), 0) << errno;
      ASSERT_EQ(try_connect(fd, to), 0);
      answer = read_all_now(fd);
    });
    return answer;
  }
  static void write_setting(const std::string& name, const std::string& value) {
    run_or_throw({"sysctl", "-qw", name + "=" + value});
  }
};

TEST_F(PublishSafetyTest, KeepsLoopbackListenersUnreachableAlsoWithRouteLocalnet) {
  const Server plain("127.0.0.1:9100", "secret");
  attack();
  EXPECT_EQ(ask("127.0.0.1:9100"), kTimedOut) << "the kernel's own protection";
  write_setting("net.ipv4.conf.all.route_localnet", "1");
  ASSERT_EQ(ask("127.0.0.1:9100"), "secret") << "the attack works where nobody guards";
  publish();
  EXPECT_EQ(ask("127.0.0.1:9100"), kTimedOut);
  EXPECT_EQ(ask("127.0.0.1:8080"), kTimedOut);
  EXPECT_EQ(ask("10.80.0.1:8080"), "b1");
}

TEST_F(PublishSafetyTest, KeepsTheLaunderAddressUnreachable) {
  run_or_throw({"ip", "address", "add", "169.254.213.2/32", "dev", "lo", "scope", "host"});
  const Server any("0.0.0.0:9100", "any");
  attack();
  ASSERT_EQ(ask("169.254.213.2:9100"), "any") << "the attack works where nobody guards";
  publish();
  EXPECT_EQ(ask("169.254.213.2:9100"), kTimedOut);
  EXPECT_EQ(ask("10.80.0.1:9100"), "any") << "other ports are as they were";
}

TEST_F(PublishSafetyTest, GuardsTheSameWayBesideIpvs) {
  run_or_throw({"ip", "address", "add", "169.254.213.2/32", "dev", "lo", "scope", "host"});
  write_setting("net.ipv4.conf.all.route_localnet", "1");
  const Server plain("127.0.0.1:9100", "secret"), any("0.0.0.0:9101", "any");
  attack();
  ASSERT_EQ(ask("127.0.0.1:9100"), "secret") << "the attack works where nobody guards";
  ASSERT_EQ(ask("169.254.213.2:9101"), "any") << "the attack works where nobody guards";
  nft::IpvsRules rules;
  rules.laundered = {ServiceKey::parse("127.0.0.1:8080").value()};
  const auto applied = nft::Tables::open().value().apply(nft::render("lbd", rules));
  ASSERT_TRUE(applied) << applied.error().message();
  EXPECT_EQ(ask("127.0.0.1:9100"), kTimedOut);
  EXPECT_EQ(ask("169.254.213.2:9101"), kTimedOut);
  EXPECT_EQ(ask("10.80.0.1:9101"), "any");
  EXPECT_EQ(lb::test::ask("127.0.0.1:9100"), "secret") << "clients on this host";
}

TEST_F(PublishSafetyTest, MarksPublishedServicesAndKeepsOtherMarks) {
  run_or_throw(
      {"nft",
       "add table ip theirs; add chain ip theirs pre { type filter hook prerouting "
       "priority -160; }; add rule ip theirs pre meta mark set 0x1234; add chain ip theirs "
       "in { type filter hook input priority 0; }; add rule ip theirs in tcp dport 9100 "
       "meta mark != 0x1234 drop; add rule ip theirs in tcp dport 8090 meta mark != "
       "0x5a000001 drop; add rule ip theirs in tcp dport 8091 meta mark != 0x5a000002 "
       "drop"});
  const Server other("10.80.0.1:9100", "other"), marked("10.80.0.1:8090", "marked"),
      another("10.80.0.1:8091", "another");
  EXPECT_EQ(ask("10.80.0.1:8090"), kTimedOut) << "not marked yet";
  nft::IpvsRules rules;
  rules.marks = {{ServiceKey::parse("10.80.0.1:8090").value(), 0x5a000001},
                 {ServiceKey::parse("10.80.0.1:8091").value(), 0x5a000002}};
  const auto applied = nft::Tables::open().value().apply(nft::render("lbd", rules));
  ASSERT_TRUE(applied) << applied.error().message();
  EXPECT_EQ(ask("10.80.0.1:9100"), "other");
  EXPECT_EQ(ask("10.80.0.1:8090"), "marked");
  EXPECT_EQ(ask("10.80.0.1:8091"), "another");
}

TEST_F(PublishSafetyTest, OpensNoOtherPort) {
  publish();
  EXPECT_EQ(ask("10.80.0.1:8081"), kRefused);
  EXPECT_EQ(ask("[fd80::1]:8081"), kRefused);
  EXPECT_EQ(ask("10.80.0.1:9001"), kRefused) << "the backend's port";
}

TEST_F(PublishSafetyTest, MakesNoRouterOfTheHost) {
  serve(b3_, "10.81.0.13:9001", "b3");
  for (const NetNamespace* net : {&client_, &b1_})
    net->run({"ip", "route", "add", "10.81.0.0/24", "via", "10.80.0.1"});
  b3_.run({"ip", "route", "add", "10.80.0.0/24", "via", "10.81.0.1"});
  publish();
  program(service("tcp://0.0.0.0:8081", {backend("10.81.0.13:9001")}));
  EXPECT_EQ(ask("10.80.0.1:8081"), "b3");
  EXPECT_EQ(ask("10.81.0.13:9001"), kTimedOut);
}

TEST_F(PublishSafetyTest, LetsARouterRoute) {
  write_setting("net.ipv4.ip_forward", "1");
  serve(b3_, "10.81.0.13:9001", "b3");
  client_.run({"ip", "route", "add", "10.81.0.0/24", "via", "10.80.0.1"});
  b3_.run({"ip", "route", "add", "10.80.0.0/24", "via", "10.81.0.1"});
  publish();
  EXPECT_EQ(ask("10.81.0.13:9001"), "b3");
}

TEST_F(PublishSafetyTest, LeavesOtherPeoplesTablesAndMarksAlone) {
  run_or_throw(
      {"nft",
       "add table ip theirs; add chain ip theirs pre { type filter hook prerouting "
       "priority -150; }; add rule ip theirs pre meta mark set 0x1234; add counter ip "
       "theirs kept; add chain ip theirs post { type filter hook postrouting priority 200; "
       "}; add rule ip theirs post meta mark 0x1234 counter name kept"});
  const std::string theirs = run({"nft", "-s", "list", "table", "ip", "theirs"}).out;
  publish();
  EXPECT_EQ(ask("10.80.0.1:8080"), "b1");
  EXPECT_EQ(run({"nft", "-s", "list", "table", "ip", "theirs"}).out, theirs);
  EXPECT_THAT(run({"nft", "list", "counter", "ip", "theirs", "kept"}).out,
              testing::Not(HasSubstr("packets 0 ")));
}

// Connection tracking comes with the first service that is published. A connection of this host that is idle then is one that it has
// never seen, so its port looks free for masquerading: a client that gets it would have the backend reset that connection.
TEST_F(PublishSafetyTest, GivesNoClientThePortOfAnIdleConnection) {
  struct Family {
    std::string backend, client, service;
    UniqueFd idle{};
  };
  std::array<Family, 2> families{{{"10.80.0.11:9001", "10.80.0.100", "10.80.0.1:8080"},
                                  {"[fd80::11]:9001", "fd80::100", "[fd80::1]:8080"}}};
  for (Family& family : families) {
    serve(b1_, family.backend, "b1");
    family.idle = connect_to(family.backend);
    ASSERT_TRUE(family.idle) << errno;
    be_patient(family.idle);
    ASSERT_EQ(read_all_now(family.idle), "b1");
  }
  open();
  program(service("tcp://[::]:8080", {backend("10.80.0.11:9001"), backend("[fd80::11]:9001")}));
  for (const Family& family : families) {
    SocketName name;
    name.length = sizeof name.storage;
    ASSERT_EQ(::getsockname(family.idle.get(), name.get(), &name.length), 0);
    const Address from{IpAddress::parse(family.client).value(), from_name(name).port};
    EXPECT_EQ(ask_bound(from, family.service), "b1");
    ASSERT_EQ(::shutdown(family.idle.get(), SHUT_WR), 0);
    char byte = 0;
    EXPECT_EQ(::recv(family.idle.get(), &byte, 1, 0), 0) << "it is closed in order; " << errno;
  }
}

TEST_F(PublishSafetyTest, LeavesNothingBehindWhenDetached) {
  const auto settings = [] {
    return run({"sh", "-c", "sysctl -a 2>/dev/null | grep -E 'forward|accept_ra|localnet'"}).out;
  };
  // The first table of a namespace brings connection tracking's own settings.
  const std::string rules = ruleset(), before = settings();
  publish();
  EXPECT_EQ(ask("10.80.0.1:8080"), "b1");
  EXPECT_NE(settings(), before);
  dataplane_.reset();
  const auto detached = detach_nft(options());
  ASSERT_TRUE(detached) << detached.error().message();
  EXPECT_EQ(ruleset(), rules);
  EXPECT_EQ(settings(), before);
  EXPECT_FALSE(std::filesystem::exists(sandbox_->folder() + "/nft.json"));
  EXPECT_TRUE(detach_nft(options())) << "again";
}

TEST_F(PublishSafetyTest, LeavesNothingBehindAfterACrashEither) {
  const std::string rules = ruleset();
  const pid_t child = ::fork();
  if (child == 0) {
    auto opened = open_nft_dataplane(options());
    const auto published = service("tcp://0.0.0.0:8080", {backend("10.80.0.11:9001")});
    ::_exit(opened && (*opened)->upsert(published) ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  ASSERT_NE(ruleset(), rules);
  ASSERT_TRUE(detach_nft(options()));
  EXPECT_EQ(ruleset(), rules);
}

TEST_F(PublishSafetyTest, SwitchesNoForwardingForBackendsOnThisHost) {
  const auto forwarding = [] {
    return run({"sh", "-c", "sysctl -a 2>/dev/null | grep -E 'forwarding|ip_forward'"}).out;
  };
  const std::string before = forwarding();
  const Server local("10.80.0.1:9001", "local");
  open();
  program(service("tcp://0.0.0.0:8080", {backend("10.80.0.1:9001")}));
  EXPECT_EQ(ask("10.80.0.1:8080"), "local");
  EXPECT_EQ(forwarding(), before);
}

TEST_F(PublishSafetyTest, KeepsTakingRouterAdvertisementsWhenItForwardsIpv6) {
  write_setting("net.ipv6.conf.lb0.accept_ra", "1");
  serve(b1_, "[fd80::11]:9001", "b1");
  open();
  program(service("tcp://[::]:8080", {backend("[fd80::11]:9001")}));
  EXPECT_EQ(ask("[fd80::1]:8080"), "b1");
  EXPECT_EQ(run({"sysctl", "-n", "net.ipv6.conf.lb0.accept_ra"}).out, "2\n");
}

}  // namespace
}  // namespace lb::test
