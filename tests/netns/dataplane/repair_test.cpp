// Whatever of lbd's is removed by hand comes back: pins, links, keys, the folder, its file system, the cgroup.
#include <bpf/bpf.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>

#include "ebpf/abi.h"
#include "ebpf/kernel_objects.h"
#include "fixture.h"

namespace lb::test {
namespace {

namespace fs = std::filesystem;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr auto kWeb = "127.0.0.1:5000";
constexpr auto kNobody = "errno 111";
constexpr auto kComesBack = std::chrono::seconds(20);

class Repair : public DataplaneNetns {
 protected:
  void SetUp() override {
    DataplaneNetns::SetUp();
    if (IsSkipped()) return;
    server_.emplace("127.0.0.1:7001", "web");
    publish(kWeb, {{"127.0.0.1:7001"}});
  }
  // Of everything that is pinned: the path below the folder, and the object's id.
  std::map<std::string, std::uint32_t> pins() {
    std::map<std::string, std::uint32_t> out;
    std::error_code ec;
    for (const auto& entry : fs::recursive_directory_iterator(sandbox_->bpffs(), ec)) {
      if (!entry.is_regular_file(ec)) continue;
      const UniqueFd fd(::bpf_obj_get(entry.path().c_str()));
      const std::string name = entry.path().lexically_relative(sandbox_->bpffs());
      bpf_link_info link{};
      if (name.starts_with("links/"))
        out[name] = bpf::link_info(fd.get(), link) ? link.id : 0;
      else if (!name.starts_with("stubs/"))
        out[name] = bpf::map_id(fd.get());
    }
    return out;
  }
  bool looks_until(const std::function<bool()>& right) {
    return eventually([&] { return dataplane_->collect() && right(); }, kComesBack);
  }
  std::string path(const std::string& name) { return sandbox_->bpffs() + "/" + name; }

