// Restarts, other sizes, gaps, neighbours: what happens to hooks, maps and counts.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <cstdlib>

#include <array>
#include <atomic>
#include <cstdlib>
#include <filesystem>

#include <gmock/gmock.h>

#include "ebpf/kernel_objects.h"
#include "fixture.h"

namespace lb::test {
namespace {

const std::vector<Weighted> kThree{{"127.0.0.1:7001"}, {"127.0.0.1:7002"}, {"127.0.0.1:7003"}};

// Short connections without pause, and some that stay, until stopped.
class Load {
 public:
  explicit Load(int stays) {
    for (int i = 0; i < stays; ++i) kept_.push_back(connect_to(kService));
    thread_ = std::thread([this] {
      while (!stop_) {
        failed_ += ask(kService).starts_with("errno");
        ++made_;
      }
    });
  }
  ~Load() { stop(); }
  void stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }
  [[nodiscard]] int failed() const { return failed_; }
  [[nodiscard]] int made() const { return made_; }
  std::vector<UniqueFd>& kept() { return kept_; }

 private:
  std::vector<UniqueFd> kept_;
  std::atomic<bool> stop_ = false;
  std::atomic<int> failed_ = 0, made_ = 0;
  std::thread thread_;
};

class TakeOver : public DataplaneNetns {
 protected:
  void SetUp() override {
    DataplaneNetns::SetUp();
    if (IsSkipped()) return;
    for (int i = 1; i <= 3; ++i)
      servers_.push_back(
          std::make_unique<Server>("127.0.0.1:" + std::to_string(7000 + i), std::to_string(i)));
    publish(kService, kThree);
  }
  int active_sum() {
    int sum = 0;
    for (const auto& backend : kThree) sum += active(kService, backend.address);
    return sum;
  }
  int total_sum() {
    int sum = 0;
    for (const auto& backend : kThree) sum += total(kService, backend.address);
    return sum;
  }
  // The kernel misses an event now and then; collect() sees that, and recounts.
  bool sum_becomes(int wanted) {
    return eventually([&] { return dataplane_->collect() && active_sum() == wanted; },
                      std::chrono::seconds(10));
  }
  std::vector<std::unique_ptr<Server>> servers_;
};

// Emulated one takes five seconds.
int rounds() { return std::getenv("LB_VM_KERNEL") == nullptr ? 20 : 6; }

TEST_F(TakeOver, RestartsUnderLoadLoseAndMiscountNothing) {
  Load load(30);
  for (int i = 0; i < rounds(); ++i) open();
  load.stop();
  EXPECT_EQ(load.failed(), 0) << "of " << load.made();
  EXPECT_TRUE(sum_becomes(30)) << active_sum();
  load.kept().clear();
  EXPECT_TRUE(sum_becomes(0)) << active_sum();
}

TEST_F(TakeOver, ChangesOfSizeUnderLoadLoseAndMiscountNothing) {
  Load load(30);
  for (int i = 0; i < rounds(); ++i) {
    const auto n = static_cast<std::uint32_t>(i);
    EbpfOptions options;
    options.max_backends = 1000 + 100 * (n % 3);
    options.max_services = 100 + 10 * (n % 4);
    options.max_slots = 4096 + 64 * (n % 2);
    open(options);
  }
  load.stop();
  EXPECT_EQ(load.failed(), 0) << "of " << load.made();
  EXPECT_TRUE(sum_becomes(30)) << active_sum();
  EXPECT_EQ(total_sum(), load.made() + 30);
  load.kept().clear();
  EXPECT_TRUE(sum_becomes(0)) << active_sum();
}

TEST_F(TakeOver, RecountCorrectsAGapWhileConnectionsComeAndGo) {
  Load load(40);
  // Nobody counts while the tracepoint's link is away: seven connections end unseen.
  dataplane_.reset();
  std::filesystem::remove(sandbox_->bpffs() + "/links/state");
  load.kept().resize(33);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // the load goes on uncounted
  open();
  load.stop();
  EXPECT_EQ(load.failed(), 0) << "of " << load.made();
  EXPECT_TRUE(sum_becomes(33)) << active_sum();
  load.kept().clear();
  EXPECT_TRUE(sum_becomes(0)) << active_sum();
}

TEST_F(TakeOver, DetachedHookIsPutBackWhileRunning) {
  const UniqueFd link(::bpf_obj_get((sandbox_->bpffs() + "/links/connect4").c_str()));
  ASSERT_TRUE(link);
  ASSERT_EQ(::bpf_link_detach(link.get()), 0);
  EXPECT_EQ(ask(kService), "errno 111");
  EXPECT_TRUE(eventually([&] { return dataplane_->collect() && ask(kService) != "errno 111"; }));
}

TEST_F(TakeOver, HooksServeOnWithoutLbd) {
  const UniqueFd client = connect_to(kService);
  dataplane_.reset();
  EXPECT_NE(ask(kService), "errno 111");
  EXPECT_EQ(peer_of(client), kService);
}

TEST_F(TakeOver, RestartWithNothingChangedFindsEverything) {
  const auto before = dataplane_->read();
  open();
  const auto after = dataplane_->read();
  ASSERT_TRUE(before && after);
  ASSERT_EQ(after->services.size(), 1u);
  EXPECT_EQ(after->services[0].key, before->services[0].key);
  EXPECT_EQ(after->services[0].addresses, before->services[0].addresses);
  ASSERT_EQ(after->services[0].backends.size(), 3u);
  for (const auto& backend : after->services[0].backends) EXPECT_TRUE(backend.listed);
}

TEST_F(TakeOver, FullMapsNameTheirKeyAndKeepWhatIsProgrammed) {
  EbpfOptions tiny;
  tiny.max_backends = 4;
  tiny.max_services = 2;
  tiny.max_slots = 1024;
  open(tiny);
  const auto upsert = [&](std::string_view service, std::vector<std::string> backends,
                          Balance balance = Balance::LeastConn) {
    ProgrammedService wanted;
    wanted.key = *ServiceKey::parse(service);
    wanted.addresses = {wanted.key.address};
    wanted.balance = balance;
    for (const auto& backend : backends) wanted.backends.push_back({address(backend), 1});
    const auto done = dataplane_->upsert(wanted);
    return done ? std::string() : done.error().message();
  };
  EXPECT_THAT(upsert("127.0.0.1:5001", {"127.0.0.1:8001", "127.0.0.1:8002"}),
              testing::HasSubstr("max_backends = 4 is used up"));
  EXPECT_EQ(upsert("127.0.0.1:5001", {"127.0.0.1:8001"}), "");
  EXPECT_THAT(upsert("127.0.0.1:5002", {}), testing::HasSubstr("raise [dataplane] max_services"));
  EXPECT_EQ(upsert("127.0.0.1:5001", {"127.0.0.1:8001"}, Balance::SourceHash), "");
  EXPECT_NE(ask(kService), "errno 111");  // untouched by all that

  EbpfOptions smaller = tiny;
  smaller.max_services = 1;
  smaller.cgroup = sandbox_->cgroup();
  smaller.bpffs = sandbox_->bpffs();
  dataplane_.reset();
  const auto refused = open_ebpf_dataplane(io_, smaller);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message(), testing::HasSubstr("max_services = 1 is too small"));
  EXPECT_NE(ask(kService), "errno 111");

