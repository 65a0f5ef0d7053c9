#include "tools/lbctl/doctor.h"

#include "unit/lbctl/harness.h"

namespace lb::lbctl {
namespace {

class Doctor : public Lbctl {
 protected:
  Doctor() {
    host.kernel = "6.1.0-56-amd64";
    host.mounts = {{"/sys/fs/cgroup", "cgroup2"}, {"/sys/fs/bpf", "bpf"}};
    host.btf = true;
    host.capabilities = 0x1ffffffffffULL;
    host.hooks = {{"cgroup/connect4", {}}, {"tp_btf/inet_sock_set_state", {}}};
    host.connect_programs = std::vector<std::string>{};
    host.ipvs = fail("the kernel has no ip_vs: run `modprobe ip_vs`");
  }
  Check check(const std::string& name) {
    for (const Check& c : diagnose(host))
      if (c.name == name) return c;
    ADD_FAILURE() << "no check " << name;
    return {};
  }
};

TEST_F(Doctor, AHostWithEverythingCanRun) {
  EXPECT_EQ(run_lbctl({"doctor"}), kExitOk);
  EXPECT_HAS(out(), "ok       cgroup/connect4");
  EXPECT_HAS(out(), "0.1.0, pid 4242, at /run/lbd/lbd.sock");
  EXPECT_HAS(out(), "lbd can run here");
  EXPECT_HAS_NOT(out(), "missing");
}

TEST_F(Doctor, NeedsNoDaemon) {
  unreachable = ENOENT;
  EXPECT_EQ(run_lbctl({"doctor"}), kExitOk);
  EXPECT_HAS(out(), "note     lbd");
  EXPECT_HAS(out(), "not reachable at /run/lbd/lbd.sock: No such file or directory");
}

TEST_F(Doctor, JsonHoldsTheVerdict) {
  host.btf = false;
  EXPECT_EQ(run_lbctl({"--json", "doctor"}), kExitFailed);
  const auto json = nlohmann::json::parse(out());
  EXPECT_EQ(json["can_run"], false);
  EXPECT_EQ(json["checks"][3]["name"], "BTF");
  EXPECT_EQ(json["checks"][3]["verdict"], "missing");
  EXPECT_HAS(json["checks"][3]["remedy"].get<std::string>(), "CONFIG_DEBUG_INFO_BTF");
}

TEST_F(Doctor, AKernelBefore61IsTooOld) {
  for (const auto& [kernel, ok] : std::vector<std::pair<std::string, bool>>{{"6.1.0", true},
                                                                            {"6.12.3", true},
                                                                            {"7.0-rc1", true},
                                                                            {"6.0.19", false},
                                                                            {"5.15.0", false},
                                                                            {"", false}}) {
    host.kernel = kernel;
    EXPECT_EQ(check("kernel").verdict == Check::Verdict::Ok, ok) << kernel;
  }
}

TEST_F(Doctor, EachMissingThingStopsLbdAndSaysHowToGetIt) {
  const std::vector<std::pair<std::string, std::function<void()>>> cases{
      {"cgroup2", [this] { host.mounts.erase(host.mounts.begin()); }},
      {"bpffs", [this] { host.mounts.pop_back(); }},
      {"CAP_NET_ADMIN", [this] { host.capabilities = 1ULL << 39 | 1ULL << 38; }},
      {"CAP_PERFMON", [this] { host.capabilities = 1ULL << 39 | 1ULL << 12; }},
      {"cgroup/connect4", [this] { host.hooks[0].result = fail(EINVAL, "load cgroup/connect4"); }},
  };
  const HostFacts good = host;
  for (const auto& [name, break_it] : cases) {
    host = good;
    break_it();
    EXPECT_EQ(check(name).verdict, Check::Verdict::Missing) << name;
    EXPECT_NE(check(name).remedy, "") << name;
    EXPECT_FALSE(can_run(diagnose(host))) << name;
  }
}

TEST_F(Doctor, SysAdminContainsBpfAndPerfmonButNotNetAdmin) {
  host.capabilities = 1ULL << 21 | 1ULL << 12;
  EXPECT_TRUE(can_run(diagnose(host)));
  host.capabilities = 1ULL << 21;
  EXPECT_FALSE(can_run(diagnose(host)));
}

TEST_F(Doctor, WhereOnlyIpvsWorksLbdCanRunWithThat) {
  host.btf = false;
  EXPECT_FALSE(can_run(diagnose(host)));
  EXPECT_EQ(check("ip_vs").verdict, Check::Verdict::Note);
  EXPECT_HAS(check("ip_vs").remedy, "modprobe ip_vs");
  host.ipvs = {};
  EXPECT_TRUE(can_run(diagnose(host)));
  EXPECT_FALSE(can_run_ebpf(diagnose(host)));
  EXPECT_EQ(run_lbctl({"doctor"}), kExitOk);
  EXPECT_HAS(out(), "eBPF dataplane cannot run here: see what is missing. Its IPVS dataplane can.");
  host.nf_tables = fail("no nf_tables");
  EXPECT_FALSE(can_run(diagnose(host)));
}

TEST_F(Doctor, AFirewallThatDropsForwardingIsNamed) {
  EXPECT_EQ(check("forwarding").verdict, Check::Verdict::Ok);
  host.dropping_chains = {{"ip", "filter", "FORWARD"}};
  EXPECT_EQ(check("forwarding").verdict, Check::Verdict::Note);
  EXPECT_HAS(check("forwarding").found, "ip filter FORWARD");
  EXPECT_HAS(check("forwarding").remedy, "DOCKER-USER");
  EXPECT_TRUE(can_run(diagnose(host)));
}

TEST_F(Doctor, WithoutRightsAHookPointsAtThem) {
  host.hooks[1].result = fail(EPERM, "load it");
  host.capabilities = 1ULL << 39 | 1ULL << 12;
  EXPECT_HAS(check("tp_btf/inet_sock_set_state").remedy, "CAP_PERFMON not held");
  EXPECT_EQ(check("tp_btf/inet_sock_set_state").found, "Operation not permitted");
}

TEST_F(Doctor, ARefusedHookThatLbdCanDoWithoutStopsNothing) {
  host.hooks[1].result = fail(EPERM, "load it");
  EXPECT_EQ(check("tp_btf/inet_sock_set_state").verdict, Check::Verdict::Missing);
  EXPECT_HAS(check("tp_btf/inet_sock_set_state").remedy, "connections are not counted");
  EXPECT_TRUE(can_run_ebpf(diagnose(host)));
  host.membarrier = fail(ENOSYS, "membarrier");
  EXPECT_TRUE(can_run_ebpf(diagnose(host)));
  host.hooks[0].result = fail(EPERM, "load it");
  EXPECT_FALSE(can_run_ebpf(diagnose(host)));
}

TEST_F(Doctor, NoOneIsToldToBeRootWhoHoldsEverything) {
  host.hooks[0].result = fail(EPERM, "load it");
  EXPECT_HAS(check("cgroup/connect4").remedy,
             "although CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON are held");
  EXPECT_HAS_NOT(check("cgroup/connect4").remedy, "as root");
  host.capabilities = 1ULL << 12 | 1ULL << 39;
  EXPECT_HAS(check("cgroup/connect4").remedy, "CAP_PERFMON not held: run lbd as root");
}

TEST_F(Doctor, TheRunningDaemonTellsWhatItDoesWithout) {
  canned = HttpAnswer{200, R"({"version":"0.1.0","pid":4242,"dataplane":{"lost":[
      {"what":"iter/udp","why":"Operation not permitted","loss":"UDP sockets stay"}]}})"};
  EXPECT_EQ(run_lbctl({"doctor"}), kExitOk);
  EXPECT_HAS(out(), "runs without iter/udp");
  EXPECT_HAS(out(), "iter/udp (Operation not permitted): UDP sockets stay");
}

