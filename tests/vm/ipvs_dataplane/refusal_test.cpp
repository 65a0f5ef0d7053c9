// What cannot work, and what lbd says of it. First of all, while the machine has loaded no modules yet.
#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "vm/ipvs_dataplane/fixture.h"

namespace lb::test {
namespace {

using testing::HasSubstr;

class IpvsRefusal : public IpvsVm {
 protected:
  void TearDown() override {
    std::error_code ec;
    if (!IsSkipped()) std::filesystem::remove(kBlock, ec);
    IpvsVm::TearDown();
  }
  // The machine's own files, not the host's.
  static void block(const std::string& module) {
    (void)run({"modprobe", "-r", "--remove-holders", module});
    std::ofstream(kBlock) << "install " << module << " /bin/false\n";
    ASSERT_EQ(read_text("/proc/modules").find("\n" + module + " "), std::string::npos);
  }
  std::string refusal() {
    write_services(service("web", "127.0.0.1:8080", {kHost}));
    configure();
    const Finished done = lbd_->run_to_its_end();
    EXPECT_EQ(done.code, 1);
    return done.all();
  }

  static constexpr auto kBlock = "/etc/modprobe.d/lbd-test.conf";
};

TEST_F(IpvsRefusal, AMissingModuleIsNamedWithTheLineThatBlocksIt) {
  block("ip_vs");
  EXPECT_THAT(refusal(), HasSubstr("module ip_vs is blocked in /etc/modprobe.d/lbd-test.conf"));
}

TEST_F(IpvsRefusal, MissingNfTablesAreNamedAndNothingIsHalfProgrammed) {
  block("nf_tables");
  EXPECT_THAT(refusal(), HasSubstr("nf_tables"));
  EXPECT_EQ(ipvs(), "");
  EXPECT_THAT(run({"ip", "address", "show", "lo"}).out, testing::Not(HasSubstr("169.254.213.2")));
}

TEST_F(IpvsRefusal, AMissingCapabilityIsNamed) {
  lbd_->prefix = {"setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"};
  EXPECT_THAT(refusal(), HasSubstr("CAP_NET_ADMIN"));
}

TEST_F(IpvsRefusal, AutoTakesIpvsWhereBpfMayNotBeUsedAndSaysWhy) {
  lbd_->prefix = {"setpriv", "--bounding-set=-bpf,-perfmon,-sys_admin",
                  "--inh-caps=-bpf,-perfmon,-sys_admin"};
  write_services(service("web", "127.0.0.1:8080", {kHost}));
  configure("auto");
  ASSERT_TRUE(lbd_->start());
  EXPECT_TRUE(eventually([] { return ask_tcp("127.0.0.1:8080") == "host 169.254.213.2"; }));
  EXPECT_EQ(status("/dataplane/mode"), "ipvs");
  EXPECT_THAT(notes(), HasSubstr("chosen because eBPF cannot be used"));
}

TEST_F(IpvsRefusal, BackendsOfTheOtherFamilyAreRefusedOneByOne) {
  serve(service("one", "10.9.0.1:8092", {kHost, kNear6}) +
        service("six", "[::1]:8080", {kNear6, kNear}));
  EXPECT_EQ(ask_times(2, "10.9.0.1:8092"), (Answers{{"host 10.9.0.1", 2}}));
  EXPECT_EQ(ask_times(2, "[::1]:8080"), (Answers{{"near fd09::1", 2}}));
  EXPECT_EQ(lbd_->backend("one", kNear6).reason, "unsupported");
  EXPECT_EQ(lbd_->backend("six", kNear).reason, "unsupported");
  EXPECT_THAT(notes(), HasSubstr("[fd09::11]:9000 is not used: IPv6 backend of an IPv4 service"));
  EXPECT_THAT(notes(), HasSubstr("10.9.0.11:9000 is not used: IPv4 backend of an IPv6 service"));
}

// The kernel would be busy with them for minutes, and lbd with it.
TEST_F(IpvsRefusal, SeventyThousandBackendsOfOneServiceAreTooManyAndTheOthersWork) {
  constexpr int kMany = 70'000;
  std::vector<std::string> backends;
  for (int i = 0; i < kMany; ++i)
    backends.push_back(
        fmt::format("127.{}.{}.{}:7000", i / 62'500 + 1, i / 250 % 250, i % 250 + 1));
  const std::string api = service("api", "127.0.0.1:8081", {kHost});
  serve(service("web", "127.0.0.1:8080", {kHost}) + api);
  write_services(service("web", "127.0.0.1:8080", backends) + api);
  ASSERT_TRUE(eventually([&] { return status("/failures/0/service") == "tcp://127.0.0.1:8080"; },
                         kPatient));
  // With the one that has left: it gets connections as long as nothing else can be programmed.
  EXPECT_THAT(status("/failures/0/error"),
              HasSubstr("70001 backends are more than the 4096 that IPVS serves well"));
  EXPECT_EQ(ask_tcp("127.0.0.1:8081"), "host 169.254.213.2");
  EXPECT_EQ(ask_tcp("127.0.0.1:8080"), "host 169.254.213.2") << "what was programmed stays";
  EXPECT_EQ(run({"ipvsadm", "-Sn"}).out.find("127.1."), std::string::npos)
      << "nothing is half programmed";
}

}  // namespace
}  // namespace lb::test
