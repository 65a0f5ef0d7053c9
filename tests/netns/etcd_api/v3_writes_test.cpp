// What lbd writes: keys and leases.
#include <cerrno>
#include <thread>

#include "netns/etcd_api/v3_fixture.h"

namespace lb::etcd {
namespace {

class V3Writes : public V3Test {
 protected:
  void SetUp() override {
    V3Test::SetUp();
    if (sandbox_) start();
  }
  void put(const std::string& key, const std::string& value, Lease lease = {}) {
    const auto done = run(api().put(url(), key, value, lease));
    EXPECT_TRUE(done) << done.error().message();
  }
  Lease grant(std::chrono::seconds ttl) {
    const auto lease = run(api().grant(url(), ttl));
    EXPECT_TRUE(lease) << lease.error().message();
    return lease.value_or(Lease{});
  }
};

TEST_F(V3Writes, PutsAndRemovesAnyBytes) {
  const std::string key("/svc/\0\xff\n\"", 9);
  put(key, std::string("\0\xfe", 2));
  put("/svc/empty", "");
  auto listing = list("/svc/");
  ASSERT_EQ(listing.kvs.size(), 2U);
  EXPECT_EQ(listing.kvs[0].key, key);
  EXPECT_EQ(listing.kvs[0].value, std::string("\0\xfe", 2));
  EXPECT_EQ(listing.kvs[1].value, "");
  EXPECT_TRUE(run(api().remove(url(), key)));
  EXPECT_TRUE(run(api().remove(url(), key))) << "removing the absent succeeds";
  EXPECT_EQ(list("/svc/").kvs.size(), 1U);
}

TEST_F(V3Writes, CreatesOnlyWhatIsNotThere) {
  EXPECT_TRUE(run(api().create(url(), "/a", "1", {})).value());
  EXPECT_FALSE(run(api().create(url(), "/a", "2", {})).value());
  EXPECT_EQ(keys_->get("/a"), "1");
  EXPECT_TRUE(run(api().remove(url(), "/a")));
  EXPECT_TRUE(run(api().create(url(), "/a", "3", {})).value());
}

TEST_F(V3Writes, RemovesAPrefixAndNothingElse) {
  for (const char* key : {"/a", "/a/", "/a/1", "/a/2/3", "/a0", "/b"}) put(key, "x");
  EXPECT_TRUE(run(api().remove_prefix(url(), "/a/")));
  EXPECT_TRUE(run(api().remove_prefix(url(), "/a/")));
  const auto left = list("/");
  ASSERT_EQ(left.kvs.size(), 3U);
  EXPECT_EQ(left.kvs[0].key + left.kvs[1].key + left.kvs[2].key, "/a/a0/b");
  EXPECT_TRUE(fails(run(api().remove_prefix(url(), "")), EINVAL, {"empty prefix"}));
  EXPECT_EQ(list("").kvs.size(), 3U) << "an empty prefix lists everything";
}

TEST_F(V3Writes, TellsIfThereAreKeys) {
  EXPECT_FALSE(run(api().has_keys(url(), "/a/")).value());
  put("/a/1", "x");
  EXPECT_TRUE(run(api().has_keys(url(), "/a/")).value());
  EXPECT_FALSE(run(api().has_keys(url(), "/a/2")).value());
  EXPECT_EQ(run(api().probe(url(), "/a/")).value(), list("/a/").header);
}

TEST_F(V3Writes, KeysEndWithTheirLease) {
  const Lease lease = grant(60s);
  EXPECT_GE(lease.ttl, 60s);
  put("/a", "x", lease);
  EXPECT_TRUE(run(api().create(url(), "/b", "x", lease)).value());
  EXPECT_EQ(list("/a").kvs.at(0).lease, lease.id);
  EXPECT_EQ(list("/b").kvs.at(0).lease, lease.id);
  EXPECT_TRUE(run(api().revoke(url(), lease, {"/a", "/b"})));
  EXPECT_TRUE(list("/").kvs.empty());
  EXPECT_TRUE(run(api().revoke(url(), lease, {"/a", "/b"}))) << "it has ended already";
}

TEST_F(V3Writes, ALeaseLivesAsLongAsItIsKept) {
  const Lease lease = grant(2s);
  put("/a", "x", lease);
  const auto end = steady_clock::now() + 5s;
  while (steady_clock::now() < end) {
    const auto kept = run(api().keep_alive(url(), lease, {"/a"}));
    ASSERT_TRUE(kept) << kept.error().message();
    std::this_thread::sleep_for(200ms);
  }
  EXPECT_EQ(list("/").kvs.size(), 1U);
  ASSERT_TRUE(test::eventually([&] { return list("/").kvs.empty(); }, 30s)) << "kept no more";
}

TEST_F(V3Writes, SaysThatALeaseIsGone) {
  const Lease lease = grant(60s);
  keys_->revoke(lease.id);
  EXPECT_TRUE(fails(run(api().keep_alive(url(), lease, {})), ENOENT, {url(), "keep lease"}));
  EXPECT_TRUE(fails(run(api().put(url(), "/a", "x", lease)), ENOENT,
                    {url(), "put /a", "requested lease not found"}));
  EXPECT_TRUE(fails(run(api().create(url(), "/a", "x", lease)), ENOENT, {url(), "create /a"}));
  EXPECT_TRUE(list("/").kvs.empty());
}

TEST_F(V3Writes, PassesOnWhatEtcdRefuses) {
  EXPECT_TRUE(fails(run(api().put(url(), "", "x", {})), EREMOTEIO,
                    {url(), "HTTP status 400", "key is not provided"}));
  const std::string large(1'700'000, 'x');  // etcd's limit is 1.5 MiB
  EXPECT_TRUE(fails(run(api().put(url(), "/large", large, {})), EREMOTEIO,
                    {url(), "put /large", "request is too large"}));
}

}  // namespace
}  // namespace lb::etcd
