// Listings of many pages and watches, of a real etcd.
#include <algorithm>
#include <cerrno>
#include <map>

#include <fmt/format.h>

#include "base/text.h"
#include "netns/etcd_api/v3_fixture.h"

namespace lb::etcd {
namespace {

class V3Reads : public V3Test {
 protected:
  std::string key(int i) { return fmt::format("/svc/{:05}", i); }
  void put_many(int from, int to, const std::string& value) {
    std::map<std::string, std::string> values;
    for (int i = from; i < to; ++i) values[key(i)] = value;
    keys_->put_many(values);
  }
  // One transaction of `count` puts of `size` bytes each, over HTTP as etcd takes it.
  void put_transaction(int count, std::size_t size) {
    std::string puts;
    const std::string value = base64_encode(std::string(size, 'x'));
    for (int i = 0; i < count; ++i)
      puts += fmt::format(R"({}{{"request_put":{{"key":"{}","value":"{}"}}}})",
                          puts.empty() ? "" : ",", base64_encode(key(i)), value);
    test::HttpCall call;
    const auto reply = call("POST", url() + "/v3/kv/txn", R"({"success":[)" + puts + "]}");
    ASSERT_TRUE(reply.ok()) << reply.error << reply.body;
  }
};

TEST_F(V3Reads, ListsManyPagesAsTheyWereAtOneMoment) {
  start();
  put_many(0, 4500, "old");
  const std::int64_t before = list("/svc/").header.revision;
  // Changes while the pages are read: of what the last page has, and a key after all of them.
  std::optional<Result<Listing>> listing;
  asio::co_spawn(io_, api().list(url(), "/svc/"),
                 [&](const auto&, auto got) { listing.emplace(std::move(got)); });
  for (int i = 4499; !listing; --i) {
    keys_->put(key(i), "new");
    keys_->remove(key(4499 - i));
    keys_->put(key(99999), "new");
    for (int k = 0; k < 20 && !listing; ++k) io_.poll_one(), io_.restart();
  }
  ASSERT_TRUE(*listing) << listing->error().message();
  const std::int64_t revision = (*listing)->header.revision;
  EXPECT_GE(revision, before);
  EXPECT_LT(revision, list("/svc/").header.revision) << "nothing changed meanwhile";
  // What the same revision looks like to a single request.
  RangeQuery query{"/svc/", "/svc0", revision};
  test::HttpCall call;
  const auto reply = call("POST", url() + "/v3/kv/range", range_request(query));
  EXPECT_EQ((*listing)->kvs, parse_range(reply.body).value().kvs);
}

TEST_F(V3Reads, ListsExactPages) {
  start();
  for (const int count : {1999, 2000, 2001, 4000}) {
    put_many(0, count, "x");
    EXPECT_EQ(list("/svc/").kvs.size(), static_cast<std::size_t>(count));
  }
}

TEST_F(V3Reads, WatchesFromARevisionOn) {
  start();
  keys_->put("/a/1", "old");
  const Header header = list("/a/").header;
  keys_->put("/a/1", "new");
  keys_->remove("/a/1");
  keys_->put("/other", "x");
  keys_->put("/b/1", "x");
  auto opened = run(api().watch(url(), header.cluster,
                                {{"/a/", header.revision + 1}, {"/b/", header.revision + 1}}));
  ASSERT_TRUE(opened) << opened.error().message();
  std::vector<Event> events;
  while (events.size() < 3) {
    const auto batch = read(**opened);
    ASSERT_TRUE(batch) << batch.error().message();
    events.insert(events.end(), batch->events.begin(), batch->events.end());
  }
  std::ranges::stable_sort(events, {}, [](const Event& e) { return e.kv.mod_revision; });
  EXPECT_EQ(events[0].kv.value, "new");
  EXPECT_EQ(events[0].previous.value().value, "old");
  EXPECT_TRUE(events[1].is_delete);
  EXPECT_EQ(events[1].previous.value().value, "new");
  EXPECT_EQ(events[2].kv.key, "/b/1");
  EXPECT_TRUE(fails(read(**opened, 100ms), ETIMEDOUT, {}));
  keys_->put("/a/2", "x");
  EXPECT_EQ(read(**opened).value().events.at(0).kv.key, "/a/2") << "it goes on after silence";
}

TEST_F(V3Reads, TellsProgressWhenIdle) {
  start({.flags = {"--experimental-watch-progress-notify-interval", "500ms"}});
  const Header header = list("/a/").header;
  const auto opened = watch("/a/", header.revision + 1, header.cluster);
  keys_->put("/other", "x");
  const auto batch = read(*opened);
  ASSERT_TRUE(batch) << batch.error().message();
  EXPECT_TRUE(batch->events.empty());
  EXPECT_EQ(batch->header.cluster, header.cluster);
}

TEST_F(V3Reads, MakesOneBatchOfATransactionInFragments) {
  start({.flags = {"--max-request-bytes", "11000000"}});
  const Header header = list("/svc/").header;
  const auto opened = watch("/svc/", header.revision + 1, header.cluster);
  put_transaction(100, 100 << 10);
  const auto batch = read(*opened);
  ASSERT_TRUE(batch) << batch.error().message();
  ASSERT_EQ(batch->events.size(), 100U);
  EXPECT_EQ(batch->events.back().kv.value.size(), std::size_t{100} << 10);
  // Again, with the values before: twice what etcd puts into one message.
  put_transaction(100, 100 << 10);
  const auto second = read(*opened);
  ASSERT_TRUE(second) << second.error().message();
  EXPECT_EQ(second->events.size(), 100U);
}

// With etcd's default limit a page of history is more than one message may hold.
TEST_F(V3Reads, PutsFragmentsOfEtcdTogether) {
  start();
  const Header header = list("/svc/").header;
  for (int i = 0; i < 20; ++i) put_transaction(10, 100 << 10);  // 20 x 1 MB
  const auto opened = watch("/svc/", header.revision + 1, header.cluster);
  std::map<std::int64_t, std::size_t> seen;  // by revision
  while (seen.size() < 20) {
    const auto batch = read(*opened);
    ASSERT_TRUE(batch) << batch.error().message();
    std::map<std::int64_t, std::size_t> here;
    for (const Event& event : batch->events) ++here[event.kv.mod_revision];
    for (const auto& [revision, count] : here) {
      EXPECT_EQ(count, 10U) << "half of revision " << revision;
      EXPECT_FALSE(seen.contains(revision));
    }
    seen.merge(here);
  }
}

TEST_F(V3Reads, SaysThatAWatchedRevisionIsGone) {
  start();
  for (int i = 0; i < 5; ++i) keys_->put("/a/1", "x");
  const Header header = list("/a/").header;
  keys_->compact(header.revision);
  // etcd confirms the watch and cancels it in the next message, which may come with the first.
  const auto opened = run(api().watch(url(), header.cluster, {{"/a/", 2}}));
  if (opened) {
    EXPECT_TRUE(fails(read(**opened), ESTALE, {url(), "compacted"}));
  } else {
    EXPECT_TRUE(fails(opened, ESTALE, {url(), "watch /a/", "compacted"}));
  }
  EXPECT_TRUE(fails(run(api().watch(url(), header.cluster, {{"/a/", header.revision + 9}})), ESTALE,
                    {url(), "older"}));
  EXPECT_TRUE(fails(run(api().watch(url(), header.cluster + 1, {{"/a/", header.revision}})), ESTALE,
                    {url(), "another cluster"}));
}

TEST_F(V3Reads, EndsAWatchWithItsMember) {
  start();
  const Header header = list("/a/").header;
  const auto opened = watch("/a/", header.revision + 1, header.cluster);
  cluster_->kill(0);
  const auto ended = read(*opened);
  ASSERT_FALSE(ended);
  EXPECT_NE(ended.error().code.value(), ETIMEDOUT);
  EXPECT_NE(ended.error().message().find(url()), std::string::npos) << ended.error().message();
  EXPECT_TRUE(fails(run(api().probe(url(), "/a/")), ECONNREFUSED, {url(), "probe of /a/"}));
}

TEST_F(V3Reads, SaysThatAMemberHasLostTheOthers) {
  start({.members = 3});
  const Header header = list("/a/").header;
  const auto opened = watch("/a/", header.revision + 1, header.cluster);
  cluster_->partition_from_peers(0);
  const auto ended = read(*opened);
  EXPECT_TRUE(fails(ended, EREMOTEIO, {url(), "no leader"}));
  EXPECT_TRUE(fails(run(api().probe(url(), "/a/")), EREMOTEIO, {url(), "no leader"}));
  EXPECT_TRUE(fails(run(api().put(url(), "/a/1", "x", {})), EREMOTEIO, {url(), "put /a/1"}));
  EXPECT_FALSE(run(api().watch(url(), header.cluster, {{"/a/", 1}})));
  const auto other = run(api().list(access_.endpoints[1], "/a/"));
  ASSERT_TRUE(other) << other.error().message();
  EXPECT_EQ(other->header.cluster, header.cluster);
}

}  // namespace
}  // namespace lb::etcd