  tiny.max_services = 50;
  tiny.max_backends = 50;
  open(tiny);
  EXPECT_EQ(upsert("127.0.0.1:5002", {"127.0.0.1:8001", "127.0.0.1:8003"}), "");
}

TEST_F(TakeOver, DetachLeavesNothingBehind) {
  dataplane_.reset();
  ASSERT_TRUE(detach_ebpf(sandbox_->bpffs()));
  EXPECT_FALSE(std::filesystem::exists(sandbox_->bpffs()));
  // Links are freed a moment after their last reference.
  EXPECT_TRUE(eventually([&] { return ask(kService) == "errno 111"; }));
  EXPECT_TRUE(detach_ebpf(sandbox_->bpffs()));
}

TEST_F(TakeOver, SecondLbdOnTheSameSubtreeIsRefused) {
  EbpfOptions second;
  second.cgroup = sandbox_->cgroup();
  second.bpffs = sandbox_->bpffs() + "-second";
  const auto refused = open_ebpf_dataplane(io_, second);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message(), testing::HasSubstr(sandbox_->bpffs()));

  second.cgroup = sandbox_->cgroup() + "/below";
  std::filesystem::create_directory(second.cgroup);
  EXPECT_FALSE(open_ebpf_dataplane(io_, second));
  std::filesystem::remove(second.cgroup);

  second.cgroup = std::filesystem::path(sandbox_->cgroup()).parent_path();
  const auto above = open_ebpf_dataplane(io_, second);
  ASSERT_FALSE(above);
  EXPECT_THAT(above.error().message(), testing::HasSubstr("another lbd (pinned in /sys/fs/bpf/"));
  EXPECT_FALSE(std::filesystem::exists(second.bpffs));
}

std::uint32_t link_id(const std::string& path) {
  const UniqueFd fd(::bpf_obj_get(path.c_str()));
  bpf_link_info info{};
  std::uint32_t length = sizeof info;
  return fd && ::bpf_obj_get_info_by_fd(fd.get(), &info, &length) == 0 ? info.id : 0;
}

void drop_sys_admin() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> data{};
  ASSERT_EQ(::syscall(SYS_capget, &header, data.data()), 0);
  for (auto* set : {&data[0].effective, &data[0].permitted}) *set &= ~(1u << CAP_SYS_ADMIN);
  ASSERT_EQ(::syscall(SYS_capset, &header, data.data()), 0);
}

