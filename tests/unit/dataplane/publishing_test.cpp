#include "dataplane/publishing_dataplane.h"

#include <gmock/gmock.h>

#include "support/fake_dataplane.h"

namespace lb {
namespace {

using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const ServiceKey kLocal = *ServiceKey::parse("127.0.0.1:80");
const ServiceKey kPublished = *ServiceKey::parse("0.0.0.0:81");
const Address kBackend = *Address::parse("10.0.0.2:80");

ProgrammedService service(const ServiceKey& key) {
  return {key, {key.address}, Balance::LeastConn, {{kBackend, 1}}};
}

// Two fakes that outlive the dataplane, which wants to own what it joins.
class Lent final : public Dataplane {
 public:
  explicit Lent(FakeDataplane& to) : to_(to) {}
  Result<std::vector<ServiceKey>> keys() override { return to_.keys(); }
  Result<Observed> read_some(std::span<const ServiceKey> k) override { return to_.read_some(k); }
  Result<> upsert(const ProgrammedService& s) override { return to_.upsert(s); }
  Result<> remove(const ServiceKey& key) override { return to_.remove(key); }
  void settle(Settled done) override { to_.settle(std::move(done)); }
  Result<> collect() override { return to_.collect(); }
  Result<std::uint64_t> count_sockets(const ServiceKey& k, const Address& b) override {
    return to_.count_sockets(k, b);
  }
  Result<std::uint64_t> terminate(const ServiceKey& k, const Address& b) override {
    return to_.terminate(k, b);
  }
  void on_connect_failure(std::function<void(const ConnectFailure&)>) override {}
  [[nodiscard]] DataplaneInfo info() const override { return to_.info(); }

 private:
  FakeDataplane& to_;
};

class Publishing : public testing::Test {
 protected:
  std::unique_ptr<Dataplane> make(bool left_over = false) {
    return *make_publishing_dataplane(
        std::make_unique<Lent>(hooks_),
        [this]() -> Result<std::unique_ptr<Dataplane>> {
          ++opened_;
          if (!has_outside_) return fail("no nf_tables");
          return std::make_unique<Lent>(outside_);
        },
        left_over, [this] { return now_; });
  }
  void after(std::chrono::milliseconds time, Dataplane& dataplane) {
    now_ += time;
    ASSERT_TRUE(dataplane.collect());
  }
  static std::string local_only(Dataplane& dataplane) {
    return dataplane.read(kPublished)->local_only;
  }

