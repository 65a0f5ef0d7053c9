// Backends with a uid: what becomes of connections when another user takes the port of one that has died.
#include <gmock/gmock.h>

#include <chrono>
#include <map>
#include <thread>

#include <fmt/format.h>

#include "netns/daemon/as_user.h"
#include "netns/daemon/fixture.h"
#include "support/patience.h"

namespace lb::test {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Key;
using testing::Not;

constexpr int kOwner = 54'321, kIntruder = 54'322;  // no users of this machine
constexpr auto kOwned = "127.0.0.1:7101";
constexpr auto kRefused = "errno 111";

class PortOwner : public DaemonNetns {
 protected:
  static std::string owned(std::string_view address, std::string_view uid) {
    return fmt::format("{{ address = \"{}\", uid = {} }}", address, uid);
  }
  static std::string web(const std::string& backends, std::string_view more = "") {
    return fmt::format("[[service]]\nname = \"web\"\nlisten = \"{}\"\nbackends = [ {} ]\n{}\n",
                       kWeb, backends, more);
  }
  void serve(const std::string& services) {
    write_services(services);
    lbd_->configure(file_source());
    ASSERT_TRUE(lbd_->start());
  }
  void serve_alices() {
    alice_ = server_of(kOwner, kOwned, "alice");
    serve(web(owned(kOwned, std::to_string(kOwner))));
    ASSERT_TRUE(becomes("web", "ok"));
    ASSERT_EQ(ask(kWeb), "alice");
  }
  std::string text() const { return json_at(lbd_->json({"list"}), "/services/0/backends/0/text"); }
  // Of any backend.
  bool says(std::string_view words) {
    return eventually([&] { return lbd_->json({"list"}).find(words) != std::string::npos; });
  }
  // Over more than one look.
  static std::map<std::string, int> ask_for_a_while(std::string_view to) {
    std::map<std::string, int> answers;
    const auto end = std::chrono::steady_clock::now() + 700ms;
    while (std::chrono::steady_clock::now() < end) {
      ++answers[ask(to)];
      std::this_thread::sleep_for(5ms);
    }
    return answers;
  }