// Opening programs by id needs CAP_SYS_ADMIN, which lbd need not have.
TEST_F(TakeOver, WorksWithoutSysAdmin) {
  const auto state = sandbox_->bpffs() + "/links/state";
  const auto before = link_id(state);
  ASSERT_NE(before, 0u);
  drop_sys_admin();
  open();
  EXPECT_EQ(link_id(state), before);
  EXPECT_NE(ask(kService), "errno 111");
  EbpfOptions second;
  second.cgroup = sandbox_->cgroup();
  second.bpffs = sandbox_->bpffs() + "-second";
  const auto refused = open_ebpf_dataplane(io_, second);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message(), testing::HasSubstr(sandbox_->bpffs()));
}

TEST_F(TakeOver, RemovedPinsArePutBackWithoutTouchingTheHook) {
  const auto path = sandbox_->bpffs() + "/links/connect4";
  const auto before = link_id(path);
  std::filesystem::remove_all(sandbox_->bpffs() + "/links");
  EXPECT_TRUE(eventually([&] { return dataplane_->collect() && link_id(path) != 0; }));
  EXPECT_EQ(link_id(path), before);
}

// What an earlier version has pinned lacks the map of ports.
TEST_F(TakeOver, FromAnLbdThatHadNoPortBits) {
  Load load(5);
  const std::string folder = sandbox_->bpffs() + "/maps_v1_1";
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(std::filesystem::remove(folder + "/service_ports"));
    open();
    EXPECT_TRUE(eventually([&] {
      return dataplane_->collect() && std::filesystem::exists(folder + "/service_ports");
    }));
  }
  load.stop();
  EXPECT_EQ(load.failed(), 0) << "of " << load.made();
}

TEST_F(TakeOver, ForeignProgramsOnTheSameCgroupKeepWorking) {
  // A program of somebody else that forbids one port: "r0 = (user_port == htons(9)) ? 0 : 1".
  const bpf_insn code[] = {
      {BPF_LDX | BPF_W | BPF_MEM, BPF_REG_2, BPF_REG_1, offsetof(bpf_sock_addr, user_port), 0},
      {BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 1},
      {BPF_JMP | BPF_JNE | BPF_K, BPF_REG_2, 0, 1, htons(9)},
      {BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 0},
      {BPF_JMP | BPF_EXIT, 0, 0, 0, 0},
  };
  LIBBPF_OPTS(bpf_prog_load_opts, options);
  options.expected_attach_type = BPF_CGROUP_INET4_CONNECT;
  const UniqueFd program(::bpf_prog_load(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, "foreign", "GPL", code,
                                         std::size(code), &options));
  ASSERT_TRUE(program);
  const UniqueFd cgroup(::open(sandbox_->cgroup().c_str(), O_RDONLY | O_DIRECTORY));
  const UniqueFd link(
      ::bpf_link_create(program.get(), cgroup.get(), BPF_CGROUP_INET4_CONNECT, nullptr));
  ASSERT_TRUE(link);
  open();
  EXPECT_EQ(ask("127.0.0.1:9"), "errno 1");
  EXPECT_NE(ask(kService), "errno 111");
  dataplane_.reset();
  ASSERT_TRUE(detach_ebpf(sandbox_->bpffs()));
  EXPECT_EQ(ask("127.0.0.1:9"), "errno 1");
}

TEST_F(TakeOver, TerminateEndsOnlySteeredSockets) {
  publish("127.0.0.1:5001", {{"127.0.0.1:7001"}});
  publish(kService, {{"127.0.0.1:7001"}});
  UniqueFd steered = connect_to(kService);
  UniqueFd direct = connect_to("127.0.0.1:7001");
  UniqueFd sibling = connect_to("127.0.0.1:5001");
  for (const auto* fd : {&steered, &direct, &sibling}) EXPECT_EQ(read_all_now(*fd), "1");
  const auto ended = dataplane_->terminate(*ServiceKey::parse(kService), address("127.0.0.1:7001"));
  ASSERT_TRUE(ended) << ended.error().message();
  EXPECT_EQ(*ended, 1u);
  char byte = 0;
  EXPECT_LT(::recv(steered.get(), &byte, 1, 0), 0);
  EXPECT_EQ(errno, ECONNABORTED);
  EXPECT_EQ(::send(direct.get(), "x", 1, MSG_NOSIGNAL), 1);
  EXPECT_EQ(::send(sibling.get(), "x", 1, MSG_NOSIGNAL), 1);
  EXPECT_TRUE(eventually([&] { return active(kService, "127.0.0.1:7001") == 0; }));
  EXPECT_EQ(active("127.0.0.1:5001", "127.0.0.1:7001"), 1);
}

}  // namespace
}  // namespace lb::test
