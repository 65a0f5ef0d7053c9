// lbd dies, comes back, goes for good.
#include <gmock/gmock.h>

#include <filesystem>

#include "netns/daemon/fixture.h"

namespace lb::test {
namespace {

using testing::HasSubstr;
using testing::Not;

using Restart = DaemonNetns;

TEST_F(Restart, TwentySigkillsUnderLoadLoseAndMiscountNothing) {
  serve_web({kOne, kTwo, kThree});
  std::vector<UniqueFd> kept;
  for (int i = 0; i < 30; ++i) kept.push_back(connect_to(kWeb));
  Load first, second;
  const auto made = [&] { return first.made() + second.made(); };
  for (int i = 1; i <= 20; ++i) {
    lbd_->kill();
    ASSERT_TRUE(lbd_->start());
    // The bar asks for 20,000 connects; kills are spread over all of them.
    ASSERT_TRUE(eventually([&] { return made() >= i * 1000; }, std::chrono::seconds(20)));
  }
  ASSERT_TRUE(eventually([&] { return made() >= 20'000; }, std::chrono::seconds(20)));
  first.stop();
  second.stop();
  EXPECT_EQ(first.failed() + second.failed(), 0) << "of " << made();
  RecordProperty("connects", made());
  const auto active = [&] {
    std::int64_t sum = 0;
    for (const ListedBackend& backend : lbd_->service("web").backends) sum += backend.active;
    return sum;
  };
  EXPECT_TRUE(eventually([&] { return active() == 30; })) << active();
  kept.clear();
  EXPECT_TRUE(eventually([&] { return active() == 0; })) << active();
  for (const ListedBackend& backend : lbd_->service("web").backends)
    EXPECT_EQ(backend.active, 0) << backend.address;
  EXPECT_EQ(json_at(lbd_->json({"status"}), "/dataplane/lost_events"), "0");
}

TEST_F(Restart, SigtermLeavesTheDataplaneInForce) {
  serve_web({kOne});
  EXPECT_EQ(lbd_->stop(), 0);
  EXPECT_EQ(ask(kWeb), "1");
}

TEST_F(Restart, DetachOnExitTakesItAway) {
  serve_web({kOne}, "[dataplane]\ndetach_on_exit = true\n");
  EXPECT_EQ(lbd_->stop(), 0);
  EXPECT_TRUE(eventually([] { return ask(kWeb) == "errno 111"; }));
  EXPECT_FALSE(std::filesystem::exists(lbd_->bpffs));
}

TEST_F(Restart, DetachIsRefusedWhileLbdRuns) {
  serve_web({kOne});
  const Finished done = run(lbd_->command("detach"));
  EXPECT_EQ(done.code, 1);
  EXPECT_THAT(done.err, HasSubstr(std::to_string(lbd_->pid())));
  EXPECT_EQ(ask(kWeb), "1");
}

TEST_F(Restart, DetachLeavesNothing) {
  serve_web({kOne});
  const auto attached = [&] {
    return run({"bpftool", "cgroup", "show", sandbox_->cgroup(), "effective"}).out;
  };
  EXPECT_THAT(attached(), HasSubstr("lb_connect4"));
  // Programs of other lbds on this machine are none of this test's business.
  const auto programs = [] { return run({"bpftool", "prog", "show"}).out; };
  const auto count = [&] {
    const std::string text = programs();
    int n = 0;
    for (auto at = text.find(" name lb_"); at != std::string::npos;
         at = text.find(" name lb_", at + 1))
      ++n;
    return n;
  };
  const int with = count();
  lbd_->kill();
  const Finished done = run(lbd_->command("detach"));
  EXPECT_EQ(done.code, 0) << done.err;
  EXPECT_TRUE(eventually([] { return ask(kWeb) == "errno 111"; }));
  EXPECT_FALSE(std::filesystem::exists(lbd_->bpffs));
  EXPECT_TRUE(eventually([&] { return attached().find("lb_") == std::string::npos; }))
      << attached();
  EXPECT_TRUE(eventually([&] { return count() < with; })) << programs();
  EXPECT_EQ(run(lbd_->command("detach")).code, 0) << "nothing to do is no error";
}

TEST_F(Restart, NothingChangedWritesNothing) {
  serve_web({kOne, kTwo});
  EXPECT_EQ(lbd_->stop(), 0);
  std::filesystem::remove(file("lbd.log"));
  ASSERT_TRUE(lbd_->start());
  ASSERT_TRUE(eventually([&] { return lbd_->log().find("snapshot") != std::string::npos; }));
  ASSERT_TRUE(becomes("web", "ok"));
  EXPECT_THAT(lbd_->log(), Not(HasSubstr("applied"))) << lbd_->log();
}

TEST_F(Restart, ReloadTakesNewSourcesAndRefusesABrokenFile) {
  serve_web({kOne});
  replace_file(file("more.toml"), service_toml("api", "127.0.0.1:5001", {kTwo}));
  lbd_->configure(file_source() + "[[source]]\ntype = \"file\"\npath = \"" + file("more.toml") +
                  "\"\n");
  lbd_->reload();
  EXPECT_TRUE(becomes("api", "ok"));
  lbd_->configure("[[source]\n");
  lbd_->reload();
  EXPECT_TRUE(eventually([&] { return lbd_->log().find("reload rejected") != std::string::npos; }));
  EXPECT_THAT(lbd_->log(), HasSubstr("lbd.toml:1:"));
  EXPECT_EQ(ask(kWeb), "1");
  EXPECT_EQ(ask("127.0.0.1:5001"), "2");
}

}  // namespace
}  // namespace lb::test
