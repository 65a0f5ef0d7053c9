// Beside others in IPVS: what is theirs stays theirs, and what they do to ours is put right.
#include <gmock/gmock.h>

#include <chrono>

#include "support/patience.h"
#include "vm/ipvs_dataplane/fixture.h"

namespace lb::test {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

class IpvsOwnership : public IpvsVm {
 protected:
  static void ipvsadm(const std::string& rules) {
    run_or_throw({"sh", "-c", "ipvsadm -R <<'TXT'\n" + rules + "TXT\n"});
  }
  // Is so within the time that the manual promises.
  bool repaired(const std::function<bool()>& condition) {
    const auto begin = std::chrono::steady_clock::now();
    const bool done = eventually(condition, 30s);
    RecordProperty("seconds", static_cast<int>((std::chrono::steady_clock::now() - begin) / 1s));
    return done && notes().find("were put right") != std::string::npos;
  }
};

TEST_F(IpvsOwnership, ServicesOfOthersAreNeverTouched) {
  const std::string theirs =
      "-A -t 10.9.0.1:7000 -s lc\n"
      "-a -t 10.9.0.1:7000 -r 10.9.0.11:9000 -m -w 3\n"
      "-A -u 127.0.0.1:7001 -s sh -p 60\n"
      "-A -f 77 -s rr\n"
      "-a -f 77 -r 10.9.0.12:80 -g -w 5\n";
  ipvsadm(theirs);
  const std::string before = ipvs();
  const auto are_there = [&] {
    const std::string now = ipvs();
    std::istringstream lines(before);
    for (std::string line; std::getline(lines, line);)
      if (now.find(line + '\n') == std::string::npos) return false;
    return true;
  };
  serve(service("web", kWeb, {kLocal, kHost}) + service("any", "0.0.0.0:8090", {kHost}));
  EXPECT_TRUE(are_there()) << ipvs();
  EXPECT_EQ(sysctl("net/ipv4/vs/conntrack"), "0") << "it would change how their services behave";
  EXPECT_THAT(notes(),
              HasSubstr("net.ipv4.vs.conntrack is 0 and 3 IPVS services belong to others"));
  EXPECT_EQ(ask_times(4, kWeb).size(), 2U);
  change(service("web", kWeb, {kHost}));
  EXPECT_TRUE(are_there()) << ipvs();
  lbd_->kill();
  ASSERT_TRUE(lbd_->start());
  EXPECT_TRUE(are_there()) << ipvs();
  detach();
  EXPECT_EQ(ipvs(), before);
}

TEST_F(IpvsOwnership, AServiceThatIsSomebodyElsesIsNamedAndTakenOverWhenItIsFree) {
  ipvsadm("-A -t 127.0.0.1:8080 -s lc\n-a -t 127.0.0.1:8080 -r 10.9.0.1:9000 -m -w 7\n");
  write_services(service("web", kWeb, {kNear}) + service("api", "127.0.0.1:8081", {kHost}));
  set_sysctl("net/ipv4/vs/conntrack", "1");
  configure();
  const Held theirs(kWeb);
  ASSERT_TRUE(lbd_->start());
  ASSERT_TRUE(eventually([&] { return status("/failures/0/service") == "tcp://127.0.0.1:8080"; }));
  EXPECT_THAT(status("/failures/0/error"),
              HasSubstr("IPVS already has tcp://127.0.0.1:8080, which is not lbd's"));
  EXPECT_TRUE(eventually([] { return ask_tcp("127.0.0.1:8081") == "host 169.254.213.2"; }));
  EXPECT_THAT(
      ipvs(),
      HasSubstr("-A -t 127.0.0.1:8080 -s lc\n-a -t 127.0.0.1:8080 -r 10.9.0.1:9000 -m -w 7\n"));
  while (std::stoi(status("/failures/0/attempts")) < 5)
    ASSERT_EQ(ask_tcp(kWeb), "host 127.0.0.1") << "theirs is never laundered";
  EXPECT_TRUE(theirs.alive());
  run_or_throw({"ipvsadm", "-D", "-t", kWeb});
  EXPECT_TRUE(eventually([] { return ask_tcp(kWeb) == "near 10.9.0.1"; }, 70s))
      << lbd_->json({"status"});
  detach();
  EXPECT_EQ(ipvs(), "");
}

TEST_F(IpvsOwnership, ServicesThatSomebodyClearedComeBack) {
  serve(service("web", kWeb, {kHost, kNear}) + service("any", "0.0.0.0:8090", {kNear}));
  const std::string before = ipvs();
  run_or_throw({"ipvsadm", "-C"});
  EXPECT_TRUE(repaired([&] { return ipvs() == before; })) << ipvs() << notes();
  EXPECT_EQ(ask_times(2, kWeb).size(), 2U);
  EXPECT_EQ(ask_from(network_->client, 1, "10.9.0.1:8090"), (Answers{{"near 10.9.0.1", 1}}));
}

TEST_F(IpvsOwnership, WeightsAndServersThatSomebodyChangedAreSetRight) {
  serve(service("web", kWeb, {kHost, kNear, kSecond}));
  const std::string before = ipvs();
  ipvsadm(
      "-e -t 127.0.0.1:8080 -r 10.9.0.1:9000 -m -w 3\n-d -t 127.0.0.1:8080 -r 10.9.0.11:9000\n");
  EXPECT_TRUE(repaired([&] { return ipvs() == before; })) << ipvs() << notes();
}

TEST_F(IpvsOwnership, TablesAndAddressesThatSomebodyRemovedComeBack) {
  serve(service("web", kWeb, {kNear}) + service("any", "0.0.0.0:8090", {kNear}));
  const auto tables = [] { return run({"nft", "-s", "list", "ruleset"}).out; };
  const std::string before = tables();
  run_or_throw({"nft", "flush", "ruleset"});
  run_or_throw({"ip", "address", "del", "169.254.213.2/32", "dev", "lo"});
  EXPECT_TRUE(repaired([&] {
    return ask_tcp(kWeb, {.bind_to = {}, .limit = kBrief}) == "near 10.9.0.1";
  })) << notes();
  EXPECT_TRUE(eventually([&] { return tables() == before; })) << tables();
}

}  // namespace
}  // namespace lb::test