  std::unique_ptr<Server> alice_, mallory_;
};

TEST_F(PortOwner, AnotherUserAtADeadBackendsPortGetsNothing) {
  serve_alices();
  alice_.reset();
  ASSERT_TRUE(says("nothing listens on the port, wants uid 54321"));
  mallory_ = server_of(kIntruder, kOwned, "mallory");
  ASSERT_EQ(ask(kOwned), "mallory") << "he is there";
  EXPECT_THAT(ask_for_a_while(kWeb), ElementsAre(Key(kRefused)));
  ASSERT_TRUE(says("port is held by uid 54322, wants uid 54321"));
  EXPECT_EQ(lbd_->backend("web", kOwned).state, "down");
  EXPECT_EQ(lbd_->backend("web", kOwned).reason, "owner");
  EXPECT_EQ(lbd_->service("web").condition, "no-backends");
  EXPECT_THAT(lbd_->ctl({"list"}).err, HasSubstr("port is held by uid 54322, wants uid 54321"));
  EXPECT_THAT(lbd_->json({"explain", kWeb}), HasSubstr("port is held by uid 54322"));
  EXPECT_THAT(lbd_->log(), HasSubstr("audit=port-owner-wrong who=\"uid=54322\""));
  mallory_.reset();
  alice_ = server_of(kOwner, kOwned, "alice");
  EXPECT_TRUE(eventually([] { return ask(kWeb) == "alice"; }));
  EXPECT_EQ(text(), "");
  EXPECT_THAT(lbd_->log(), HasSubstr("audit=port-owner-back"));
}

// No look sees the port free in between.
TEST_F(PortOwner, AnotherUserThatTakesThePortAtOnceIsSeenByTheNextLook) {
  alice_ = server_of(kOwner, kOwned, "alice");
  serve(web(owned(kOwned, std::to_string(kOwner)) + fmt::format(", {{ address = \"{}\" }}", kOne)));
  ASSERT_TRUE(becomes("web", "ok"));
  ASSERT_TRUE(eventually([] { return ask(kWeb) == "alice"; }));
  alice_.reset();
  mallory_ = server_of(kIntruder, kOwned, "mallory");
  const auto taken = std::chrono::steady_clock::now();
  ASSERT_TRUE(says("port is held by uid 54322"));
  EXPECT_LE(std::chrono::steady_clock::now() - taken, promised(500ms));
  EXPECT_THAT(ask_for_a_while(kWeb), ElementsAre(Key("1")));
  EXPECT_EQ(lbd_->service("web").condition, "ok");
}

TEST_F(PortOwner, WildcardsOfAnotherUserAreSeen) {
  serve_alices();
  alice_.reset();
  ASSERT_TRUE(says("nothing listens"));
  mallory_ = server_of(kIntruder, "0.0.0.0:7101", "mallory");
  EXPECT_TRUE(says("port is held by uid 54322"));
  EXPECT_EQ(ask(kWeb), kRefused);
  mallory_.reset();
  ASSERT_TRUE(says("nothing listens"));
  const UniqueFd dual_stack = [] {
    const AsUser mallory(kIntruder);
    return open_socket(AF_INET6, SOCK_STREAM);
  }();
  const SocketName everywhere = to_name(address("[::]:7101"));
  ASSERT_EQ(::bind(dual_stack.get(), everywhere.get(), everywhere.length), 0);
  ASSERT_EQ(::listen(dual_stack.get(), 8), 0);
  EXPECT_TRUE(says("port is held by uid 54322"));
  EXPECT_EQ(ask(kWeb), kRefused);
}

TEST_F(PortOwner, NeitherLastResortNorFailOpenGoesToAnotherUser) {
  mallory_ = server_of(kIntruder, kOwned, "mallory");
  serve(web(owned(kOwned, std::to_string(kOwner)),
            "health = { interval = \"100ms\", fall = 1, port = 7199 }"));  // nothing is there
  ASSERT_TRUE(says("port is held by uid 54322"));
  EXPECT_THAT(ask_for_a_while(kWeb), ElementsAre(Key(kRefused)));
  EXPECT_EQ(lbd_->service("web").condition, "no-backends");
  mallory_.reset();
  alice_ = server_of(kOwner, kOwned, "alice");
  EXPECT_TRUE(becomes("web", "fail-open")) << "her own backend may be used though it looks down";
  EXPECT_EQ(ask(kWeb), "alice");
}

TEST_F(PortOwner, AfterARestartAnotherUserGetsNothingFromTheStart) {
  serve_alices();
  lbd_->kill();
  alice_.reset();
  mallory_ = server_of(kIntruder, kOwned, "mallory");
  ASSERT_TRUE(lbd_->start());
  EXPECT_THAT(ask_for_a_while(kWeb), ElementsAre(Key(kRefused)));
}

TEST_F(PortOwner, NamesAreReadAndShown) {
  const auto nobody = server_of(65'534, kOwned, "nobody");
  serve(web(owned(kOwned, "\"daemon\"")));
  EXPECT_TRUE(says("port is held by uid 65534 (nobody), wants uid 1 (daemon)")) << text();
  EXPECT_EQ(json_at(lbd_->json({"list"}), "/services/0/backends/0/uid"), "1");
}

TEST_F(PortOwner, OfUdpCountsWhoIsBound) {
  const auto bind_as = [](int uid) {
    const AsUser user(uid);
    return bind_udp(kOwned);
  };
  UniqueFd bound = bind_as(kOwner);
  serve(
      fmt::format("[[service]]\nname = \"dns\"\nlisten = \"udp://127.0.0.1:5300\"\nbackends = [ "
                  "{} ]\n",
                  owned(kOwned, std::to_string(kOwner))));
  ASSERT_TRUE(becomes("dns", "ok"));
  bound.reset();
  bound = bind_as(kIntruder);
  EXPECT_TRUE(says("port is held by uid 54322"));
  EXPECT_TRUE(becomes("dns", "no-backends"));
}

TEST_F(PortOwner, AnAddressOfAnotherHostIsNamed) {
  serve(web(owned("10.99.0.1:7101", std::to_string(kOwner))));
  EXPECT_TRUE(becomes("web", "no-backends"));
  EXPECT_THAT(json_at(lbd_->json({"status"}), "/warnings/0"),
              HasSubstr(services_path() +
                        ": service web (tcp://127.0.0.1:5000): backend 10.99.0.1:7101 gets no new "
                        "connections: uid is for backends at an address of this host"));
}

TEST_F(PortOwner, AUserThatIsNotThereIsAnErrorOfTheFile) {
  serve_alices();
  write_services(web(owned(kOwned, "\"no-such-user\"")));
  EXPECT_TRUE(eventually([&] {
    return json_at(lbd_->json({"sources"}), "/sources/0/error")
               .find("service.backends.uid: this host has no user 'no-such-user'") !=
           std::string::npos;
  }));
  EXPECT_EQ(ask(kWeb), "alice") << "what the file said last stays";
}

TEST_F(PortOwner, WithoutAUidTheUserDoesNotMatter) {
  alice_ = server_of(kOwner, kOwned, "alice");
  serve(web(fmt::format("{{ address = \"{}\" }}", kOwned)));
  ASSERT_TRUE(becomes("web", "ok"));
  alice_.reset();
  mallory_ = server_of(kIntruder, kOwned, "mallory");
  EXPECT_EQ(ask(kWeb), "mallory");
  EXPECT_THAT(lbd_->log(), Not(HasSubstr("port-owner")));
}

}  // namespace
}  // namespace lb::test
