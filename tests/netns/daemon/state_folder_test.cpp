// A state folder that is full, read-only or damaged: lbd balances, and says what is wrong.
#include <gmock/gmock.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "netns/daemon/fixture.h"

namespace lb::test {
namespace {

using testing::HasSubstr;

// The state folder is a small file system of its own.
class StateFolder : public DaemonNetns {
 protected:
  void SetUp() override {
    DaemonNetns::SetUp();
    if (IsSkipped()) return;
    std::filesystem::create_directories(lbd_->state_dir);
    ASSERT_EQ(::mount("tmpfs", lbd_->state_dir.c_str(), "tmpfs", 0, "size=64k,mode=0750"), 0);
    mounted_ = true;
  }
  void TearDown() override {
    if (lbd_) (void)lbd_->stop();
    if (mounted_) ::umount2(lbd_->state_dir.c_str(), MNT_DETACH);
    DaemonNetns::TearDown();
  }
  void fill() const {
    std::ofstream out(lbd_->state_dir + "/fill");
    out << std::string(1 << 20, 'x') << std::flush;
  }
  bool says(const std::string& words) {
    return eventually([&] { return lbd_->json({"status"}).find(words) != std::string::npos; });
  }
  bool mounted_ = false;
};

TEST_F(StateFolder, ThatIsFullIsAProblemUntilThereIsRoom) {
  fill();
  serve_web({kOne, kTwo});
  EXPECT_EQ(lbd_->service("web").condition, "ok");
  EXPECT_TRUE(says("No space left on device"));
  EXPECT_NE(lbd_->ctl({"drain", kOne}).code, 0) << "what would be forgotten is refused";
  std::filesystem::remove(lbd_->state_dir + "/fill");
  EXPECT_TRUE(eventually([&] {
    return lbd_->json({"status"}).find("No space left on device") == std::string::npos;
  })) << lbd_->json({"status"});
  EXPECT_EQ(lbd_->ctl({"drain", kOne}).code, 0);
}

TEST_F(StateFolder, ThatIsReadOnlyIsAProblemAndExcludesASecondLbd) {
  ASSERT_EQ(::mount(nullptr, lbd_->state_dir.c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr), 0);
  serve_web({kOne});
  EXPECT_EQ(ask(kWeb), "1");
  EXPECT_TRUE(says("Read-only file system"));
  Daemon second(*sandbox_);
  second.runtime_dir += "2";
  const Finished done = second.run_to_its_end();
  EXPECT_EQ(done.code, 1);
  EXPECT_THAT(done.err, HasSubstr("is in use by the lbd"));
}

// Folders that another user has made first, or may write to.
class ForeignFolder : public DaemonNetns {
 protected:
  static constexpr uid_t kAlice = 54'321;

  void SetUp() override {
    DaemonNetns::SetUp();
    if (IsSkipped()) return;
    write_services(service_toml("web", kWeb, {kOne}));
    lbd_->configure(file_source());
  }
  static void make_hers(const std::string& folder) {
    std::filesystem::create_directories(folder);
    ASSERT_EQ(::chown(folder.c_str(), kAlice, kAlice), 0);
  }
  void expect_refused(const std::string& folder, const std::string& words,
                      const Command& flags = {}) const {
    const Finished done = lbd_->run_to_its_end(flags);
    EXPECT_EQ(done.code, 1) << done.all();
    EXPECT_THAT(done.err, HasSubstr(folder + " " + words));
    EXPECT_THAT(done.err, HasSubstr("`ch"));
  }
};

TEST_F(ForeignFolder, OfPinsKeepsLbdFromStarting) {
  ASSERT_NO_FATAL_FAILURE(make_hers(lbd_->bpffs));
  expect_refused(lbd_->bpffs, "belongs to uid 54321");
  expect_refused(lbd_->bpffs, "belongs to uid 54321", {"--dataplane", "ebpf"});
  ASSERT_EQ(::rmdir(lbd_->bpffs.c_str()), 0) << "lbd has put nothing there";
}

TEST_F(ForeignFolder, OfStateKeepsLbdFromStarting) {
  ASSERT_NO_FATAL_FAILURE(make_hers(lbd_->state_dir));
  expect_refused(lbd_->state_dir, "belongs to uid 54321");
}

TEST_F(ForeignFolder, OfTheSocketKeepsLbdFromStarting) {
  std::filesystem::create_directories(lbd_->runtime_dir);
  ASSERT_EQ(::chmod(lbd_->runtime_dir.c_str(), 0777), 0);
  expect_refused(lbd_->runtime_dir, "can be written by everybody");
}

// A configuration that is mounted from a ConfigMap consists of links.
TEST_F(ForeignFolder, ConfigurationAndServicesMayBeLinks) {
  std::filesystem::rename(services_path(), file("real.toml"));
  std::filesystem::create_symlink(file("real.toml"), services_path());
  std::filesystem::rename(lbd_->config_path(), file("real-lbd.toml"));
  std::filesystem::create_symlink(file("real-lbd.toml"), lbd_->config_path());
  ASSERT_TRUE(lbd_->start());
  EXPECT_TRUE(becomes("web", "ok"));
}

}  // namespace
}  // namespace lb::test
