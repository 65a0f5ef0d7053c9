// Services from files: what an edit, a deletion and a broken file mean for those who connect.
#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include "netns/daemon/fixture.h"
#include "netns/daemon/nginx.h"

namespace lb::test {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Key;
using testing::UnorderedElementsAre;

class FileServices : public DaemonNetns {
 protected:
  std::string source_error() const { return json_at(lbd_->json({"sources"}), "/sources/0/error"); }
  std::string source_state() const { return json_at(lbd_->json({"sources"}), "/sources/0/state"); }
  bool source_fails_with(const std::string& text) {
    return eventually([&] { return source_error().find(text) != std::string::npos; });
  }
};

TEST_F(FileServices, CurlIsBalancedOverAllBackends) {
  const Nginx nginx(file("nginx"), {7101, 7102, 7103});
  // Not least-conn: a server that closes late, on a busy machine, rightly gets less.
  write_services(service_toml("web", kWeb, {"127.0.0.1:7101", "127.0.0.1:7102", "127.0.0.1:7103"},
                              "balance = \"random\""));
  lbd_->configure(file_source());
  ASSERT_TRUE(lbd_->start());
  ASSERT_TRUE(becomes("web", "ok"));
  // Sixty: that one of the three is never chosen happens once in ten thousand million times.
  Command curl{"curl", "-s", "-H", "Connection: close", "-w", "\n"};
  for (int i = 0; i < 60; ++i) curl.emplace_back("http://127.0.0.1:5000/port");
  std::istringstream answers(run(curl).out);
  std::map<std::string, int> each;
  for (std::string port; answers >> port;) ++each[port];
  EXPECT_THAT(each, UnorderedElementsAre(Key("7101"), Key("7102"), Key("7103")));
}

TEST_F(FileServices, EditByRenameMovesNewConnections) {
  serve_web({kOne});
  write_services(service_toml("web", kWeb, {kTwo}));
  EXPECT_TRUE(eventually([] { return ask(kWeb) == "2"; }));
  EXPECT_THAT(ask_often(kWeb, 20), UnorderedElementsAre(Key("2")));
}

TEST_F(FileServices, FileDeletedFromAFolderIsBelieved) {
  std::filesystem::create_directory(file("services.d"));
  replace_file(file("services.d/a.toml"), service_toml("web", kWeb, {kOne}));
  replace_file(file("services.d/b.toml"), service_toml("api", "127.0.0.1:5001", {kTwo}));
  lbd_->configure(file_source(file("services.d")));
  ASSERT_TRUE(lbd_->start());
  ASSERT_TRUE(becomes("web", "ok") && becomes("api", "ok"));
  std::filesystem::remove(file("services.d/a.toml"));
  EXPECT_TRUE(eventually([] { return ask(kWeb) == "errno 111"; }));
  EXPECT_TRUE(becomes("web", "(none)"));
  EXPECT_EQ(ask("127.0.0.1:5001"), "2");
  EXPECT_EQ(source_state(), "ok");
}

TEST_F(FileServices, SingleFileDeletedKeepsTheLastGood) {
  serve_web({kOne});
  std::filesystem::remove(services_path());
  EXPECT_TRUE(source_fails_with(services_path()));
  EXPECT_EQ(source_state(), "failing");
  EXPECT_EQ(ask(kWeb), "1");
  write_services(service_toml("web", kWeb, {kTwo}));
  EXPECT_TRUE(eventually([] { return ask(kWeb) == "2"; }));
  EXPECT_TRUE(eventually([&] { return source_state() == "ok"; }));
}

TEST_F(FileServices, ZeroByteFileKeepsTheLastGood) {
  serve_web({kOne});
  std::ofstream(services_path(), std::ios::trunc).close();
  EXPECT_TRUE(source_fails_with(services_path()));
  EXPECT_EQ(ask(kWeb), "1");
}

TEST_F(FileServices, BrokenFileKeepsTheLastGoodAndNamesLineAndColumn) {
  serve_web({kOne});
  write_services("[[service]]\nname = \"web\"\nlisten = \"127.0.0.1:70000\"\nbackends = []\n");
  EXPECT_TRUE(source_fails_with(services_path() + ":3:")) << source_error();
  write_services("[[service]]\nname = \"web\n");
  EXPECT_TRUE(source_fails_with(services_path() + ":2:")) << source_error();
  write_services(service_toml("web", kWeb, {kTwo}, "colour = \"red\""));
  EXPECT_TRUE(source_fails_with("colour")) << source_error();
  EXPECT_THAT(source_error(), HasSubstr(services_path() + ":5:"));
  write_services(
      "[[service]]\nname = \"web\"\nlisten = \"127.0.0.1:5000\"\n"
      "backends = [ { address = \"127.0.0.1:7002\", weight = 65536 } ]\n");
  EXPECT_TRUE(source_fails_with(services_path() + ":4:")) << source_error();
  EXPECT_EQ(ask(kWeb), "1");
}

TEST_F(FileServices, BrokenFileInAFolderKeepsItsServicesAlsoAfterARestart) {
  std::filesystem::create_directory(file("services.d"));
  replace_file(file("services.d/a.toml"), service_toml("web", kWeb, {kOne}));
  replace_file(file("services.d/b.toml"), service_toml("api", "127.0.0.1:5001", {kTwo}));
  lbd_->configure(file_source(file("services.d")));
  ASSERT_TRUE(lbd_->start());
  ASSERT_TRUE(becomes("web", "ok") && becomes("api", "ok"));
  replace_file(file("services.d/a.toml"), "[[service]\n");
  EXPECT_TRUE(eventually([&] {
    return lbd_->json({"sources"}).find("services.d/a.toml:1:") != std::string::npos;
  })) << lbd_->json({"sources"});
  EXPECT_EQ(ask(kWeb), "1");
  EXPECT_EQ(lbd_->stop(), 0);
  ASSERT_TRUE(lbd_->start());
  ASSERT_TRUE(eventually(
      [&] { return lbd_->json({"sources"}).find("services.d/a.toml:1:") != std::string::npos; }));
  replace_file(file("services.d/b.toml"), service_toml("api", "127.0.0.1:5001", {kThree}));
  EXPECT_TRUE(eventually([] { return ask("127.0.0.1:5001") == "3"; }));
  EXPECT_EQ(ask(kWeb), "1");
  EXPECT_EQ(lbd_->service("web").condition, "ok");
}

TEST_F(FileServices, BackendThatLeavesKeepsItsConnection) {
  serve_web({kOne});
  const UniqueFd client = connect_to(kWeb);
  EXPECT_EQ(read_all_now(client), "1");
  write_services(service_toml("web", kWeb, {kTwo}));
  ASSERT_TRUE(backend_becomes("web", kOne, "draining"));
  const ListedBackend leaving = lbd_->backend("web", kOne);
  EXPECT_EQ(leaving.reason, "source");
  EXPECT_EQ(leaving.active, 1);
  EXPECT_EQ(leaving.effective_weight, 0);
  EXPECT_THAT(ask_often(kWeb, 20), UnorderedElementsAre(Key("2")));
  EXPECT_EQ(::send(client.get(), "x", 1, MSG_NOSIGNAL), 1);
  EXPECT_EQ(lbd_->backend("web", kOne).active, 1);
  ::shutdown(client.get(), SHUT_WR);
  EXPECT_EQ(read_all_now(client), "");
  EXPECT_TRUE(is_gone("web", kOne));
}

TEST_F(FileServices, ServiceRemovedWhileAConnectionRunsKeepsIt) {
  serve_web({kOne, kTwo});
  UniqueFd client = connect_to(kWeb);
  const std::string greeting = read_all_now(client);
  write_services(service_toml("other", "127.0.0.1:5001", {kThree}));
  EXPECT_TRUE(eventually([] { return ask(kWeb) == "errno 111"; }));
  EXPECT_TRUE(eventually([] { return ask("127.0.0.1:5001") == "3"; }));
  const ListedService leaving = lbd_->service("web");
  ASSERT_FALSE(leaving.backends.empty());
  EXPECT_EQ(lbd_->backend("web", greeting == "1" ? kOne : kTwo).active, 1);
  for (const ListedBackend& backend : leaving.backends) EXPECT_EQ(backend.state, "draining");
  EXPECT_EQ(peer_of(client), kWeb);
  EXPECT_EQ(::send(client.get(), "x", 1, MSG_NOSIGNAL), 1);
  client.reset();
  EXPECT_TRUE(becomes("web", "(none)"));
}

TEST_F(FileServices, ServiceWithoutBackendsIsListedAndRefuses) {
  serve_web({kOne});
  write_services(service_toml("web", kWeb, {}));
  EXPECT_TRUE(becomes("web", "no-backends"));
  EXPECT_EQ(ask(kWeb), "errno 111");
}

TEST_F(FileServices, EmptyListOfServicesIsBelieved) {
  serve_web({kOne});
  write_services("# all gone\n");
  EXPECT_TRUE(becomes("web", "(none)"));
  EXPECT_EQ(source_state(), "ok");
}

}  // namespace
}  // namespace lb::test