  std::optional<Server> server_;
};

TEST_F(Repair, EachPinThatIsRemovedComesBackAndIsCounted) {
  ASSERT_TRUE(dataplane_->collect());
  const auto before = pins();
  ASSERT_GT(before.size(), 20U);
  for (const auto& [name, id] : before) {
    fs::remove(path(name));
    EXPECT_TRUE(looks_until([&, &n = name] { return fs::exists(path(n)); })) << name;
  }
  EXPECT_EQ(pins(), before) << "the same maps and links";
  EXPECT_EQ(ask(kWeb), "web");
  EXPECT_THAT(dataplane_->info().notes, Contains(HasSubstr("put back")));
  EXPECT_THAT(dataplane_->info().problems, IsEmpty());
}

TEST_F(Repair, TheFolderThatIsRemovedComesBackAndARestartFindsEverything) {
  ASSERT_TRUE(dataplane_->collect());
  const UniqueFd kept = connect_to(kWeb);
  const auto before = pins();
  fs::remove_all(sandbox_->bpffs());
  EXPECT_TRUE(looks_until([&] { return pins() == before; }));
  open();
  EXPECT_EQ(pins(), before);
  EXPECT_EQ(active(kWeb, "127.0.0.1:7001"), 1);
  EXPECT_EQ(ask(kWeb), "web");
}

TEST_F(Repair, AStartCompletesTheFolderFromWhatRuns) {
  const UniqueFd kept = connect_to(kWeb);
  for (const char* name : {"services", "address_ids", "cold"}) {
    const auto before = pins();
    dataplane_.reset();
    for (const auto& [pin, id] : before)
      if (fs::path(pin).filename() == name) fs::remove(path(pin));
    EXPECT_EQ(ask(kWeb), "web") << "the hooks run on";
    open();
    EXPECT_EQ(pins(), before) << name;
    EXPECT_EQ(active(kWeb, "127.0.0.1:7001"), 1);
  }
}

TEST_F(Repair, AStartThatCannotCompleteTheFolderBeginsAfresh) {
  const auto before = pins();
  dataplane_.reset();
  fs::remove_all(path("links"));
  for (const auto& [pin, id] : before)
    if (fs::path(pin).filename() == "slots") fs::remove(path(pin));
  open();
  publish(kWeb, {{"127.0.0.1:7001"}});
  EXPECT_EQ(ask(kWeb), "web");
  EXPECT_EQ(pins().size(), before.size());
}

TEST_F(Repair, AKeyThatAStrayToolDeletedComesBack) {
  const UniqueFd keys(::bpf_obj_get(path("current_maps/service_ids").c_str()));
  ASSERT_TRUE(keys);
  const lb_addr key = bpf::to_abi(*ServiceKey::parse(kWeb));
  ASSERT_EQ(::bpf_map_delete_elem(keys.get(), &key), 0);
  EXPECT_EQ(ask(kWeb), kNobody);
  EXPECT_TRUE(looks_until([] { return ask(kWeb) == "web"; }));
  EXPECT_THAT(dataplane_->info().notes, Contains(HasSubstr("put back")));
}

TEST_F(Repair, ACgroupThatIsMadeAgainGetsItsHooks) {
  dataplane_.reset();
  EbpfOptions options;
  options.cgroup = sandbox_->cgroup() + "/inner";
  options.bpffs = sandbox_->bpffs();
  ASSERT_TRUE(detach_ebpf(options.bpffs));
  fs::create_directory(options.cgroup);
  auto opened = open_ebpf_dataplane(io_, options);
  ASSERT_TRUE(opened) << opened.error().message();
  dataplane_ = *std::move(opened);
  publish(kWeb, {{"127.0.0.1:7001"}});
  ASSERT_TRUE(dataplane_->collect());

  ASSERT_EQ(::rmdir(options.cgroup.c_str()), 0);
  EXPECT_TRUE(looks_until([&] { return !dataplane_->info().problems.empty(); }));
  EXPECT_THAT(dataplane_->info().problems, Contains(HasSubstr(options.cgroup)));
  fs::create_directory(options.cgroup);
  std::ofstream(options.cgroup + "/cgroup.procs") << "0" << std::flush;
  EXPECT_EQ(ask(kWeb), kNobody);
  EXPECT_TRUE(looks_until([] { return ask(kWeb) == "web"; }));
  EXPECT_THAT(dataplane_->info().problems, IsEmpty());
  std::ofstream(sandbox_->cgroup() + "/cgroup.procs") << "0" << std::flush;
  dataplane_.reset();
  ASSERT_TRUE(detach_ebpf(options.bpffs));
  EXPECT_EQ(::rmdir(options.cgroup.c_str()), 0);
}

// In a mount namespace of its own.
class RepairMount : public Repair {
 protected:
  void SetUp() override {
    Repair::SetUp();
    if (IsSkipped()) return;
    ASSERT_EQ(::unshare(CLONE_NEWNS), 0);
    ASSERT_EQ(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
  }
};

TEST_F(RepairMount, ABpffsThatIsMountedAgainGetsItsPins) {
  ASSERT_TRUE(dataplane_->collect());
  const UniqueFd kept = connect_to(kWeb);
  const auto before = pins();
  ASSERT_EQ(::mount("bpf", "/sys/fs/bpf", "bpf", 0, nullptr), 0);  // it hides the one below
  EXPECT_TRUE(pins().empty());
  EXPECT_TRUE(looks_until([&] { return pins() == before; }));
  EXPECT_EQ(ask(kWeb), "web");
  open();
  EXPECT_EQ(pins(), before);
  EXPECT_EQ(active(kWeb, "127.0.0.1:7001"), 1);
  dataplane_.reset();
  ASSERT_TRUE(detach_ebpf(sandbox_->bpffs()));
  ASSERT_EQ(::umount("/sys/fs/bpf"), 0);
}

TEST_F(RepairMount, WithoutABpffsItServesOnAndSaysSo) {
  ASSERT_TRUE(dataplane_->collect());
  ASSERT_EQ(::mount("tmpfs", "/sys/fs/bpf", "tmpfs", 0, nullptr), 0);
  EXPECT_TRUE(looks_until([&] { return !dataplane_->info().problems.empty(); }));
  EXPECT_THAT(dataplane_->info().problems, Contains(HasSubstr("not on a bpffs")));
  EXPECT_EQ(ask(kWeb), "web");
  ASSERT_EQ(::umount("/sys/fs/bpf"), 0);
  EXPECT_TRUE(looks_until([&] { return dataplane_->info().problems.empty(); }));
}

}  // namespace
}  // namespace lb::test