  FakeDataplane hooks_, outside_;
  bool has_outside_ = true;
  int opened_ = 0;
  std::chrono::steady_clock::time_point now_{std::chrono::hours(1)};
};

TEST_F(Publishing, NothingIsOpenedForServicesOnLoopback) {
  const auto dataplane = make();
  ASSERT_TRUE(dataplane->upsert(service(kLocal)));
  EXPECT_EQ(opened_, 0);
  ASSERT_TRUE(dataplane->upsert(service(kPublished)));
  EXPECT_EQ(opened_, 1);
  EXPECT_THAT(outside_.calls, ElementsAre("upsert tcp://0.0.0.0:81"));
  EXPECT_EQ(hooks_.services().size(), 2U);
}

TEST_F(Publishing, WhatIsWithheldFromOthersIsProgrammedForLocalClientsAlone) {
  const auto dataplane = make();
  auto web = service(kPublished);
  web.addresses = {*IpAddress::parse("127.0.0.1"), *IpAddress::parse("10.0.0.1"),
                   *IpAddress::parse("10.0.0.2")};
  web.withheld = {web.addresses[1], web.addresses[2]};
  ASSERT_TRUE(dataplane->upsert(web));
  after(seconds(1), *dataplane);
  EXPECT_EQ(opened_, 0) << "nothing is published, so nothing of the kernel is touched for it";
  EXPECT_EQ(local_only(*dataplane), "") << "who may publish is not its business";
  EXPECT_EQ(dataplane->read(kPublished)->withheld, web.withheld);

  web.withheld = {web.addresses[2]};
  ASSERT_TRUE(dataplane->upsert(web));
  ASSERT_EQ(opened_, 1);
  EXPECT_THAT(outside_.services().at(kPublished).addresses,
              ElementsAre(web.addresses[0], web.addresses[1]));
  EXPECT_EQ(hooks_.services().at(kPublished).addresses, web.addresses);

  web.withheld = {web.addresses[1], web.addresses[2]};
  ASSERT_TRUE(dataplane->upsert(web));
  EXPECT_THAT(outside_.services(), IsEmpty()) << "it is published no more";
}

TEST_F(Publishing, WhatWasWithheldRunsOutWithoutBeingPublished) {
  const auto dataplane = make();
  auto web = service(kPublished);
  web.addresses = {*IpAddress::parse("10.0.0.1")};
  web.withheld = web.addresses;
  ASSERT_TRUE(dataplane->upsert(web));
  web.addresses.clear();
  web.withheld.clear();
  ASSERT_TRUE(dataplane->upsert(web));
  after(seconds(1), *dataplane);
  EXPECT_EQ(opened_, 0);
}

TEST_F(Publishing, WhatAnEarlierRunPublishedGoesWhereItIsWithheldNow) {
  outside_.plant(service(kPublished));
  hooks_.plant(service(kPublished));
  const auto dataplane = make(true);
  auto web = service(kPublished);
  web.withheld = web.addresses;
  ASSERT_TRUE(dataplane->upsert(web));
  EXPECT_THAT(outside_.services(), IsEmpty());
  EXPECT_EQ(hooks_.services().size(), 1U);
}

TEST_F(Publishing, ConnectionsOfBothSidesAreOneCount) {
  const auto dataplane = make();
  ASSERT_TRUE(dataplane->upsert(service(kPublished)));
  hooks_.active[{kPublished, kBackend}] = 2;
  outside_.active[{kPublished, kBackend}] = 3;
  EXPECT_EQ(dataplane->read(kPublished)->backends.front().active_connections, 5U);
  EXPECT_EQ(dataplane->read()->services.front().backends.front().active_connections, 5U);
}

TEST_F(Publishing, WhatOneSideCannotCountHasNoSum) {
  const auto dataplane = make();
  ASSERT_TRUE(dataplane->upsert(service(kPublished)));
  hooks_.counts = false;
  hooks_.active[{kPublished, kBackend}] = 2;
  outside_.active[{kPublished, kBackend}] = 3;
  EXPECT_EQ(dataplane->read(kPublished)->backends.front().active_connections, std::nullopt);
  EXPECT_EQ(dataplane->count_sockets(kPublished, kBackend), 5U);
}

TEST_F(Publishing, ABackendWithConnectionsOutsideOnlyIsStillThere) {
  const auto dataplane = make();
  auto web = service(kPublished);
  ASSERT_TRUE(dataplane->upsert(web));
  outside_.active[{kPublished, kBackend}] = 1;
  web.backends.clear();
  ASSERT_TRUE(dataplane->upsert(web));
  const auto seen = dataplane->read(kPublished);
  ASSERT_EQ(seen->backends.size(), 1U);
  EXPECT_FALSE(seen->backends.front().listed);
  EXPECT_EQ(seen->backends.front().active_connections, 1U);
}

TEST_F(Publishing, LocalClientsAreServedWhereOthersCannotBe) {
  has_outside_ = false;
  const auto dataplane = make();
  ASSERT_TRUE(dataplane->upsert(service(kPublished)));
  EXPECT_EQ(local_only(*dataplane), "no nf_tables");
  after(seconds(0), *dataplane);
  EXPECT_THAT(dataplane->info().problems,
              ElementsAre("clients of other hosts are not served: no nf_tables"));
}

TEST_F(Publishing, WhatCannotBeOpenedIsTriedAgainWithBackoffAndThenToldEverything) {
  has_outside_ = false;
  const auto dataplane = make();
  ASSERT_TRUE(dataplane->upsert(service(kPublished)));
  for (int i = 0; i < 30; ++i) after(seconds(1), *dataplane);
  EXPECT_GT(opened_, 3);
  EXPECT_LT(opened_, 12) << "it is not opened each second";
  const int before = opened_;
  ASSERT_TRUE(dataplane->upsert(service(kPublished)));
  EXPECT_EQ(opened_, before) << "nor with each service";
  has_outside_ = true;
  for (int i = 0; i < 11; ++i) after(seconds(1), *dataplane);
  EXPECT_TRUE(outside_.services().contains(kPublished)) << "although nothing was upserted";
  EXPECT_THAT(dataplane->info().problems, IsEmpty());
  EXPECT_EQ(local_only(*dataplane), "");
}

TEST_F(Publishing, AServiceOfLoopbackBackendsIsForLocalClientsOnly) {
  const auto dataplane = make();
  auto web = service(kPublished);
  web.addresses = {*IpAddress::parse("10.0.0.1")};
  web.backends = {{*Address::parse("127.0.0.1:9000"), 1}};
  ASSERT_TRUE(dataplane->upsert(web));
  EXPECT_THAT(local_only(*dataplane), HasSubstr("loopback"));
  EXPECT_THAT(dataplane->read()->services.front().local_only, HasSubstr("loopback"));
  web.backends.insert(web.backends.begin(), {kBackend, 1});
  ASSERT_TRUE(dataplane->upsert(web));
  EXPECT_EQ(local_only(*dataplane), "");
  web.backends.front().weight = 0;
  ASSERT_TRUE(dataplane->upsert(web));
  EXPECT_NE(local_only(*dataplane), "") << "the other one is drained";
}

TEST_F(Publishing, WhatTheOtherSideDoesNotTakeIsTriedAgainAndKeepsNoLocalServiceBack) {
  const auto dataplane = make();
  outside_.failing_keys[kPublished] = E2BIG;
  ASSERT_TRUE(dataplane->upsert(service(kPublished)));
  EXPECT_TRUE(hooks_.services().contains(kPublished));
  EXPECT_NE(local_only(*dataplane), "");
  after(seconds(1), *dataplane);
  ASSERT_EQ(dataplane->info().problems.size(), 1U);
  EXPECT_THAT(dataplane->info().problems.front(), HasSubstr("tcp://0.0.0.0:81"));
  outside_.failing_keys.clear();
  after(seconds(10), *dataplane);
  EXPECT_TRUE(outside_.services().contains(kPublished));
  EXPECT_THAT(dataplane->info().problems, IsEmpty());
}

TEST_F(Publishing, WhatTheOtherSideDoesNotRemoveIsTriedAgain) {
  const auto dataplane = make();
  ASSERT_TRUE(dataplane->upsert(service(kPublished)));
  outside_.failing_keys[kPublished] = EIO;
  ASSERT_TRUE(dataplane->remove(kPublished));
  EXPECT_FALSE(hooks_.services().contains(kPublished));
  outside_.failing_keys.clear();
  after(seconds(1), *dataplane);
  EXPECT_THAT(outside_.services(), IsEmpty());
}

// Connection tracking that cannot be read must not keep lbd from starting, nor end a drain.
TEST_F(Publishing, ConnectionsThatCannotBeCountedHideNoServiceAndEndNoDrain) {
  const auto dataplane = make();
  ASSERT_TRUE(dataplane->upsert(service(kLocal)));
  ASSERT_TRUE(dataplane->upsert(service(kPublished)));
  outside_.failing_reads = true;
  const auto observed = dataplane->read();
  ASSERT_TRUE(observed) << observed.error().message();
  EXPECT_EQ(observed->services.size(), 2U);
  EXPECT_THAT(dataplane->info().problems, ElementsAre(HasSubstr("not counted")));
  EXPECT_EQ(dataplane->read(kPublished)->backends.front().active_connections, std::nullopt);
  EXPECT_EQ(dataplane->read(kLocal)->backends.front().active_connections, 0U);
  outside_.failing_reads = false;
  ASSERT_TRUE(dataplane->read());
  EXPECT_THAT(dataplane->info().problems, IsEmpty());
}

// The reconciler upserts what differs; after a start the hooks differ in nothing.
TEST_F(Publishing, AfterARestartThePublishedServiceIsUpsertedOnce) {
  hooks_.plant(service(kPublished));
  hooks_.plant(service(kLocal));
  const auto dataplane = make();
  auto balances = [&] {
    std::map<ServiceKey, Balance> out;
    const auto observed = dataplane->read();
    for (const auto& s : observed->services) out[s.key] = s.balance;
    return out;
  };
  EXPECT_NE(balances()[kPublished], Balance::LeastConn);
  EXPECT_EQ(balances()[kLocal], Balance::LeastConn);
  ASSERT_TRUE(dataplane->upsert(service(kPublished)));
  EXPECT_EQ(balances()[kPublished], Balance::LeastConn);
}

TEST_F(Publishing, WhatAnotherDataplaneLeftGoesWhenTheHooksServeIt) {
  outside_.plant(service(kLocal));
  const auto dataplane = make(true);
  EXPECT_EQ(opened_, 1);
  EXPECT_EQ(outside_.services().size(), 1U);
  ASSERT_TRUE(dataplane->upsert(service(kLocal)));
  EXPECT_THAT(outside_.services(), IsEmpty());
  EXPECT_EQ(hooks_.services().size(), 1U);
}

TEST_F(Publishing, WhatTheOtherSideHasLostIsPutBackAfterItWasRead) {
  const auto dataplane = make();
  ASSERT_TRUE(dataplane->upsert(service(kPublished)));
  outside_.tamper(kPublished);
  ASSERT_TRUE(dataplane->read());
  EXPECT_THAT(outside_.services(), IsEmpty()) << "reading writes nothing";
  after(seconds(1), *dataplane);
  EXPECT_EQ(outside_.services().size(), 1U);
}

// In slices: what was not read yet is not known to be lost, and is not asked for again for 20 s.
TEST_F(Publishing, TheOtherSideIsComparedWhenTheLastServiceWasRead) {
  const ServiceKey last = *ServiceKey::parse("0.0.0.0:82");
  const auto dataplane = make();
  ASSERT_TRUE(dataplane->upsert(service(kPublished)));
  ASSERT_TRUE(dataplane->upsert(service(last)));
  outside_.tamper(last);
  ASSERT_TRUE(dataplane->keys());
  ASSERT_TRUE(dataplane->read_some({&kPublished, 1}));
  after(seconds(1), *dataplane);
  EXPECT_EQ(outside_.services().size(), 1U) << "half of it was read";
  ASSERT_TRUE(dataplane->read_some({&last, 1}));
  after(seconds(1), *dataplane);
  EXPECT_EQ(outside_.services().size(), 2U);
}

TEST_F(Publishing, WhatTheHooksHaveLostIsStillSeen) {
  outside_.plant(service(kPublished));
  outside_.plant(service(kLocal));
  const auto dataplane = make(true);
  const auto observed = dataplane->read();
  ASSERT_EQ(observed->services.size(), 1U);
  EXPECT_EQ(observed->services.front().key, kPublished);
  ASSERT_TRUE(dataplane->remove(kPublished));
  EXPECT_FALSE(outside_.services().contains(kPublished));
}

TEST_F(Publishing, RemovalAndTerminationReachBothSides) {
  const auto dataplane = make();
  ASSERT_TRUE(dataplane->upsert(service(kPublished)));
  hooks_.active[{kPublished, kBackend}] = 2;
  outside_.active[{kPublished, kBackend}] = 3;
  EXPECT_EQ(*dataplane->terminate(kPublished, kBackend), 5U);
  ASSERT_TRUE(dataplane->remove(kPublished));
  EXPECT_THAT(hooks_.services(), IsEmpty());
  EXPECT_THAT(outside_.services(), IsEmpty());
}

}  // namespace
}  // namespace lb