TEST_F(Doctor, LbdRunsWithoutInetDiagDestroy) {
  host.sock_destroy = fail(EOPNOTSUPP, "destroy a socket");
  EXPECT_EQ(check("INET_DIAG_DESTROY").verdict, Check::Verdict::Missing);
  EXPECT_HAS(check("INET_DIAG_DESTROY").remedy, "CONFIG_INET_DIAG_DESTROY");
  EXPECT_TRUE(can_run(diagnose(host)));
}

TEST_F(Doctor, DestroyingSocketsNeedsTheRightToo) {
  host.capabilities = 0;
  EXPECT_EQ(check("INET_DIAG_DESTROY").found, "Operation not permitted");
}

TEST_F(Doctor, ProgramsOfAnLbdAndOfOthersAreNamed) {
  host.connect_programs = std::vector<std::string>{"cil_sock4"};
  EXPECT_EQ(check("other programs").verdict, Check::Verdict::Ok);
  EXPECT_HAS(check("other programs").found, "cil_sock4");
  host.connect_programs = std::vector<std::string>{"cil_sock4", "lb_connect4"};
  EXPECT_EQ(check("other programs").verdict, Check::Verdict::Note);
  EXPECT_HAS(check("other programs").remedy, "lbd detach");
  host.connect_programs = fail(EPERM, "query");
  EXPECT_EQ(check("other programs").verdict, Check::Verdict::Note);
}

TEST(Host, ReadsMountinfoWithOptionalFieldsAndEscapes) {
  const auto mounts = parse_mountinfo(
      "36 35 98:0 / /a\\040b rw,noatime shared:1 master:2 - cgroup2 none rw\n"
      "37 35 0:5 / /sys/fs/bpf rw - bpf bpf rw\n"
      "broken line\n");
  EXPECT_EQ(mounts, (std::vector<Mount>{{"/a b", "cgroup2"}, {"/sys/fs/bpf", "bpf"}}));
  EXPECT_EQ(mount_point(mounts, "bpf"), "/sys/fs/bpf");
  EXPECT_EQ(mount_point(mounts, "tracefs"), std::nullopt);
}

}  // namespace
}  // namespace lb::lbctl
