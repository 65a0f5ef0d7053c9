// Messages are those that etcd 3.4.23 sent, shortened.
#include "etcd/v3_watch_codec.h"

#include <gtest/gtest.h>

#include <cerrno>

#include <fmt/format.h>

#include "base/text.h"

namespace lb::etcd {
namespace {

TEST(EtcdCodec, ReadsCreatedProgressAndEvents) {
  const auto created = parse_watch_message(
      R"({"result":{"header":{"cluster_id":"9","revision":"3"},"created":true,"watch_id":"1"}})");
  EXPECT_TRUE(created.value().created);
  EXPECT_EQ(created.value().watch_id, 1);
  const auto put = parse_watch_message(
      R"({"result":{"header":{"cluster_id":"9","revision":"4"},"events":[{"kv":{"key":"L3N2Yy9h",
      "create_revision":"2","mod_revision":"4","version":"2","value":"djI="}}]}})");
  ASSERT_EQ(put.value().events.size(), 1U);
  EXPECT_FALSE(put->events[0].is_delete);
  EXPECT_EQ(put->events[0].kv.value, "v2");
  EXPECT_FALSE(put->events[0].previous);
  const auto gone = parse_watch_message(
      R"({"result":{"header":{"revision":"5"},"events":[{"type":"DELETE","kv":{"key":"L3N2Yy9i",
      "mod_revision":"5"},"prev_kv":{"key":"L3N2Yy9i","mod_revision":"3","lease":"77"}}]}})");
  ASSERT_EQ(gone.value().events.size(), 1U);
  EXPECT_TRUE(gone->events[0].is_delete);
  EXPECT_EQ(gone->events[0].previous.value().lease, 77);
  const auto progress = parse_watch_message(R"({"result":{"header":{"revision":"10"}}})");
  EXPECT_EQ(progress.value().header.revision, 10);
  EXPECT_FALSE(progress->created);
}

TEST(EtcdCodec, ReadsHowWatchesEnd) {
  const auto compacted = parse_watch_message(
      R"({"result":{"header":{"cluster_id":"9"},"canceled":true,"compact_revision":"4"}})");
  EXPECT_TRUE(compacted.value().canceled);
  EXPECT_EQ(compacted->compact_revision, 4);
  const auto denied = parse_watch_message(
      R"({"result":{"watch_id":"-1","created":true,"canceled":true,"cancel_reason":"denied"}})");
  EXPECT_TRUE(denied.value().created && denied->canceled);
  EXPECT_EQ(denied->reason, "denied");
  const auto error = parse_watch_message(
      R"({"error":{"grpc_code":14,"http_code":503,"message":"etcdserver: no leader"}})");
  EXPECT_TRUE(error.value().canceled);
  EXPECT_EQ(error->reason, "etcdserver: no leader");
  EXPECT_TRUE(parse_watch_message("{}").value().canceled);
  for (const char* bad :
       {"", "<html>", R"({"result":{"events":[{}]}})", R"({"result":{"events":7}})"})
    EXPECT_FALSE(parse_watch_message(bad)) << bad;
}

constexpr std::uint64_t kCluster = 9;

std::string created(std::int64_t revision, std::uint64_t cluster = kCluster) {
  return fmt::format(
      R"({{"result":{{"header":{{"cluster_id":"{}","revision":"{}"}},"created":true}}}})"
      "\n",
      cluster, revision);
}

// Puts of these keys, all at `revision`.
std::string puts(std::int64_t revision, const std::vector<std::string>& keys,
                 const std::string& more = {}) {
  std::string events;
  for (const auto& key : keys)
    events += fmt::format(R"({}{{"kv":{{"key":"{}","mod_revision":"{}"}}}})",
                          events.empty() ? "" : ",", base64_encode(key), revision);
  return fmt::format(
      R"({{"result":{{"header":{{"cluster_id":"9","revision":"{}"}},{}"events":[{}]}}}})"
      "\n",
      revision, more, events);
}

std::string keys_of(const Batch& batch) {
  std::string out;
  for (const Event& event : batch.events)
    out += fmt::format("{}{}@{}", out.empty() ? "" : " ", event.kv.key, event.kv.mod_revision);
  return out;
}

class Assembler : public testing::Test {
 protected:
  Result<> feed(const std::string& bytes) { return watch_.feed(bytes); }
  int refused(const std::string& bytes) {
    const auto fed = feed(bytes);
    return fed ? 0 : fed.error().code.value();
  }
  WatchAssembler watch_{kCluster, {{"/a/", 4}, {"/b/", 6}}, 1000};
};

