// The real client against the real server, over a real socket.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <thread>

#include <boost/asio/post.hpp>

#include "api/server.h"
#include "support/fake_control.h"
#include "tools/lbctl/env.h"

namespace lb::lbctl {
namespace {

class System : public testing::Test {
 protected:
  System() {
    char name[] = "/tmp/lbd-ctl-XXXXXX";
    folder = ::mkdtemp(name);
    socket = folder + "/lbd.sock";
  }
  ~System() override { std::filesystem::remove_all(folder); }

  std::string folder, socket;
  Env env = system_env();
};

TEST_F(System, FetchesFromTheServer) {
  asio::io_context io{1};
  test::FakeControl control;
  auto server = ApiServer::open(io, socket, control);
  ASSERT_TRUE(server) << server.error().message();
  std::thread loop([&] { io.run(); });
  const auto got = env.fetch(socket, {"GET", "/v1/explain?to=udp%3A%2F%2F%5B%3A%3A1%5D%3A53", ""});
  const auto posted = env.fetch(socket, {"POST", "/v1/drains", R"({"target":"node2"})"});
  const auto removed = env.fetch(socket, {"DELETE", "/v1/drains?target=nobody", ""});
  asio::post(io, [&] { server->stop(); });
  loop.join();
  ASSERT_TRUE(got && posted && removed);
  EXPECT_EQ(got->status, 200);
  EXPECT_NE(got->body.find("\"protocol\":\"udp\""), std::string::npos) << got->body;
  EXPECT_EQ(posted->status, 200);
  EXPECT_EQ(control.drains.at(0).what.target, "node2");
  EXPECT_EQ(removed->status, 404);
}

TEST_F(System, NobodyThereIsTheSystemsError) {
  const auto answer = env.fetch(socket, {"GET", "/v1/status", ""});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, std::errc::no_such_file_or_directory) << answer.error().message();
}

TEST_F(System, APathThatIsTooLongIsAnErrorToo) {
  EXPECT_FALSE(env.fetch("/" + std::string(300, 'x'), {"GET", "/v1/status", ""}));
}

TEST_F(System, LooksAtThisHost) {
  const HostFacts facts = env.look_at_host();
  EXPECT_FALSE(facts.kernel.empty());
  EXPECT_FALSE(facts.mounts.empty());
  EXPECT_EQ(facts.hooks.size(), 12U);
}

}  // namespace
}  // namespace lb::lbctl
