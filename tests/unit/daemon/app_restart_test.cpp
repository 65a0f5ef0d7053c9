// What an app knows that comes after one that could not save.
#include "unit/daemon/app_fixture.h"

namespace lb {
namespace {

using testing::ElementsAre;

// It keeps what it was made with while it cannot read, and delivers it again where a reading is in doubt.
TEST_F(AppTest, ASourceIsMadeWithWhatTheKernelHasAndTheDiskHasNot) {
  const SnapshotStore store(folder_.file("state") + "/sources");
  ASSERT_TRUE(make_folder(folder_.file("state")));
  ASSERT_TRUE(store.save("files", web()));
  kernel_.plant({.key = key("127.0.0.1:80"),
                 .addresses = {IpAddress::v4(0x7f000001)},
                 .balance = Balance::LeastConn,
                 .backends = {{.address = Address::parse("10.0.0.2:9000").value(), .weight = 1}}});
  start();
  ASSERT_TRUE(saved_["files"]);
  std::vector<std::string> addresses;
  for (const Backend& b : saved_["files"]->services.at(0)->backends)
    addresses.push_back(b.address.to_string());
  EXPECT_THAT(addresses, ElementsAre("10.0.0.2:9000"));
}

}  // namespace
}  // namespace lb
