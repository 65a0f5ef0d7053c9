// The calls of the v2 API against a real etcd.
#include <cerrno>

#include "netns/etcd_api/fixture.h"

namespace lb::etcd {
namespace {

using namespace std::chrono_literals;
using Strings = std::vector<std::string>;

class V2Calls : public V2ApiTest {};

TEST_F(V2Calls, ListWhatIsBelowAPrefixFlattenedAndSorted) {
  etcd_.set("/svc/web/b/address", "value=2");
  etcd_.set("/svc/web/a-1/address", "value=1");
  etcd_.set("/svc/web/a/address", "value=0");
  etcd_.set("/svc/web/a/_secret", "value=9");
  etcd_.set("/svc/web/empty", "dir=true");
  etcd_.set("/svc/web2/a/address", "value=3");
  etcd_.set("/svc/web/%C3%BC%20%25/k%2Bk", "value=4%2B5");
  EXPECT_EQ(keys("/svc/web/"), (Strings{"/svc/web/a-1/address=1", "/svc/web/a/address=0",
                                        "/svc/web/b/address=2", "/svc/web/\xc3\xbc %/k+k=4+5"}));
  EXPECT_EQ(keys("/svc/web/\xc3\xbc %/"), Strings{"/svc/web/\xc3\xbc %/k+k=4+5"});
  EXPECT_EQ(keys("/svc/web2"), Strings{"/svc/web2/a/address=3"});
  EXPECT_EQ(keys("/svc/web/a/address/"), Strings{});
  EXPECT_EQ(keys("/").size(), 5U);
}

TEST_F(V2Calls, ListNothingWithTheIndexAtWhichThereIsNothing) {
  etcd_.set("/a", "value=1");
  const Listing listing = list("/nope/");
  EXPECT_TRUE(listing.kvs.empty());
  EXPECT_NE(listing.header.cluster, 0U);
  EXPECT_EQ(listing.header.revision, list("/a").kvs.at(0).mod_revision);
}

TEST_F(V2Calls, SayWhichKeysHaveATimeToLive) {
  etcd_.set("/up/a", "value=1&ttl=100");
  etcd_.set("/up/b", "value=1");
  etcd_.set("/up/dir", "dir=true&ttl=100");
  etcd_.set("/up/dir/below/c", "value=1");
  const auto kvs = list("/up/").kvs;
  ASSERT_EQ(kvs.size(), 3U);
  EXPECT_EQ(kvs[0].lease, 1);
  EXPECT_EQ(kvs[1].lease, 0);
  EXPECT_EQ(kvs[2].lease, 1);
}

TEST_F(V2Calls, SayWhetherThereAreKeys) {
  const auto has = [this](const std::string& prefix) {
    return run(api_.has_keys(etcd_.url(), prefix)).value();
  };
  EXPECT_FALSE(has("/up/"));
  etcd_.set("/up/dir", "dir=true");
  EXPECT_FALSE(has("/up/"));
  etcd_.set("/up/dir/deep/key", "value=1");
  EXPECT_TRUE(has("/up/"));
  EXPECT_FALSE(has("/up/dir/deep/key/"));
  EXPECT_TRUE(has("/up/dir/deep/"));
  EXPECT_FALSE(has("no-slash/"));
}

TEST_F(V2Calls, ProbeTellsTheIndex) {
  etcd_.set("/conf/a", "value=1");
  const auto there = run(api_.probe(etcd_.url(), "/conf/"));
  const auto absent = run(api_.probe(etcd_.url(), "/nope/"));
  ASSERT_TRUE(there && absent);
  EXPECT_EQ(*there, *absent);
  EXPECT_EQ(*there, list("/conf/").header);
}

TEST_F(V2Calls, WriteAndRemove) {
  const std::string value = "2017-01-25T14:20:33+00:00 & \xc3\xbc%2b\n";
  ASSERT_TRUE(run(api_.put(etcd_.url(), "/s/a b", value)));
  EXPECT_EQ(keys("/s/"), Strings{"/s/a b=" + value});
  EXPECT_TRUE(run(api_.create(etcd_.url(), "/s/c", "1")).value());
  EXPECT_FALSE(run(api_.create(etcd_.url(), "/s/c", "2")).value());
  EXPECT_EQ(list("/s/c").kvs.at(0).value, "1");
  ASSERT_TRUE(run(api_.put(etcd_.url(), "/s/c", "")));
  EXPECT_EQ(list("/s/c").kvs.at(0).value, "");
  EXPECT_TRUE(run(api_.remove(etcd_.url(), "/s/c")));
  EXPECT_TRUE(run(api_.remove(etcd_.url(), "/s/c")));
  EXPECT_EQ(keys("/s/c"), Strings{});
}

TEST_F(V2Calls, RemoveWhatIsBelowAPrefixAndNothingElse) {
  for (const char* key : {"/s/web/a/x", "/s/web/b/x", "/s/web2/x", "/s/wet", "/plain"})
    ASSERT_TRUE(run(api_.put(etcd_.url(), key, "1")));
  EXPECT_TRUE(run(api_.remove_prefix(etcd_.url(), "/s/web/")));
  EXPECT_TRUE(run(api_.remove_prefix(etcd_.url(), "/s/web/")));
  EXPECT_TRUE(run(api_.remove_prefix(etcd_.url(), "/plain/")));
  EXPECT_EQ(keys("/"), (Strings{"/plain=1", "/s/web2/x=1", "/s/wet=1"}));
  EXPECT_TRUE(run(api_.remove_prefix(etcd_.url(), "/s/we")));
  EXPECT_EQ(keys("/"), Strings{"/plain=1"});
}

TEST_F(V2Calls, KeepKeysAliveUntilTheyAreRevoked) {
  const Lease lease = run(api_.grant(etcd_.url(), 2s)).value();
  EXPECT_EQ(lease.id, 0);
  const Strings both{"/s/a", "/s/b"};
  for (const auto& key : both) ASSERT_TRUE(run(api_.put(etcd_.url(), key, "1", lease)));
  ASSERT_TRUE(run(api_.put(etcd_.url(), "/s/mortal", "1", lease)));
  const auto watch = this->watch({"/s/"});
  ASSERT_TRUE(watch);
  // Kept by us until the key beside them has expired, and longer.
  bool expired = false;
  const auto start = std::chrono::steady_clock::now();
  while (!expired || std::chrono::steady_clock::now() - start < 4s) {
    ASSERT_LT(std::chrono::steady_clock::now() - start, 20s);
    ASSERT_TRUE(run(api_.keep_alive(etcd_.url(), lease, both)));
    const auto batch = read(*watch, 300ms);
    if (!batch) continue;
    for (const Event& event : batch->events) {
      EXPECT_EQ(describe(event), "delete /s/mortal expired");
      expired = true;
    }
  }
  EXPECT_EQ(keys("/s/"), (Strings{"/s/a=1", "/s/b=1"}));
  EXPECT_EQ(list("/s/a").kvs.at(0).lease, 1);
  const auto gone = run(api_.keep_alive(etcd_.url(), lease, {"/s/a", "/s/mortal"}));
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code.value(), ENOENT);
  EXPECT_TRUE(run(api_.revoke(etcd_.url(), lease, both)));
  EXPECT_EQ(keys("/s/"), Strings{});
}

TEST_F(V2Calls, NameEndpointAndKeyAndWhatEtcdSaysOfARefusal) {
  ASSERT_TRUE(run(api_.put(etcd_.url(), "/s/dir/key", "1")));
  const auto onto_directory = run(api_.put(etcd_.url(), "/s/dir", "1"));
  ASSERT_FALSE(onto_directory);
  EXPECT_EQ(onto_directory.error().code.value(), EREMOTEIO);
  EXPECT_NE(onto_directory.error().context.find(etcd_.url() + ": put of /s/dir: "),
            std::string::npos);
  EXPECT_NE(onto_directory.error().context.find("Not a file"), std::string::npos)
      << onto_directory.error().context;
  const auto below_key = run(api_.put(etcd_.url(), "/s/dir/key/x", "1"));
  ASSERT_FALSE(below_key);
  EXPECT_NE(below_key.error().context.find("Not a directory"), std::string::npos)
      << below_key.error().context;
  EXPECT_EQ(run(api_.put(etcd_.url(), "no-slash", "1")).error().code.value(), EINVAL);
}

}  // namespace
}  // namespace lb::etcd
