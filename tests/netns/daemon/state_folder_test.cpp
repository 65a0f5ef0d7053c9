// A state folder that is full, read-only or damaged: lbd balances, and says what is wrong.
#include <gmock/gmock.h>
#include <sys/mount.h>

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
    ASSERT_EQ(::mount("tmpfs", lbd_->state_dir.c_str(), "tmpfs", 0, "size=64k"), 0);
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

}  // namespace
}  // namespace lb::test
