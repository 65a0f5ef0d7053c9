#include "unit/lbctl/harness.h"

namespace lb::lbctl {
namespace {

using Kind = OrderKeys::View::Kind;

TEST_F(Lbctl, TrustShowsWhoseDrainsOfTheFleetAreTaken) {
  control.keys = {{test::kOrderKey, "updater-1:7676", Kind::Learnt, test::kStarted},
                  {test::kOrderKey, "10.20.30.40:7676", Kind::Offered, std::nullopt}};
  EXPECT_EQ(run_lbctl({"trust"}), kExitOk);
  EXPECT_HAS(out(), "updater-1:7676    learnt       " + test::kOrderKey);
  EXPECT_HAS(out(), "10.20.30.40:7676  not trusted  " + test::kOrderKey);
}

TEST_F(Lbctl, TrustTakesTheKeyThatAnUpdaterShowsNow) {
  EXPECT_EQ(run_lbctl({"trust", "updater-1:7676", "--reason", "installed again"}), kExitOk);
  EXPECT_EQ(calls.back(), "POST /v1/trust");
  EXPECT_EQ(control.trusted.back(), "trust updater-1:7676");
  EXPECT_HAS(err(), "Orders that " + test::kOrderKey + " signs are taken from now on.");
  EXPECT_EQ(run_lbctl({"trust", "updater-1:7676", "--forget"}), kExitOk);
  EXPECT_EQ(control.trusted.back(), "forget updater-1:7676");
  EXPECT_HAS(err(), "are not taken from now on.");
}

TEST_F(Lbctl, TrustSaysWhatIsWrong) {
  EXPECT_EQ(run_lbctl({"trust", "updater-9:1"}), kExitFailed);
  EXPECT_HAS(err(), "is no updater");
  EXPECT_EQ(run_lbctl({"trust", "--forget"}), kExitUsage);
  EXPECT_HAS(err(), "--forget needs");
}

TEST_F(Lbctl, AFleetDrainNamesListenersThatDoNotTakeIt) {
  relay::FleetProgress progress;
  progress.order = {.id = "f1",
                    .time = test::kStarted,
                    .target = "10.0.0.2:9001",
                    .service = "",
                    .drain = true,
                    .ids = {}};
  progress.listeners = {{.node = "n1", .connected = true, .programmed = true},
                        {.node = "n2", .connected = true, .why = "is signed with the key X"}};
  control.fleet = {progress};
  EXPECT_EQ(run_lbctl({"drain", "--fleet", "10.0.0.2:9001", "--timeout", "2s", "--wait"}),
            kExitTimedOut);
  EXPECT_HAS(out(), "n2        refuses");
  EXPECT_HAS(err(), "1 not taken (n2)");
  EXPECT_HAS(err(), "n2: the order is signed with the key X");
}

}  // namespace
}  // namespace lb::lbctl