TEST_F(Assembler, IsConfirmedWhenEveryWatchIs) {
  EXPECT_FALSE(watch_.confirmed());
  ASSERT_TRUE(feed(created(5)));
  EXPECT_FALSE(watch_.confirmed());
  ASSERT_TRUE(feed(created(5)));
  EXPECT_TRUE(watch_.confirmed());
  EXPECT_FALSE(watch_.next()) << "a confirmation is no progress: its revision is the store's";
  EXPECT_EQ(refused(created(5)), EBADMSG);
}

TEST_F(Assembler, RefusesAnOlderOrAnotherCluster) {
  EXPECT_EQ(refused(created(2)), ESTALE);
  WatchAssembler other(kCluster, {{"/a/", 4}}, 1000);
  EXPECT_EQ(other.feed(created(5, 8)).error().code.value(), ESTALE);
  WatchAssembler later(kCluster, {{"/a/", 4}}, 1000);
  ASSERT_TRUE(later.feed(created(3)));
  EXPECT_EQ(later
                .feed(R"({"result":{"header":{"cluster_id":"8","revision":"9"}}})"
                      "\n")
                .error()
                .code.value(),
            ESTALE);
}

TEST_F(Assembler, MakesOneBatchOfWhatArrivedTogetherByRevision) {
  ASSERT_TRUE(feed(puts(5, {"/a/1", "/a/2"}) + puts(7, {"/a/1"}, R"("watch_id":"0",)") +
                   puts(6, {"/b/1"}, R"("watch_id":"1",)")));
  const auto batch = watch_.next();
  ASSERT_TRUE(batch);
  EXPECT_EQ(keys_of(*batch), "/a/1@5 /a/2@5 /b/1@6 /a/1@7");
  EXPECT_EQ(batch->header, (Header{kCluster, 7}));
  EXPECT_FALSE(watch_.next());
}

TEST_F(Assembler, TellsProgressByABatchWithoutEvents) {
  ASSERT_TRUE(feed(R"({"result":{"header":{"cluster_id":"9","revision":"10"}}})"
                   "\n"));
  const auto batch = watch_.next();
  ASSERT_TRUE(batch);
  EXPECT_TRUE(batch->events.empty());
  EXPECT_EQ(batch->header.revision, 10);
}

TEST_F(Assembler, HoldsFragmentsBackUntilTheTransactionIsWhole) {
  const std::string part = R"("fragment":true,)";
  ASSERT_TRUE(feed(puts(5, {"/a/1"}, part)));
  EXPECT_FALSE(watch_.next());
  ASSERT_TRUE(feed(puts(5, {"/a/2"}, part)));
  EXPECT_FALSE(watch_.next());
  ASSERT_TRUE(feed(puts(5, {"/a/3"})));
  const auto batch = watch_.next();
  ASSERT_TRUE(batch);
  EXPECT_EQ(keys_of(*batch), "/a/1@5 /a/2@5 /a/3@5");
  ASSERT_TRUE(feed(puts(6, {"/a/4"})));
  EXPECT_EQ(keys_of(watch_.next().value()), "/a/4@6");
}

TEST_F(Assembler, HoldsFragmentsOfEachWatchApart) {
  ASSERT_TRUE(feed(puts(5, {"/a/1"}, R"("watch_id":"0","fragment":true,)") +
                   puts(5, {"/b/1"}, R"("watch_id":"1",)")));
  EXPECT_FALSE(watch_.next()) << "the other half of the same transaction";
  ASSERT_TRUE(feed(puts(5, {"/a/2"})));
  EXPECT_EQ(keys_of(watch_.next().value()), "/b/1@5 /a/1@5 /a/2@5");
}

