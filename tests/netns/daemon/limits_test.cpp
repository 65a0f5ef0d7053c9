// Full maps, and services on more than loopback.
#include <gmock/gmock.h>

#include <fmt/format.h>

#include "netns/daemon/fixture.h"

namespace lb::test {
namespace {

using testing::HasSubstr;
using testing::Key;
using testing::UnorderedElementsAre;

class Limits : public DaemonNetns {
 protected:
  std::string sizes(int services, int backends) const {
    return fmt::format("[dataplane]\nmax_services = {}\nmax_backends = {}\nmax_slots = 4096\n",
                       services, backends);
  }
  std::string failure() const { return json_at(lbd_->json({"status"}), "/failures/0/error"); }
};

TEST_F(Limits, FullBackendsNameTheKeyAndRaisingItLosesNothing) {
  serve_web({kOne, kTwo}, sizes(100, 3));
  const std::string big = service_toml("big", "127.0.0.1:5001", {kThree, "127.0.0.1:7009"});
  write_services(service_toml("web", kWeb, {kOne, kTwo}) + big);
  ASSERT_TRUE(eventually([&] { return failure() != "(none)"; }));
  EXPECT_THAT(failure(), HasSubstr("raise [dataplane] max_backends"));
  EXPECT_THAT(failure(), HasSubstr("max_backends = 3"));
  EXPECT_THAT(ask_often(kWeb, 10), UnorderedElementsAre(Key("1"), Key("2")));

  UniqueFd kept = connect_to(kWeb);
  Load load;
  lbd_->configure(sizes(100, 100) + file_source());
  EXPECT_EQ(lbd_->stop(), 0);
  ASSERT_TRUE(lbd_->start());
  EXPECT_TRUE(eventually([] { return ask("127.0.0.1:5001") == "3"; }));
  load.stop();
  EXPECT_EQ(load.failed(), 0) << "of " << load.made();
  EXPECT_EQ(json_size(lbd_->json({"status"}), "/failures"), 0);
  const auto active = [&] {
    return lbd_->backend("web", kOne).active + lbd_->backend("web", kTwo).active;
  };
  EXPECT_TRUE(eventually([&] { return active() == 1; })) << active();
  kept.reset();
  EXPECT_TRUE(eventually([&] { return active() == 0; })) << active();
}

TEST_F(Limits, FullServicesNameTheKey) {
  serve_web({kOne}, sizes(1, 100));
  write_services(service_toml("web", kWeb, {kOne}) + service_toml("api", "127.0.0.1:5001", {kTwo}));
  ASSERT_TRUE(eventually([&] { return failure() != "(none)"; }));
  EXPECT_THAT(failure(), HasSubstr("raise [dataplane] max_services"));
  EXPECT_EQ(ask(kWeb), "1");
  // Room that comes free is used without a restart.
  write_services(service_toml("api", "127.0.0.1:5001", {kTwo}));
  EXPECT_TRUE(eventually([] { return ask("127.0.0.1:5001") == "2"; }));
}

TEST_F(Limits, SizeBelowWhatIsInUseIsRefused) {
  serve_web({kOne, kTwo, kThree}, sizes(100, 100));
  EXPECT_EQ(lbd_->stop(), 0);
  lbd_->configure(sizes(100, 2) + file_source());
  const Finished done = lbd_->run_to_its_end();
  EXPECT_EQ(done.code, 1);
  EXPECT_THAT(done.err, HasSubstr("max_backends = 2 is too small"));
  EXPECT_THAT(ask_often(kWeb, 12), UnorderedElementsAre(Key("1"), Key("2"), Key("3")));
}

using Wildcard = DaemonNetns;

TEST_F(Wildcard, ServesLocalClientsOnEveryAddressAndFollowsNewOnes) {
  ASSERT_EQ(run({"ip", "address", "add", "10.9.0.1/32", "dev", "lo"}).code, 0);
  write_services(service_toml("web", "0.0.0.0:5000", {kOne}));
  lbd_->configure(file_source());
  ASSERT_TRUE(lbd_->start());
  ASSERT_TRUE(becomes("web", "local-only"));  // a backend on loopback cannot serve other hosts
  EXPECT_EQ(ask(kWeb), "1");
  EXPECT_EQ(ask("10.9.0.1:5000"), "1");
  EXPECT_EQ(ask("0.0.0.0:5000"), "1");
  ASSERT_EQ(run({"ip", "address", "add", "10.9.0.2/32", "dev", "lo"}).code, 0);
  EXPECT_TRUE(eventually([] { return ask("10.9.0.2:5000") == "1"; }));
  ASSERT_EQ(run({"ip", "address", "del", "10.9.0.1/32", "dev", "lo"}).code, 0);
  EXPECT_TRUE(eventually([&] {
    return json_at(lbd_->json({"explain", "10.9.0.1:5000"}), "/outcome") == "direct";
  }));
  EXPECT_EQ(ask(kWeb), "1");
}

}  // namespace
}  // namespace lb::test
