// The registrar over etcds that are maps.
#include "tools/lbctl/registrar.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <map>

#include "support/run_awaitable.h"

namespace lb::lbctl {
namespace {

using namespace std::chrono_literals;

class FakeApi final : public etcd::Api {
 public:
  explicit FakeApi(etcd::ApiVersion version) : version_(version) {}

  [[nodiscard]] etcd::ApiVersion version() const override { return version_; }

  asio::awaitable<Result<etcd::Listing>> list(std::string endpoint, std::string prefix,
                                              Wanted) override {
    if (auto ok = note("list " + endpoint + prefix, endpoint); !ok)
      co_return tl::unexpected(ok.error());
    etcd::Listing out;
    for (const auto& [key, value] : keys)
      if (key.starts_with(prefix)) out.kvs.push_back({key, value, 1, 0});
    co_return out;
  }
  asio::awaitable<Result<>> put(std::string endpoint, std::string key, std::string value,
                                etcd::Lease) override {
    auto ok = note("put " + key, endpoint);
    if (ok) keys[key] = value;
    co_return ok;
  }
  asio::awaitable<Result<>> remove(std::string endpoint, std::string key) override {
    auto ok = note("remove " + key, endpoint);
    if (ok) keys.erase(key);
    co_return ok;
  }
  asio::awaitable<Result<>> remove_prefix(std::string endpoint, std::string prefix) override {
    auto ok = note("remove_prefix " + prefix, endpoint);
    if (ok) std::erase_if(keys, [&](const auto& entry) { return entry.first.starts_with(prefix); });
    co_return ok;
  }

  asio::awaitable<Result<bool>> has_keys(std::string, std::string) override { return none<bool>(); }
  asio::awaitable<Result<std::unique_ptr<etcd::Watch>>> watch(
      std::string, std::uint64_t, std::vector<etcd::WatchRequest>) override {
    return none<std::unique_ptr<etcd::Watch>>();
  }
  asio::awaitable<Result<etcd::Header>> probe(std::string, std::string) override {
    return none<etcd::Header>();
  }
  asio::awaitable<Result<bool>> create(std::string, std::string, std::string,
                                       etcd::Lease) override {
    return none<bool>();
  }
  asio::awaitable<Result<etcd::Lease>> grant(std::string, std::chrono::seconds) override {
    return none<etcd::Lease>();
  }
  asio::awaitable<Result<>> keep_alive(std::string, etcd::Lease,
                                       std::vector<std::string>) override {
    return none<void>();
  }
  asio::awaitable<Result<>> revoke(std::string, etcd::Lease, std::vector<std::string>) override {
    return none<void>();
  }

  std::map<std::string, std::string> keys;
  std::map<std::string, int> down;  // endpoint to errno
  std::string fails_at;             // what it does not do
  std::vector<std::string> calls;

 private:
  template <class T>
  static asio::awaitable<Result<T>> none() {
    co_return fail(ENOTSUP, "not used here");
  }
  Result<> note(std::string call, const std::string& endpoint) {
    const bool refused = call == fails_at;
    calls.push_back(std::move(call));
    const auto it = down.find(endpoint);
    if (it != down.end()) return fail(it->second, endpoint);
    if (refused) return fail(EACCES, endpoint + ": " + calls.back());
    return {};
  }

  etcd::ApiVersion version_;
};

class RegistrarTest : public testing::Test {
 protected:
  // As the shell: one attempt, and what follows from it.
  WriteReport reach(Goal goal) {
    WriteReport out = test::run_awaitable(registrar.reach(goal, SysTime{}));
    out.pause = registrar.settle(out.done ? std::error_code{} : out.done.error().code, 0.0);
    return out;
  }

  FakeApi v3{etcd::ApiVersion::V3}, v2{etcd::ApiVersion::V2};
  etcd::ApiVersion chosen = etcd::ApiVersion::V3;
  std::vector<std::string> asked;  // for the API
  Registrar registrar{{"http://a", "http://b"},
                      [this](std::string endpoint) { return choose(std::move(endpoint)); },
                      {"/svc/n1/", "h:1"}};