// Once a stack overflow, at each start again: who has etcd's port while it is down can send this.
TEST(EtcdCodec, RefusesBracketsWithinBracketsWhereverTheyAre) {
  const std::string nested = std::string(100'000, '[') + std::string(100'000, ']');
  WatchAssembler watch(kCluster, {{"/a/", 4}}, std::size_t{64} << 20);
  for (const std::string& line : {nested, R"({"x":)" + nested + "}", R"({"error":)" + nested + "}",
                                  R"({"result":)" + nested + "}"}) {
    const auto fed = watch.feed(line + "\n");
    ASSERT_FALSE(fed);
    EXPECT_EQ(fed.error().code.value(), EBADMSG);
    EXPECT_LT(fed.error().context.size(), 500U);
    EXPECT_FALSE(parse_range(line));
    EXPECT_FALSE(parse_token(line));
    EXPECT_LT(parse_refusal(500, line).error.context.size(), 500U);
  }
}

TEST_F(Assembler, RefusesFragmentsWithoutEnd) {
  const std::string part = puts(5, {"/a/1"}, R"("fragment":true,)");
  Result<> fed;
  for (std::size_t sent = 0; fed && sent < 2000; sent += part.size()) fed = feed(part);
  ASSERT_FALSE(fed);
  EXPECT_EQ(fed.error().code.value(), EMSGSIZE);
  EXPECT_NE(fed.error().context.find("fragments of more than 1000 bytes"), std::string::npos);
}

TEST_F(Assembler, CountsNothingOfTransactionsThatAreWhole) {
  for (int i = 1; i < 30; ++i) {
    ASSERT_TRUE(feed(puts(i, {"/a/1"}, R"("fragment":true,)") + puts(i, {"/a/2"})));
    ASSERT_TRUE(watch_.next());
  }
}

TEST_F(Assembler, LooksAtWhatCameBeforeTheEnd) {
  EXPECT_EQ(watch_.end().code.value(), ECONNRESET);
  ASSERT_TRUE(feed("<html>"));
  EXPECT_EQ(watch_.end().code.value(), EBADMSG);
  WatchAssembler other(kCluster, {{"/a/", 4}}, 1000);
  ASSERT_TRUE(other.feed(R"({"error":{"grpc_code":14,"message":"etcdserver: no leader"}})"));
  EXPECT_EQ(other.end().code.value(), EREMOTEIO);
}

struct EndCase {
  const char* name;
  const char* line;
  int code;
  const char* text;
  bool token = false;
};
class WatchEnds : public testing::TestWithParam<EndCase> {};

TEST_P(WatchEnds, SayWhy) {
  const auto& c = GetParam();
  WatchAssembler watch(kCluster, {{"/a/", 4}}, 1000);
  std::string line = c.line;
  std::erase(line, '\n');  // raw strings are wrapped here, lines of etcd are not
  const auto fed = watch.feed(line + "\n");
  ASSERT_FALSE(fed);
  EXPECT_EQ(fed.error().code.value(), c.code) << fed.error().message();
  EXPECT_NE(fed.error().context.find(c.text), std::string::npos) << fed.error().context;
  EXPECT_EQ(watch.wants_token(), c.token);
}
INSTANTIATE_TEST_SUITE_P(
    Cases, WatchEnds,
    testing::Values(
        EndCase{"compacted",
                R"({"result":{"header":{"cluster_id":"9","member_id":"1","raft_term":"2"},
                "canceled":true,"compact_revision":"4"}})",
                ESTALE, "compacted (up to 4)"},
        EndCase{"denied",
                R"({"result":{"header":{"cluster_id":"9"},"watch_id":"-1","created":true,
                "canceled":true,"cancel_reason":
                "rpc error: code = PermissionDenied desc = etcdserver: permission denied"}})",
                EACCES, "permission denied", true},
        EndCase{"old_token",
                R"({"result":{"watch_id":"-1","created":true,"canceled":true,"cancel_reason":
                "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token"}})",
                EACCES, "invalid auth token", true},
        EndCase{"no_token",
                R"({"result":{"watch_id":"-1","created":true,"canceled":true,"cancel_reason":
                "rpc error: code = InvalidArgument desc = etcdserver: user name is empty"}})",
                EACCES, "user name is empty", true},
        EndCase{"reason", R"({"result":{"canceled":true,"cancel_reason":"too busy"}})", EREMOTEIO,
                "etcd ended the watch: too busy"},
        EndCase{"no_reason", R"({"result":{"canceled":true}})", EREMOTEIO, "gave no reason"},
        EndCase{"no_leader",
                R"({"error":{"grpc_code":14,"http_code":503,"message":"etcdserver: no leader",
                "http_status":"Service Unavailable"}})",
                EREMOTEIO, "etcdserver: no leader"},
        // ETIMEDOUT would say that the watch goes on.
        EndCase{"timed_out", R"({"error":{"grpc_code":4,"message":"context deadline exceeded"}})",
                EREMOTEIO, "deadline"},
        EndCase{"unauthenticated", R"({"error":{"grpc_code":16,"message":"who?"}})", EACCES, "who?",
                true},
        EndCase{"html", "<html>", EBADMSG, "is this etcd?"},
        EndCase{"cut", R"({"result":{"header")", EBADMSG, "is this etcd?"},
        EndCase{"empty_object", "{}", EREMOTEIO, "neither result nor error"}),
    [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace lb::etcd
