// What Merlion's own test suite demands of it, case by case. Where no backend is usable, Merlion lets
// clients hang; lbd refuses them at once.
#include <cerrno>
#include <thread>

#include "netns/merlion/file_server.h"
#include "netns/merlion/fixture.h"
#include "support/patience.h"

namespace lb::test {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kSlow = 100;  // bytes a second
const Download kRefused{.error = ECONNREFUSED, .content = {}};

class MerlionCase : public MerlionNetns {
 protected:
  // One backend that takes about four seconds to send all of it.
  void serve_slowly() {
    slow_ = excerpt(4 * kSlow);
    server_ = std::make_unique<FileServer>("127.0.0.1:7010", slow_, kSlow);
    configure();
    add("aaa", "127.0.0.1:7010");
    start();
  }
  [[nodiscard]] Download all_of_it() const { return {.error = 0, .content = slow_}; }

  std::string slow_;
  std::unique_ptr<FileServer> server_;
};

TEST_P(MerlionCase, Download) {
  const std::string content = excerpt(200'000);
  const FileServer server("127.0.0.1:7010", content);
  configure();
  add("aaa", "127.0.0.1:7010");
  ASSERT_NO_FATAL_FAILURE(start());
  EXPECT_EQ(download(kListen, 5s), (Download{.error = 0, .content = content}));
}

TEST_P(MerlionCase, SlowDownload) {
  ASSERT_NO_FATAL_FAILURE(serve_slowly());
  EXPECT_EQ(download(kListen, 20s), all_of_it());
}

TEST_P(MerlionCase, QuitServerWhileATransferRuns) {
  ASSERT_NO_FATAL_FAILURE(serve_slowly());
  auto transfer = start_download(kListen);
  std::this_thread::sleep_for(1s);
  EXPECT_EQ(lbd_->stop(), 0);
  EXPECT_EQ(transfer.get(), all_of_it());
}

TEST_P(MerlionCase, QuitBackendWhileATransferRuns) {
  ASSERT_NO_FATAL_FAILURE(serve_slowly());
  auto transfer = start_download(kListen);
  std::this_thread::sleep_for(1s);
  drop("aaa");
  EXPECT_TRUE(turns("127.0.0.1:7010", "draining"));
  EXPECT_EQ(transfer.get(), all_of_it());
  EXPECT_TRUE(is_gone("site", "127.0.0.1:7010"));
}

TEST_P(MerlionCase, NoBackendIsRefusedAtOnce) {
  configure();
  ASSERT_NO_FATAL_FAILURE(start("no-backends"));
  const auto begin = Clock::now();
  EXPECT_EQ(download(kListen, 5s), kRefused);
  EXPECT_LT(Clock::now() - begin, 1s);
}

TEST_P(MerlionCase, DeletedBackendIsRefusedAtOnce) {
  configure();
  add("aaa", kOne);
  ASSERT_NO_FATAL_FAILURE(start());
  EXPECT_EQ(ask(kListen), "1");
  drop("aaa");
  EXPECT_TRUE(eventually([] { return ask(kListen) == "errno 111"; }, promised(500ms)));
}

TEST_P(MerlionCase, ChangedListener) {
  configure();
  add("aaa", kOne);
  ASSERT_NO_FATAL_FAILURE(start());
  EXPECT_EQ(ask(kListen), "1");
  set("listen-address", "127.0.0.1:8081");
  EXPECT_TRUE(eventually([] { return ask("127.0.0.1:8081") == "1"; }, promised(500ms)));
  EXPECT_EQ(ask(kListen), "errno 111");
}

TEST_P(MerlionCase, ChangedListenerInterruptsNoTransfer) {
  ASSERT_NO_FATAL_FAILURE(serve_slowly());
  auto transfer = start_download(kListen);
  std::this_thread::sleep_for(1s);
  set("listen-address", "127.0.0.1:8081");
  EXPECT_TRUE(eventually([] { return static_cast<bool>(connect_to("127.0.0.1:8081")); }));
  EXPECT_EQ(transfer.get(), all_of_it());
}

TEST_P(MerlionCase, StaleBackendIsExcommunicated) {
  configure();
  add("aaa", kOne);
  add("bbb", kTwo);
  ASSERT_NO_FATAL_FAILURE(start());
  EXPECT_THAT(who(), ElementsAre("1", "2"));
  touch("aaa");
  set("upstream-freshness", "3");
  std::this_thread::sleep_for(1800ms);
  touch("bbb");
  std::this_thread::sleep_for(1800ms);
  EXPECT_THAT(ask_often(kListen, 10), ElementsAre(testing::Pair("2", 10)));
  EXPECT_EQ(state_of(kOne), "stale");
}

INSTANTIATE_TEST_SUITE_P(Etcd, MerlionCase, testing::ValuesIn(kStores), store_name);

}  // namespace
}  // namespace lb::test