 private:
  asio::awaitable<Result<etcd::Api*>> choose(std::string endpoint) {
    asked.push_back(endpoint);
    if (const auto it = v3.down.find(endpoint); it != v3.down.end())
      co_return fail(it->second, endpoint);
    co_return chosen == etcd::ApiVersion::V3 ? &v3 : &v2;
  }
};

TEST_F(RegistrarTest, AnnouncesInOrderAndSaysWhere) {
  v3.keys = {{"/svc/n1/disabled", "true"}};
  const WriteReport report = reach(Goal::Announced);
  ASSERT_TRUE(report.done);
  EXPECT_EQ(report.where, "http://a (v3)");
  EXPECT_EQ(v3.calls,
            (std::vector<std::string>{"list http://a/svc/n1/", "put /svc/n1/listen-address",
                                      "put /svc/n1/last-seen-at", "remove /svc/n1/disabled"}));
  EXPECT_EQ(v3.keys.at("/svc/n1/listen-address"), "h:1");
  EXPECT_EQ(v3.keys.size(), 2U);
}

TEST_F(RegistrarTest, AnUnfinishedAnnouncementIsNotUsable) {
  v3.keys = {{"/svc/n1/disabled", "true"}};
  v3.fails_at = "put /svc/n1/last-seen-at";
  const WriteReport report = reach(Goal::Announced);
  ASSERT_FALSE(report.done);
  EXPECT_EQ(report.done.error().code, std::errc::permission_denied);
  EXPECT_TRUE(v3.keys.contains("/svc/n1/disabled"));
}

TEST_F(RegistrarTest, GoesRoundTheEndpointsAndWaitsLongerEachTime) {
  v3.down = {{"http://a", ECONNREFUSED}, {"http://b", ECONNREFUSED}};
  std::vector<std::string> endpoints;
  std::vector<std::chrono::milliseconds> pauses;
  for (int i = 0; i < 4; ++i) {
    endpoints.push_back(registrar.endpoint());
    pauses.push_back(reach(Goal::Announced).pause);
  }
  EXPECT_EQ(endpoints, (std::vector<std::string>{"http://a", "http://b", "http://a", "http://b"}));
  EXPECT_LT(pauses[0], pauses[1]);
  EXPECT_LT(pauses[2], pauses[3]);
  v3.down.erase("http://b");
  EXPECT_FALSE(reach(Goal::Announced).done);
  EXPECT_EQ(reach(Goal::Announced).where, "http://b (v3)");
  EXPECT_EQ(reach(Goal::Seen).where, "http://b (v3)");  // it stays with who answers
}

TEST_F(RegistrarTest, StaysWithTheStoreOnceChosen) {
  chosen = etcd::ApiVersion::V2;
  EXPECT_EQ(reach(Goal::Announced).where, "http://a (v2)");
  chosen = etcd::ApiVersion::V3;
  EXPECT_EQ(reach(Goal::Seen).where, "http://a (v2)");
  EXPECT_EQ(asked.size(), 1U);
}

TEST_F(RegistrarTest, ChoosesAnewWhenAnEndpointHasNoSuchApi) {
  chosen = etcd::ApiVersion::V2;
  ASSERT_TRUE(reach(Goal::Announced).done);
  v2.down = {{"http://a", ENOTSUP}};
  EXPECT_FALSE(reach(Goal::Seen).done);
  chosen = etcd::ApiVersion::V3;
  EXPECT_EQ(reach(Goal::Seen).where, "http://b (v3)");
  EXPECT_EQ(v3.keys.at("/svc/n1/listen-address"), "h:1");
}

TEST_F(RegistrarTest, DisablesAndLeaves) {
  ASSERT_TRUE(reach(Goal::Announced).done);
  ASSERT_TRUE(reach(Goal::Disabled).done);
  EXPECT_EQ(v3.keys.at("/svc/n1/disabled"), "true");
  v3.keys["/svc/n10/listen-address"] = "h:2";
  ASSERT_TRUE(reach(Goal::Gone).done);
  EXPECT_EQ(v3.keys.size(), 1U);
  ASSERT_TRUE(reach(Goal::Gone).done);
  EXPECT_EQ(v3.calls.back(), "list http://a/svc/n1/");
}

TEST_F(RegistrarTest, LeavesTheKeysOfWhoeverHasTakenTheName) {
  ASSERT_TRUE(reach(Goal::Announced).done);
  v3.keys["/svc/n1/listen-address"] = "h:2";
  const auto before = v3.keys;
  for (const Goal goal : {Goal::Seen, Goal::Disabled, Goal::Gone}) {
    const WriteReport report = reach(goal);
    EXPECT_TRUE(report.done);
    EXPECT_EQ(report.other_address, "h:2");
  }
  EXPECT_EQ(v3.keys, before);
}

TEST_F(RegistrarTest, ReadsWhatIsPublished) {
  v3.keys = {{"/state/hosts/x/backends/n1/active-connections", "2"},
             {"/state/hosts/x/backends/n1/disabled", "true"}};
  const auto left = test::run_awaitable(registrar.published("/state", "n1"));
  ASSERT_TRUE(left);
  EXPECT_EQ(left->connections, 2U);
  v3.down = {{"http://a", ETIMEDOUT}};
  EXPECT_FALSE(test::run_awaitable(registrar.published("/state", "n1")));
}

}  // namespace
}  // namespace lb::lbctl
