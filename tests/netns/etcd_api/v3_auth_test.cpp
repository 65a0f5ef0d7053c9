// User, password and tokens, with a real etcd.
#include <cerrno>
#include <thread>

#include <nlohmann/json.hpp>

#include "netns/etcd_api/v3_fixture.h"

namespace lb::etcd {
namespace {

class V3Users : public V3Test {
 protected:
  void SetUp() override {
    V3Test::SetUp();
    if (!sandbox_) return;
    test::EtcdOptions options;
    options.auth = true;
    options.readable = {"/r/"};
    options.writable = {"/w/"};
    // Keeps a token that is not used for so long: the tests outlast it.
    options.flags = {"--auth-token-ttl", "2"};
    start(std::move(options));
  }
  // As root.
  void change_password(const std::string& password) {
    test::HttpCall call;
    const auto login =
        call("POST", url() + "/v3/auth/authenticate", R"({"name":"root","password":"root"})");
    const auto token = nlohmann::json::parse(login.body).at("token").get<std::string>();
    const auto reply = call("POST", url() + "/v3/auth/user/changepw",
                            nlohmann::json{{"name", "lbd"}, {"password", password}}.dump(),
                            {"Authorization: " + token});
    ASSERT_TRUE(reply.ok()) << reply.error << reply.body;
  }
};

TEST_F(V3Users, ReadsAndWritesWhatTheUserMay) {
  EXPECT_TRUE(run(api().list(url(), "/r/")));
  EXPECT_TRUE(run(api().put(url(), "/w/1", "x", {})));
  EXPECT_TRUE(run(api().create(url(), "/w/2", "x", {})).value());
  EXPECT_EQ(list("/w/").kvs.size(), 2U);
  EXPECT_TRUE(fails(run(api().put(url(), "/r/1", "x", {})), EACCES,
                    {url(), "put /r/1", "permission denied"}));
  EXPECT_TRUE(fails(run(api().list(url(), "/other/")), EACCES,
                    {url(), "range of /other/", "permission denied"}));
  const Header header = list("/r/").header;
  EXPECT_TRUE(fails(run(api().watch(url(), header.cluster, {{"/other/", header.revision + 1}})),
                    EACCES, {url(), "watch /other/", "permission denied"}));
  EXPECT_NE(watch("/r/", header.revision + 1, header.cluster), nullptr);
}

TEST_F(V3Users, RenewsATokenThatHasExpired) {
  EXPECT_TRUE(run(api().put(url(), "/w/1", "x", {})));
  const Header header = list("/w/").header;
  std::this_thread::sleep_for(5s);  // longer than --auth-token-ttl, which etcd checks each second
  EXPECT_TRUE(run(api().put(url(), "/w/1", "y", {})));
  std::this_thread::sleep_for(5s);
  const auto opened = watch("/w/", header.revision + 1, header.cluster);
  ASSERT_NE(opened, nullptr);
  EXPECT_EQ(read(*opened).value().events.at(0).kv.value, "y");
}

TEST_F(V3Users, FollowsAChangedPassword) {
  EXPECT_TRUE(run(api().list(url(), "/r/")));
  change_password("another");
  EXPECT_TRUE(fails(run(api().list(url(), "/r/")), EACCES,
                    {url(), "user 'lbd'", password_file(), "invalid user ID or password"}));
  set_password("another");
  EXPECT_TRUE(run(api().list(url(), "/r/")));
}

TEST_F(V3Users, SaysThatThePasswordIsWrong) {
  set_password("wrong-one");
  const auto refused = run(api().list(url(), "/r/"));
  EXPECT_TRUE(fails(refused, EACCES, {url(), "user 'lbd'", password_file()}));
  EXPECT_EQ(refused.error().message().find("wrong-one"), std::string::npos);
}

TEST_F(V3Users, SaysThatAUserIsMissing) {
  access_.username.clear();
  EXPECT_TRUE(fails(run(api().list(url(), "/r/")), EACCES,
                    {url(), "user name is empty", "set `username` and `password_file`"}));
  EXPECT_TRUE(fails(run(api().watch(url(), 1, {{"/r/", 1}})), EACCES, {url(), "watch /r/"}));
}

using V3NoAuth = V3Test;

TEST_F(V3NoAuth, GoesOnWithoutATokenAndWithOneOnceItIsWanted) {
  start();
  set_password("secret");
  access_.username = "lbd";
  access_.password_file = password_file();
  EXPECT_TRUE(run(api().list(url(), "/r/")));
  test::HttpCall call;
  for (const auto& [path, body] :
       {std::pair("/user/add", R"({"name":"root","password":"root"})"),
        std::pair("/user/grant", R"({"user":"root","role":"root"})"),
        std::pair("/user/add", R"({"name":"lbd","password":"secret"})"),
        std::pair("/user/grant", R"({"user":"lbd","role":"root"})"), std::pair("/enable", "{}")})
    ASSERT_TRUE(call("POST", url() + "/v3/auth" + path, body).ok()) << path;
  EXPECT_TRUE(run(api().list(url(), "/r/")));
}

}  // namespace
}  // namespace lb::etcd
