// A backend whose connects fail is out until news of it arrive.
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <cerrno>
#include <future>
#include <thread>
#include <vector>

#include "netns/merlion/fixture.h"

namespace lb::test {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr auto kDead = "127.0.0.1:7010";

class MerlionExited : public MerlionNetns {
 protected:
  [[nodiscard]] static std::string state_key(const std::string& name) {
    return fmt::format("{}/backends/aaa/{}", kState, name);
  }
  bool publishes(const std::string& name, const std::string& value,
                 std::chrono::milliseconds patience = 1s) {
    return eventually([&] { return keys_->get(state_key(name)) == value; }, patience);
  }
  // The one backend is down, a client has met it, and etcd says so.
  void meet_a_dead_backend() {
    configure();
    set("state-etcd-prefix", kState);
    add("aaa", kDead);
    ASSERT_NO_FATAL_FAILURE(start());
    ASSERT_TRUE(publishes("unavailable", "false", 5s));
    EXPECT_EQ(ask(kListen), "errno 111");
    ASSERT_TRUE(turns(kDead, "exited"));
  }
  WallTime exited_at() {
    const auto text = keys_->get(state_key("exited-at"));
    return WallTime(std::chrono::milliseconds(text ? std::stoll(*text) : 0));
  }
};

TEST_P(MerlionExited, ComesBackOnlyWithANewerLastSeenAt) {
  configure();
  add("aaa", kDead);
  ASSERT_NO_FATAL_FAILURE(start());
  EXPECT_EQ(ask(kListen), "errno 111");
  ASSERT_TRUE(turns(kDead, "exited"));
  const Server server(kDead, "aaa");
  EXPECT_EQ(ask(kListen), "errno 111");
  touch("aaa", now(-1min));
  std::this_thread::sleep_for(500ms);
  EXPECT_EQ(ask(kListen), "errno 111");
  EXPECT_EQ(state_of(kDead), "exited");
  touch("aaa");
  EXPECT_TRUE(eventually([] { return ask(kListen) == "aaa"; }));
}

TEST_P(MerlionExited, StateIsPublishedOnChange) {
  const auto begin = std::chrono::system_clock::now();
  ASSERT_NO_FATAL_FAILURE(meet_a_dead_backend());
  // 50 ms in Merlion's own test. Here the machine may be slow, but nobody waits for a poll.
  EXPECT_TRUE(publishes("unavailable", "true"));
  const auto seen = keys_->get(state_key("last-seen-at"));
  const auto reason = keys_->get(state_key("exit-reason"));
  ASSERT_TRUE(seen && reason);
  EXPECT_GT(exited_at().time_since_epoch() / 1ms, std::stoll(*seen));
  EXPECT_GE(exited_at(), std::chrono::floor<std::chrono::milliseconds>(begin));
  EXPECT_LE(exited_at(), std::chrono::system_clock::now());
  EXPECT_THAT(*reason, HasSubstr(kDead));
}

TEST_P(MerlionExited, ReadmissionIsPublished) {
  ASSERT_NO_FATAL_FAILURE(meet_a_dead_backend());
  EXPECT_TRUE(publishes("unavailable", "true"));
  const Server server(kDead, "aaa");
  touch("aaa");
  ASSERT_TRUE(turns(kDead, "active"));
  EXPECT_TRUE(publishes("unavailable", "false"));
}

TEST_P(MerlionExited, EqualLastSeenAtAndExitedAtIsAvailable) {
  ASSERT_NO_FATAL_FAILURE(meet_a_dead_backend());
  ASSERT_TRUE(publishes("unavailable", "true"));
  const Server server(kDead, "aaa");
  touch("aaa", iso(exited_at() - 1ms));
  std::this_thread::sleep_for(300ms);
  EXPECT_EQ(state_of(kDead), "exited");
  touch("aaa", iso(exited_at()));
  EXPECT_TRUE(turns(kDead, "active"));
  EXPECT_EQ(ask(kListen), "aaa");
}

TEST_P(MerlionExited, AStatePrefixThatIsWatchedIsRefused) {
  ASSERT_NO_FATAL_FAILURE(serve_three());
  for (const std::string& inside : {std::string(kUpstream) + "/states", std::string(kSite)}) {
    set("state-etcd-prefix", inside);
    EXPECT_TRUE(warns_of(std::string(kSite) + "/state-etcd-prefix")) << source("warnings");
    std::this_thread::sleep_for(300ms);
    EXPECT_TRUE(keys_->list(inside + "/backends").empty());
    EXPECT_THAT(who(), ElementsAre("1", "2", "3"));
    unset("state-etcd-prefix");
    EXPECT_TRUE(eventually([&] { return source("warnings") == "[]"; })) << source("warnings");
  }
}

TEST_P(MerlionExited, OthersServeAndTheOneThatFailsIsLeft) {
  configure();
  add("a", kOne);
  add("b", kTwo);
  // Another host: whether somebody listens there is found out by connecting only.
  run_or_throw({"ip", "address", "add", "10.99.0.1/32", "dev", "lo"});
  add("x", "10.99.0.1:7010");
  ASSERT_NO_FATAL_FAILURE(start());
  for (int i = 0; i < 100 && state_of("10.99.0.1:7010") != "exited"; ++i) (void)ask(kListen);
  EXPECT_TRUE(turns("10.99.0.1:7010", "exited"));
  EXPECT_THAT(who(), ElementsAre("1", "2"));
}

TEST_P(MerlionExited, ConnectionsOfTheFailedBackendGoOn) {
  configure();
  auto server = std::make_unique<Server>("127.0.0.1:7011", "x");
  add("aaa", "127.0.0.1:7011");
  ASSERT_NO_FATAL_FAILURE(start());
  const UniqueFd client = connect_to(kListen);
  ASSERT_TRUE(client);
  EXPECT_EQ(read_all_now(client), "x");
  // The listener goes away while one of its connections stays.
  const UniqueFd listener = listen_on("127.0.0.1:7012");
  keys_->put(key("aaa", "listen-address"), "127.0.0.1:7012");
  ASSERT_TRUE(turns("127.0.0.1:7012", "active"));
  const UniqueFd kept = connect_to(kListen);
  const UniqueFd accepted(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  ASSERT_TRUE(accepted);
  ::shutdown(listener.get(), SHUT_RDWR);
  EXPECT_EQ(ask(kListen), "errno 111");
  ASSERT_TRUE(turns("127.0.0.1:7012", "exited"));
  ASSERT_EQ(::write(accepted.get(), "more", 4), 4);
  EXPECT_EQ(read_all_now(kept), "more");
  EXPECT_EQ(lbd_->backend("site", "127.0.0.1:7012").active, 1);
}

// A client of the local host that makes its own connects time out: no answer has so many hops left.
int connect_in_vain(std::string_view to) {
  const UniqueFd client = open_socket(AF_INET, SOCK_STREAM);
  set_option(client, IPPROTO_IP, IP_MINTTL, 255);
  set_option(client, IPPROTO_TCP, TCP_USER_TIMEOUT, 50);
  return try_connect(client, to);
}

TEST_P(MerlionExited, NobodyIsOutForWhatAClientDoesToItself) {
  configure();
  add("a", kOne);
  add("b", kTwo);
  ASSERT_NO_FATAL_FAILURE(start());
  for (int round = 0; round < 8; ++round) {
    std::vector<std::future<int>> clients;
    for (int i = 0; i < 8; ++i)
      clients.push_back(std::async(std::launch::async, [] { return connect_in_vain(kListen); }));
    for (auto& client : clients) ASSERT_EQ(client.get(), ETIMEDOUT);
    EXPECT_EQ(state_of(kOne), "active");
    EXPECT_EQ(state_of(kTwo), "active");
    EXPECT_THAT(who(), ElementsAre("1", "2"));
  }
}

// Of a backend elsewhere, that lbd cannot reach either.
TEST_P(MerlionExited, AClientThatTimesOutMakesLbdLookForItself) {
  configure();
  add("a", kOne);
  run_or_throw({"ip", "address", "add", "10.99.0.1/32", "dev", "lo"});
  add("x", "10.99.0.1:7010");
  run_or_throw({"nft",
                "add table ip t; add chain ip t in { type filter hook input priority 0; }; "
                "add rule ip t in tcp dport 7010 drop"});
  ASSERT_NO_FATAL_FAILURE(start());
  for (int i = 0; i < 100 && state_of("10.99.0.1:7010") == "active"; ++i)
    (void)connect_in_vain(kListen);
  EXPECT_TRUE(turns("10.99.0.1:7010", "exited", 15s));
  EXPECT_THAT(who(), ElementsAre("1"));
}

INSTANTIATE_TEST_SUITE_P(Etcd, MerlionExited, testing::ValuesIn(kStores), store_name);

}  // namespace
}  // namespace lb::test
