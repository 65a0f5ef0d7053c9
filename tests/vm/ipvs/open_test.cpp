// What open() says where IPVS cannot be had, and how a client lives through the module's going.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/utsname.h>

#include "guest.h"
#include "ipvs/client.h"
#include "support/process.h"

namespace lb::ipvs {
namespace {

using testing::HasSubstr;

std::string folder_of_modules() {
  utsname name{};
  ::uname(&name);
  return std::string("/lib/modules/") + name.release;
}

// What modprobe itself says when somebody does as the error has told.
test::Finished modprobe() { return test::run({"modprobe", "ip_vs"}); }

class Open : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = test::why_no_guest(); !why.empty()) GTEST_SKIP() << why;
    test::enter_first_namespace();
    ASSERT_TRUE(test::unload_ip_vs()) << test::run({"lsmod"}).out;
  }
};

TEST_F(Open, LoadsTheModule) {
  auto client = Client::open();
  ASSERT_TRUE(client) << client.error().message();
  EXPECT_TRUE(test::is_loaded("ip_vs"));
  EXPECT_EQ(client->info().value().version, 0x010201U);
}

TEST_F(Open, ABlacklistedModuleIsNamedWithTheFileAndTheWayOut) {
  {
    const test::TemporaryFile file("/etc/modprobe.d/lbd-test.conf", "blacklist ip_vs\n");
    const auto client = Client::open();
    ASSERT_FALSE(client);
    EXPECT_THAT(client.error().message(),
                HasSubstr("blacklisted in /etc/modprobe.d/lbd-test.conf (\"blacklist ip_vs\")"));
    EXPECT_FALSE(test::is_loaded("ip_vs"));
    EXPECT_EQ(modprobe().code, 0);  // "which loads it all the same"
  }
  EXPECT_TRUE(Client::open());
}

TEST_F(Open, AnInstallLineIsQuoted) {
  const test::TemporaryFile file("/etc/modprobe.d/lbd-test.conf", "install ip_vs /bin/false\n");
  const auto client = Client::open();
  ASSERT_FALSE(client);
  EXPECT_THAT(client.error().message(), HasSubstr("\"install ip_vs /bin/false\""));
  EXPECT_NE(modprobe().code, 0);
}

TEST_F(Open, AKernelWithoutTheModuleGetsModprobesWords) {
  const test::HiddenFolder hidden(folder_of_modules());
  const test::TemporaryFile index(folder_of_modules() + "/modules.dep", "");
  const auto client = Client::open();
  ASSERT_FALSE(client);
  const std::string words = "Module ip_vs not found in directory " + folder_of_modules();
  EXPECT_THAT(client.error().message(), HasSubstr(words));
  EXPECT_THAT(modprobe().err, HasSubstr(words));
}

TEST_F(Open, WithoutTheKernelsModulesInSightTheHostIsNamed) {
  const test::HiddenFolder hidden(folder_of_modules());
  const auto client = Client::open();
  ASSERT_FALSE(client);
  EXPECT_THAT(client.error().message(), HasSubstr("is not to be seen here"));
}

TEST_F(Open, WithoutCapNetAdminTheErrorNamesIt) {
  ASSERT_TRUE(Client::open());
  const test::OnlyCapabilities none({});
  const auto client = Client::open();
  ASSERT_FALSE(client);
  EXPECT_EQ(client.error().code, std::errc::operation_not_permitted);
  EXPECT_THAT(client.error().message(), HasSubstr("CAP_NET_ADMIN"));
}

TEST_F(Open, CapNetAdminIsEnough) {
  const test::OnlyCapabilities one({CAP_NET_ADMIN});
  auto client = Client::open();
  ASSERT_TRUE(client) << client.error().message();
  const auto id = test::service_id("tcp://127.0.0.1:80");
  const std::vector commands{test::add_service(id), test::add_server(id, "127.0.0.1:9001"),
                             test::with_kind(test::add_service(id), Command::Kind::RemoveService)};
  const auto results = client->apply(commands);
  ASSERT_TRUE(results) << results.error().message();
  for (const auto& result : *results) EXPECT_TRUE(result) << result.error().message();
}

TEST_F(Open, ACapabilityLostLaterIsToldAndDoesNoLastingHarm) {
  auto client = Client::open();
  ASSERT_TRUE(client);
  const auto id = test::service_id("tcp://127.0.0.1:80");
  {
    const test::OnlyCapabilities none({});
    EXPECT_EQ(client->services().error().code, std::errc::operation_not_permitted);
    const auto results = client->apply(std::vector{test::add_service(id)});
    ASSERT_TRUE(results);
    EXPECT_EQ(results->at(0).error().code, std::errc::operation_not_permitted);
  }
  EXPECT_TRUE(client->services());
}

TEST_F(Open, AClientLivesThroughTheModulesGoing) {
  auto client = Client::open();
  ASSERT_TRUE(client);
  ASSERT_TRUE(test::unload_ip_vs());
  // Told apart from a scheduler that is missing, which has the same errno.
  const std::vector commands{test::add_service(test::service_id("tcp://127.0.0.1:80"))};
  const auto results = client->apply(commands);
  ASSERT_FALSE(results);
  EXPECT_THAT(results.error().message(), HasSubstr("module ip_vs has been unloaded"));
  const auto services = client->services();  // loads it again
  ASSERT_TRUE(services) << services.error().message();
  EXPECT_THAT(*services, testing::IsEmpty());
}

}  // namespace
}  // namespace lb::ipvs
