// Draining by the operator: what lbctl promises, with real transfers.
#include <gmock/gmock.h>

#include <chrono>

#include "netns/daemon/fixture.h"
#include "netns/daemon/nginx.h"
#include "support/patience.h"

namespace lb::test {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Key;
using testing::UnorderedElementsAre;

class OperatorDrain : public DaemonNetns {
 protected:
  int connections_in(const Finished& done) {
    return std::atoi(json_at(done.out, "/connections").c_str());
  }
  // A connection to this backend of "web".
  UniqueFd hold(std::string_view greeting) {
    for (int i = 0; i < 100; ++i)
      if (UniqueFd client = connect_to(kWeb); read_all_now(client) == greeting) return client;
    ADD_FAILURE() << "nothing from " << greeting;
    return {};
  }
  static bool ended(const UniqueFd& client) {
    char byte = 0;
    const ssize_t n = ::recv(client.get(), &byte, 1, MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN);
  }
};

TEST_F(OperatorDrain, SlowDownloadCompletesAndNothingNewGoesThere) {
  const Nginx nginx(file("nginx"), {7101, 7102});
  const std::string content = nginx.add_slow_file("big", 512 * 1024);
  serve_web({"127.0.0.1:7101"});
  Process download({"curl", "-s", "-o", file("big"), "http://127.0.0.1:5000/slow/big"},
                   file("curl.log"));
  ASSERT_TRUE(eventually([&] { return lbd_->backend("web", "127.0.0.1:7101").active == 1; }));
  write_services(service_toml("web", kWeb, {"127.0.0.1:7101", "127.0.0.1:7102"}));
  ASSERT_TRUE(backend_becomes("web", "127.0.0.1:7102", "active"));

  const Finished drained = lbd_->ctl({"drain", "127.0.0.1:7101", "--json"});
  EXPECT_EQ(drained.code, 0) << drained.err;
  EXPECT_EQ(connections_in(drained), 1);
  for (int i = 0; i < 20; ++i)
    EXPECT_EQ(run({"curl", "-s", "http://127.0.0.1:5000/port"}).out, "7102");
  EXPECT_EQ(nginx.requests(7101), 0) << "the download is not finished, and nothing else came";

  const Finished waited = lbd_->ctl({"drain", "127.0.0.1:7101", "--wait"});
  EXPECT_EQ(waited.code, 0) << waited.err;
  EXPECT_EQ(download.wait(2s), 0);
  EXPECT_EQ(read_text(file("big")), content);
  EXPECT_EQ(nginx.requests(7101), 1);
  EXPECT_EQ(lbd_->backend("web", "127.0.0.1:7101").state, "draining") << "stays listed";
}

TEST_F(OperatorDrain, WaitReturnsSoonAfterTheLastConnectionEnds) {
  serve_web({kOne, kTwo});
  UniqueFd client = hold("1");
  Process waiting({program("lbctl"), "--socket", lbd_->socket(), "drain", kOne, "--wait"},
                  file("lbctl.log"));
  ASSERT_TRUE(backend_becomes("web", kOne, "draining"));
  EXPECT_FALSE(waiting.wait(600ms)) << waiting.log();
  const auto closed = std::chrono::steady_clock::now();
  client.reset();
  EXPECT_EQ(waiting.wait(), 0);
  EXPECT_LT(std::chrono::steady_clock::now() - closed, promised(1s));
  EXPECT_THAT(waiting.log(), HasSubstr("1 connection left"));
}

TEST_F(OperatorDrain, TimeoutBoundsTheWaitAloneAndTheDrainStays) {
  serve_web({kOne, kTwo});
  const UniqueFd client = hold("1");
  const Finished done = lbd_->ctl({"drain", kOne, "--wait", "--timeout", "300ms"});
  EXPECT_EQ(done.code, 4);
  EXPECT_THAT(done.err, HasSubstr("timed out"));
  EXPECT_EQ(lbd_->backend("web", kOne).state, "draining");
  EXPECT_EQ(lbd_->backend("web", kOne).reason, "operator");
  EXPECT_FALSE(ended(client));
  EXPECT_THAT(ask_often(kWeb, 20), UnorderedElementsAre(Key("2")));
}

TEST_F(OperatorDrain, TerminateEndsWhatIsLeftAtTheTimeout) {
  serve_web({kOne, kTwo});
  const UniqueFd client = hold("1");
  const UniqueFd other = hold("2");
  const UniqueFd direct = connect_to(kOne);
  EXPECT_EQ(read_all_now(direct), "1");
  const Finished done = lbd_->ctl({"drain", kOne, "--wait", "--terminate", "--timeout", "300ms"});
  EXPECT_EQ(done.code, 0) << done.err;
  EXPECT_TRUE(eventually([&] { return ended(client); }));
  EXPECT_FALSE(ended(other));
  EXPECT_FALSE(ended(direct)) << "lbd did not steer it";
}

TEST_F(OperatorDrain, TerminateWithoutTimeoutTakesTheConfiguredOne) {
  serve_web({kOne, kTwo}, "[drain]\ntimeout = \"400ms\"\n");
  const UniqueFd client = hold("1");
  EXPECT_EQ(lbd_->ctl({"drain", kOne, "--terminate"}).code, 0);
  EXPECT_FALSE(ended(client));
  EXPECT_NE(json_at(lbd_->json({"status"}), "/drains/0/terminate_at"), "null");
  EXPECT_TRUE(eventually([&] { return ended(client); }));
}

TEST_F(OperatorDrain, BackendIsChosenNoMoreOnceTheCommandHasReturned) {
  serve_web({kOne, kTwo, kThree});
  Load first, second;
  ASSERT_TRUE(eventually([&] { return lbd_->backend("web", kOne).total > 100; }));
  for (const auto* backend : {kOne, kTwo}) {
    ASSERT_EQ(lbd_->ctl({"drain", backend}).code, 0);
    const auto total = lbd_->backend("web", backend).total;
    const int made = first.made();
    ASSERT_TRUE(eventually([&] { return first.made() > made + 500; }));
    EXPECT_EQ(lbd_->backend("web", backend).total, total);
  }
  first.stop();
  second.stop();
  EXPECT_EQ(first.failed() + second.failed(), 0);
}

TEST_F(OperatorDrain, RepeatingSucceedsAndKeepsTheTime) {
  serve_web({kOne, kTwo});
  EXPECT_EQ(lbd_->ctl({"drain", kOne}).code, 0);
  const std::string since = json_at(lbd_->json({"status"}), "/drains/0/since");
  EXPECT_EQ(lbd_->ctl({"drain", kOne}).code, 0);
  EXPECT_EQ(json_at(lbd_->json({"status"}), "/drains/0/since"), since);
  EXPECT_EQ(json_size(lbd_->json({"status"}), "/drains"), 1);
}

TEST_F(OperatorDrain, UnknownTargetIsAnError) {
  serve_web({kOne});
  for (const Command& words :
       {Command{"drain", "127.0.0.1:7009"}, Command{"drain", "nowhere"},
        Command{"drain", kOne, "--service", "nothing"}, Command{"undrain", kOne}}) {
    const Finished done = lbd_->ctl(words);
    EXPECT_EQ(done.code, 1) << words[0] << " " << words[1];
    EXPECT_NE(done.err, "");
    EXPECT_EQ(done.out, "");
  }
  EXPECT_EQ(lbd_->ctl({"drain", "127.0.0.1:99999"}).code, 1);
}

TEST_F(OperatorDrain, SurvivesSigkillAndRestart) {
  serve_web({kOne, kTwo});
  UniqueFd client = hold("1");
  ASSERT_EQ(lbd_->ctl({"drain", kOne}).code, 0);
  lbd_->kill();
  EXPECT_THAT(ask_often(kWeb, 20), UnorderedElementsAre(Key("2"))) << "while lbd is dead";
  ASSERT_TRUE(lbd_->start());
  EXPECT_THAT(ask_often(kWeb, 20), UnorderedElementsAre(Key("2")));
  const ListedBackend drained = lbd_->backend("web", kOne);
  EXPECT_EQ(drained.state, "draining");
  EXPECT_EQ(drained.reason, "operator");
  EXPECT_EQ(drained.active, 1);
  client.reset();
  EXPECT_EQ(lbd_->ctl({"drain", kOne, "--wait", "--timeout", "5s"}).code, 0);
}

TEST_F(OperatorDrain, UndrainPutsTheBackendBackIntoUse) {
  serve_web({kOne, kTwo});
  ASSERT_EQ(lbd_->ctl({"drain", kOne}).code, 0);
  EXPECT_EQ(lbd_->ctl({"undrain", kOne}).code, 0);
  EXPECT_THAT(ask_often(kWeb, 20), UnorderedElementsAre(Key("1"), Key("2")));
  EXPECT_EQ(lbd_->backend("web", kOne).state, "active");
  EXPECT_EQ(json_size(lbd_->json({"status"}), "/drains"), 0);
}

TEST_F(OperatorDrain, OfAHostCoversItsFutureBackends) {
  Server far("127.0.0.2:7004", "4"), later("127.0.0.2:7005", "5");
  serve_web({kOne, "127.0.0.2:7004"});
  ASSERT_EQ(lbd_->ctl({"drain", "127.0.0.2"}).code, 0);
  EXPECT_THAT(ask_often(kWeb, 10), UnorderedElementsAre(Key("1")));
  write_services(service_toml("web", kWeb, {kOne, "127.0.0.2:7004", "127.0.0.2:7005"}));
  ASSERT_TRUE(backend_becomes("web", "127.0.0.2:7005", "draining"));
  EXPECT_EQ(lbd_->backend("web", "127.0.0.2:7005").reason, "operator");
  // It outlives the backends that it covered.
  write_services(service_toml("web", kWeb, {kOne}));
  ASSERT_TRUE(is_gone("web", "127.0.0.2:7005"));
  write_services(service_toml("web", kWeb, {kOne, "127.0.0.2:7005"}));
  ASSERT_TRUE(backend_becomes("web", "127.0.0.2:7005", "draining"));
  EXPECT_THAT(ask_often(kWeb, 10), UnorderedElementsAre(Key("1")));
  EXPECT_EQ(lbd_->ctl({"undrain", "127.0.0.2"}).code, 0);
  EXPECT_THAT(ask_often(kWeb, 10), UnorderedElementsAre(Key("1"), Key("5")));
}

// A file that is edited lacks a backend for a moment: the order rests, and is in force when it is back.
TEST_F(OperatorDrain, OfAnAddressOutlivesAMomentInWhichTheBackendIsNotListed) {
  serve_web({kOne, kTwo});
  ASSERT_EQ(lbd_->ctl({"drain", kOne}).code, 0);
  write_services(service_toml("web", kWeb, {kTwo}));
  ASSERT_TRUE(is_gone("web", kOne));
  write_services(service_toml("web", kWeb, {kOne, kTwo}));
  EXPECT_TRUE(backend_becomes("web", kOne, "draining"));
  EXPECT_THAT(ask_often(kWeb, 20), UnorderedElementsAre(Key("2")));
  EXPECT_EQ(lbd_->ctl({"undrain", kOne}).code, 0);
  EXPECT_TRUE(backend_becomes("web", kOne, "active"));
}

TEST_F(OperatorDrain, OfOneServiceLeavesTheOthersAlone) {
  write_services(service_toml("web", kWeb, {kOne, kTwo}) +
                 service_toml("api", "127.0.0.1:5001", {kOne, kTwo}));
  lbd_->configure(file_source());
  ASSERT_TRUE(lbd_->start());
  ASSERT_TRUE(becomes("web", "ok") && becomes("api", "ok"));
  ASSERT_EQ(lbd_->ctl({"drain", kOne, "--service", "web"}).code, 0);
  EXPECT_THAT(ask_often(kWeb, 20), UnorderedElementsAre(Key("2")));
  EXPECT_THAT(ask_often("127.0.0.1:5001", 20), UnorderedElementsAre(Key("1"), Key("2")));
}

TEST_F(OperatorDrain, DrainedBackendIsNoLastResort) {
  serve_web({kOne});
  ASSERT_EQ(lbd_->ctl({"drain", kOne}).code, 0);
  EXPECT_EQ(ask(kWeb), "errno 111");
  EXPECT_EQ(lbd_->service("web").condition, "no-backends");
}

}  // namespace
}  // namespace lb::test
