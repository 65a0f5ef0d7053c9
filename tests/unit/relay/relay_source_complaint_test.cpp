#include "relay/complaint.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "relay/redial.h"
#include "unit/relay/times.h"

namespace lb::relay {
namespace {

using namespace std::chrono_literals;

const HostPort kUpdater{"updater1", 7676};

Trouble trouble(int code, const std::string& context, Stage stage = Stage::Up) {
  return explain(kUpdater, fail(code, context).value(), stage);
}

TEST(Trouble, NamesTheUpdaterAsItIsConfigured) {
  EXPECT_EQ(trouble(ECONNREFUSED, "connect", Stage::Dial).text,
            "updater updater1:7676: connect: Connection refused");
  EXPECT_EQ(to_string(HostPort{"::1", 7676}), "[::1]:7676");
}

TEST(Trouble, OneThatIsAwayIsNoFault) {
  for (const int code : {ECONNREFUSED, ECONNRESET, ETIMEDOUT, EHOSTUNREACH, ENODATA, EPIPE})
    EXPECT_FALSE(trouble(code, "x").fault) << code;
}

TEST(Trouble, OneThatSpeaksSomethingElseIsAFaultWithAdvice) {
  for (const int code : {EPROTO, EKEYREJECTED, EBADMSG, EMSGSIZE})
    EXPECT_TRUE(trouble(code, "x").fault) << code;
  EXPECT_NE(trouble(EBADMSG, "a message ...").text.find("is that port an lbd updater"),
            std::string::npos);
  EXPECT_NE(trouble(ETIMEDOUT, "nothing was heard", Stage::Hello).text.find("says nothing"),
            std::string::npos);
}

TEST(Trouble, AFileThatCannotBeReadIsAFault) {
  EXPECT_TRUE(
      explain(kUpdater, fail("/etc/lbd/ca.pem: no certificate").value(), Stage::Dial).fault);
  EXPECT_TRUE(trouble(ENOENT, "open /etc/lbd/ca.pem", Stage::Dial).fault);
}

TEST(Trouble, NamesAFewOfManyUpdaters) {
  EXPECT_EQ(nobody_feeds({"a", "b"}), "no updater feeds: a; b");
  EXPECT_EQ(nobody_feeds({"a", "b", "c", "d", "e"}), "no updater feeds: a; b; c; and 2 more");
}

TEST(Trouble, WarnsOfPlainTextBeyondLoopback) {
  EXPECT_TRUE(plain_text({{"127.0.0.1", 1}, {"localhost", 1}, {"::1", 1}}).empty());
  const auto warnings = plain_text({kUpdater, {"127.0.0.1", 1}, {"10.0.0.1", 7676}});
  ASSERT_EQ(warnings.size(), 2U);
  EXPECT_EQ(warnings[0].find("updater updater1:7676 is talked to in plain text"), 0U);
}

TEST(Complaint, TellsAFaultAtOnceAndInTheSameWords) {
  Complaint complaint;
  EXPECT_FALSE(complaint.warning(kStart));
  complaint.failed({"garbage 1", true}, kStart);
  EXPECT_EQ(complaint.warning(kStart), "garbage 1");
  complaint.failed({"garbage 2", true}, kStart + 5s);
  complaint.failed({"refused", false}, kStart + 6s);
  EXPECT_EQ(complaint.warning(kStart + 6s), "garbage 1");
}

TEST(Complaint, TellsOfOneThatIsAwayWhenThatLasts) {
  Complaint complaint;
  complaint.failed({"refused", false}, kStart);
  EXPECT_FALSE(complaint.warning(kStart + 14s));
  EXPECT_EQ(complaint.next(kStart + 14s), kStart + 15s);
  EXPECT_EQ(complaint.warning(kStart + 15s), "refused");
  EXPECT_FALSE(complaint.next(kStart + 15s));
  complaint.failed({"timed out", false}, kStart + 16s);
  EXPECT_EQ(complaint.warning(kStart + 16s), "refused");
  complaint.connected(kStart + 20s);
  EXPECT_FALSE(complaint.warning(kStart + 20s));
}

TEST(Complaint, BelievesThatAFaultHasPassedWhenTheConnectionLasts) {
  Complaint complaint;
  complaint.failed({"garbage", true}, kStart);
  complaint.connected(kStart + 1s);  // says hello, and then garbage again
  EXPECT_EQ(complaint.warning(kStart + 2s), "garbage");
  complaint.failed({"other garbage", true}, kStart + 2s);
  EXPECT_EQ(complaint.warning(kStart + 2s), "garbage");
  complaint.connected(kStart + 3s);
  EXPECT_EQ(complaint.next(kStart + 3s), kStart + 18s);
  EXPECT_FALSE(complaint.warning(kStart + 18s));
  EXPECT_FALSE(complaint.next(kStart + 18s));
}

TEST(Complaint, AFaultTakesTheWordFromAnAbsence) {
  Complaint complaint;
  complaint.failed({"refused", false}, kStart);
  complaint.failed({"speaks HTTP", true}, kStart + 1s);
  EXPECT_EQ(complaint.warning(kStart + 1s), "speaks HTTP");
}

TEST(Redial, BacksOffFromAFifthOfASecondToFive) {
  for (const double random : {0.0, 0.5, 0.999}) {
    Redial redial;
    auto before = 0ms;
    for (int i = 0; i < 40; ++i) {
      const auto pause = redial.failed(random);
      EXPECT_GE(pause, Redial::kShortest);
      EXPECT_LE(pause, Redial::kLongest);
      EXPECT_GE(pause, before);
      before = pause;
    }
    EXPECT_GE(before, Redial::kLongest / 2);
    redial.succeeded();
    EXPECT_LE(redial.failed(random), 2 * Redial::kShortest);
  }
}

}  // namespace
}  // namespace lb::relay
