// What must not be taken for an order: a source that has another name, half a file, a moment without a
// backend. None of it may cost a connect.
#include <gmock/gmock.h>

#include <chrono>
#include <filesystem>
#include <fstream>

#include "netns/daemon/fixture.h"

namespace lb::test {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Key;
using testing::UnorderedElementsAre;

using Absence = DaemonNetns;

std::string unnamed_source(const std::string& path) {
  return "[[source]]\ntype = \"file\"\npath = \"" + path + "\"\n";
}

TEST_F(Absence, ASourceWhoseFirstLocatorChangedKeepsItsServicesByReloadAndByRestart) {
  write_services(service_toml("web", kWeb, {kOne}));
  lbd_->configure(unnamed_source(services_path()));
  ASSERT_TRUE(lbd_->start());
  ASSERT_TRUE(becomes("web", "ok"));
  Load load(kWeb, 1ms);
  lbd_->configure(unnamed_source(file("elsewhere.toml")));
  lbd_->reload();
  const auto fails = [&] {
    const std::string sources = lbd_->json({"sources"});
    return json_at(sources, "/sources/0/name") == "file:" + file("elsewhere.toml") &&
           json_at(sources, "/sources/0/state") == "failing";
  };
  ASSERT_TRUE(eventually(fails)) << lbd_->json({"sources"});
  EXPECT_EQ(lbd_->service("web").condition, "ok");
  EXPECT_EQ(lbd_->stop(), 0);
  lbd_->configure(unnamed_source(file("nowhere.toml")));
  ASSERT_TRUE(lbd_->start());
  EXPECT_EQ(lbd_->service("web").condition, "ok");
  replace_file(file("nowhere.toml"), service_toml("web", kWeb, {kTwo}));
  EXPECT_TRUE(eventually([] { return ask(kWeb) == "2"; }));
  load.stop();
  EXPECT_EQ(load.failed(), 0) << "of " << load.made();
}

TEST_F(Absence, AFileRewrittenInPlaceLineByLineLosesNothing) {
  std::filesystem::create_directory(file("services.d"));
  std::vector<std::string> lines;
  for (int port = 5000; port < 5100; ++port)
    lines.push_back(
        service_toml("s" + std::to_string(port), "127.0.0.1:" + std::to_string(port), {kOne}));
  const auto write_all = [&](std::chrono::milliseconds pause, bool open_for_each) {
    std::ofstream out(file("services.d/a.toml"), std::ios::trunc);
    for (std::size_t i = 0; i < lines.size(); ++i) {
      if (open_for_each) {
        out.close();
        out.open(file("services.d/a.toml"), std::ios::app);
      }
      out << lines[i] << std::flush;
      // Another file of the folder changes meanwhile.
      if (i % 20 == 0)
        replace_file(file("services.d/b.toml"),
                     service_toml("b", "127.0.0.1:6000", {i % 40 == 0 ? kTwo : kThree}));
      std::this_thread::sleep_for(pause);
    }
  };
  write_all(0ms, false);
  lbd_->configure(file_source(file("services.d")));
  ASSERT_TRUE(lbd_->start());
  ASSERT_TRUE(becomes("s5099", "ok"));
  Load load("127.0.0.1:5099", 1ms);
  write_all(10ms, false);
  write_all(10ms, true);
  load.stop();
  EXPECT_EQ(load.failed(), 0) << "of " << load.made();
  // What is gone when the writer is done is gone.
  lines.pop_back();
  write_all(0ms, false);
  EXPECT_TRUE(becomes("s5099", "(none)"));
  EXPECT_EQ(lbd_->service("s5098").condition, "ok");
}

TEST_F(Absence, AnEmptiedFolderIsAnOrderThatIsLoggedOrHeld) {
  std::filesystem::create_directory(file("services.d"));
  const std::string path = file("services.d/a.toml");
  const std::string all = service_toml("web", kWeb, {kOne, kTwo, kThree});
  replace_file(path, all);
  lbd_->configure(file_source(file("services.d")));
  ASSERT_TRUE(lbd_->start());
  ASSERT_TRUE(becomes("web", "ok"));
  std::filesystem::remove(path);
  EXPECT_TRUE(becomes("web", "(none)"));
  EXPECT_THAT(lbd_->log(), HasSubstr("3 of 3 backends leave at once"));
  replace_file(path, all);
  ASSERT_TRUE(becomes("web", "ok"));
  lbd_->configure("[guard]\nfiles = true\n" + file_source(file("services.d")));
  lbd_->reload();
  ASSERT_TRUE(eventually([&] { return lbd_->log().find("reloaded") != std::string::npos; }));
  std::filesystem::remove(path);
  ASSERT_TRUE(eventually([&] { return json_size(lbd_->json({"status"}), "/held") == 1; }));
  EXPECT_EQ(lbd_->service("web").condition, "ok");
  EXPECT_EQ(lbd_->ctl({"resync", "--accept", "file"}).code, 0);
  EXPECT_TRUE(becomes("web", "(none)"));
}

TEST_F(Absence, ADrainOutlivesAMomentWithoutItsBackend) {
  serve_web({kOne, kTwo});
  ASSERT_EQ(lbd_->ctl({"drain", kOne}).code, 0);
  write_services(service_toml("web", kWeb, {kTwo}));
  ASSERT_TRUE(is_gone("web", kOne));
  write_services(service_toml("web", kWeb, {kOne, kTwo}));
  ASSERT_TRUE(backend_becomes("web", kOne, "draining"));
  EXPECT_EQ(lbd_->backend("web", kOne).reason, "operator");
  EXPECT_THAT(ask_often(kWeb, 40), UnorderedElementsAre(Key("2")));
  EXPECT_EQ(lbd_->ctl({"undrain", kOne}).code, 0);
  EXPECT_TRUE(backend_becomes("web", kOne, "active"));
}

}  // namespace
}  // namespace lb::test
