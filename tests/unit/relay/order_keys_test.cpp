// Who may make orders for the fleet: signatures, keys that are learnt, changed, trusted and lost.
#include "relay/order_keys.h"

#include <sys/stat.h>

#include <chrono>
#include <cstdlib>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/limits.h"
#include "base/text.h"
#include "relay/fleet.h"
#include "relay/message.h"
#include "support/temp_folder.h"

namespace lb {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const SysTime kNow{milliseconds(1'700'000'000'123)};
const std::string kUpdater = "updater-1:7676";

FleetOrder order(std::string id = "a", SysTime time = kNow, bool drain = true) {
  return {.id = std::move(id),
          .time = time,
          .target = "10.0.0.1:80",
          .service = "web",
          .drain = drain,
          .ids = {"t1", "t2"}};
}

class OrderKeysTest : public testing::Test {
 protected:
  OrderSigner signer(const std::string& name = "order.key") {
    return OrderSigner::open(folder_.file(name)).value();
  }
  // As an updater of this key makes it.
  FleetOrder by(const OrderSigner& who, FleetOrder what, SysTime now = kNow) {
    EXPECT_TRUE(who.sign(what, now + limits::kOrderLife));
    return what;
  }
  // A listener with the keys of an updater that it has dialled.
  FleetOrders listener(const OrderSigner& updater) {
    FleetOrders out = FleetOrders::without(folder_.file("fleet.json"));
    meet(out, updater.public_key());
    return out;
  }
  static void meet(FleetOrders& orders, const std::string& key) {
    orders.change_keys([&](OrderKeys& keys) { return keys.met(kUpdater, key, kNow); });
  }
  static Result<std::string> trust(FleetOrders& orders, const std::string& what) {
    Result<std::string> out = what;
    orders.change_keys([&](OrderKeys& keys) {
      out = keys.trust(what, kNow);
      return out.has_value();
    });
    return out;
  }

  TempFolder folder_;
};

using OrderSignature = OrderKeysTest;

TEST_F(OrderSignature, HoldsForWhatWasSignedAndForNothingElse) {
  const FleetOrder good = by(signer(), order());
  EXPECT_TRUE(check_signature(good));
  EXPECT_TRUE(check_signature(good)) << "seen before";
  const auto changed = [&](auto change) {
    FleetOrder other = good;
    change(other);
    return !check_signature(other);
  };
  EXPECT_TRUE(changed([](FleetOrder& o) { o.id += "x"; }));
  EXPECT_TRUE(changed([](FleetOrder& o) { o.time += milliseconds(1); }));
  EXPECT_TRUE(changed([](FleetOrder& o) { o.expires += milliseconds(1); }));
  EXPECT_TRUE(changed([](FleetOrder& o) { o.target = "10.0.0.1:8"; }));
  EXPECT_TRUE(changed([](FleetOrder& o) { o.service = ""; }));
  EXPECT_TRUE(changed([](FleetOrder& o) { o.drain = false; }));
  EXPECT_TRUE(changed([](FleetOrder& o) { o.ids = {"t1"}; }));
  EXPECT_TRUE(changed([](FleetOrder& o) { o.ids = {"t1t2"}; })) << "no two orders have one text";
  EXPECT_TRUE(changed([](FleetOrder& o) { o.signature = base64_encode(std::string(64, '\0')); }));
  EXPECT_TRUE(changed([](FleetOrder& o) { o.signature = "AAAA"; }));
  EXPECT_TRUE(changed([](FleetOrder& o) { o.key = "not a key"; }));
  const std::string other_key = signer("other.key").public_key();
  EXPECT_TRUE(changed([&](FleetOrder& o) { o.key = other_key; }));
}

TEST_F(OrderSignature, KeyIsMadeOnceAndForItsOwnerAlone) {
  const std::string path = folder_.file("order.key");
  const std::string key = signer().public_key();
  EXPECT_TRUE(is_order_key(key));
  EXPECT_EQ(key.size(), 44U);
  struct stat info {};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
  EXPECT_EQ(signer().public_key(), key) << "the same after a restart";
  ASSERT_EQ(::chmod(path.c_str(), 0640), 0);
  const auto exposed = OrderSigner::open(path);
  ASSERT_FALSE(exposed);
  EXPECT_THAT(exposed.error().message(), HasSubstr("chmod 600"));
}

TEST_F(OrderSignature, KeyThatIsNoneIsNamed) {
  const std::string path = folder_.write("order.key", "junk\n");
  ASSERT_EQ(::chmod(path.c_str(), 0600), 0);
  EXPECT_THAT(OrderSigner::open(path).error().message(), HasSubstr(path + " holds no private key"));
  const std::string rsa = folder_.file("rsa.key");
  ASSERT_EQ(std::system(("openssl genpkey -algorithm ec -pkeyopt ec_paramgen_curve:P-256 -out " +
                         rsa + " 2>/dev/null && chmod 600 " + rsa)
                            .c_str()),
            0);
  EXPECT_THAT(OrderSigner::open(rsa).error().message(), HasSubstr("not of Ed25519"));
}

TEST_F(OrderSignature, ThatIsWrongCostsItsOrderAlone) {
  const OrderSigner updater = signer();
  FleetOrder forged = by(updater, order("forged"));
  forged.target = "10.0.0.9:80";
  const relay::Orders told{{by(updater, order("good")), forged, order("unsigned")}};
  const auto read = relay::decode(relay::encode(told), IpAddress());
  ASSERT_TRUE(read && *read);
  const auto& orders = std::get<relay::Orders>(**read);
  ASSERT_EQ(orders.orders.size(), 2U);
  EXPECT_EQ(orders.orders[0], told.orders[0]) << "key, expires and signature have come through";
  EXPECT_FALSE(orders.orders[1].is_signed());
  EXPECT_THAT(orders.refused,
              HasSubstr("order forged of 10.0.0.9:80 is not what its key has signed"));
}

TEST_F(OrderKeysTest, FirstKeyOfADialledUpdaterIsLearntAndAnotherOneIsAProblem) {
  const OrderSigner before = signer("before");
  const OrderSigner after = signer("after");
  FleetOrders orders = listener(before);
  EXPECT_TRUE(orders.hear({by(before, order("a"))}, kNow).changed);
  EXPECT_THAT(orders.keys().problems(), IsEmpty());
  // It was installed again, or it is another one.
  meet(orders, after.public_key());
  const FleetOrder undrain = by(after, order("b", kNow + milliseconds(1), false));
  const auto heard = orders.hear({undrain}, kNow);
  EXPECT_FALSE(heard.changed);
  EXPECT_THAT(heard.why, HasSubstr("which is not trusted here"));
  EXPECT_TRUE(orders.all().at(0).order.drain) << "what was taken stays in force";
  EXPECT_THAT(orders.keys().problems(), ElementsAre(HasSubstr("lbctl trust " + kUpdater)));
  ASSERT_EQ(orders.refused().size(), 1U);
  ASSERT_EQ(trust(orders, kUpdater).value(), after.public_key());
  EXPECT_THAT(orders.keys().problems(), IsEmpty());
  EXPECT_EQ(orders.prune(kNow).news.size(), 1U) << "heard again";
  EXPECT_FALSE(orders.all().at(0).order.drain);
  EXPECT_THAT(orders.refused(), IsEmpty());
  EXPECT_FALSE(orders.keys().trusts(before.public_key()));
}

TEST_F(OrderKeysTest, CarriedOrdersTeachNoKey) {
  FleetOrders orders = listener(signer());
  const FleetOrder carried = by(signer("tenant"), order());
  EXPECT_EQ(orders.hear({carried}, kNow).refused, 1U);
  EXPECT_EQ(orders.hear({carried}, kNow).refused, 1U);
  EXPECT_THAT(orders.all(), IsEmpty());
  EXPECT_THAT(orders.hear({order("unsigned")}, kNow).why, HasSubstr("signed by no updater"));
}

TEST_F(OrderKeysTest, ReplayAfterAnUndrainDoesNothingNowAndAfterItIsForgotten) {
  const OrderSigner updater = signer();
  FleetOrders orders = listener(updater);
  const FleetOrder drain = by(updater, order("a"));
  const FleetOrder undrain = by(updater, order("b", kNow + hours(1), false), kNow + hours(1));
  (void)orders.hear({drain}, kNow);
  (void)orders.hear({undrain}, kNow + hours(1));
  EXPECT_FALSE(orders.hear({drain}, kNow + hours(2)).changed);
  const SysTime later = kNow + hours(1) + limits::kOrderLife + milliseconds(1);
  (void)orders.prune(later);
  ASSERT_THAT(orders.all(), IsEmpty());
  const auto heard = orders.hear({drain}, later);
  EXPECT_FALSE(heard.changed);
  EXPECT_THAT(heard.why, HasSubstr("an old one that has come back"));
}

TEST_F(OrderKeysTest, NoSignatureHoldsForAges) {
  const OrderSigner updater = signer();
  FleetOrders orders = listener(updater);
  FleetOrder drain = order();
  ASSERT_TRUE(updater.sign(drain, kNow + hours(24 * 365)));
  EXPECT_THAT(orders.hear({drain}, kNow).why, HasSubstr("too far ahead"));
}

TEST_F(OrderKeysTest, ClockOfAnUpdaterMayBeADayAheadOrBehind) {
  const OrderSigner updater = signer();
  for (const auto off : {hours(23), -hours(23)}) {
    FleetOrders orders = listener(updater);
    const SysTime there = kNow + off;
    EXPECT_TRUE(orders.hear({by(updater, order("a", there), there)}, kNow).changed) << off.count();
    EXPECT_TRUE(orders.hear({by(updater, order("b", there + milliseconds(1), false), there)}, kNow)
                    .changed);
  }
}

// What is in force for long is signed again, so that a new listener takes it; that is no news for others.
TEST_F(OrderKeysTest, UpdaterSignsAgainWhatIsInForce) {
  const OrderSigner key = signer();
  FleetOrders updater = FleetOrders::without(folder_.file("updater.json"));
  updater.change_keys([&](OrderKeys& keys) {
    keys.set_own(key);
    return false;
  });
  FleetOrders old_listener = listener(key);
  ASSERT_TRUE(updater.adopt(by(key, order())).value());
  (void)old_listener.hear({updater.all()[0].order}, kNow);
  ASSERT_TRUE(old_listener.end("a", kNow));
  ASSERT_TRUE(updater.renew(kNow + hours(1)));
  EXPECT_EQ(updater.all()[0].order.expires, kNow + limits::kOrderLife) << "not at each look";
  const SysTime later = kNow + limits::kOrderLife - hours(1);
  ASSERT_TRUE(updater.renew(later));
  const FleetOrder renewed = updater.all()[0].order;
  EXPECT_EQ(renewed.expires, later + limits::kOrderLife);
  EXPECT_TRUE(check_signature(renewed));
  FleetOrders new_listener = listener(key);
  EXPECT_TRUE(new_listener.hear({renewed}, later).changed);
  const auto heard = old_listener.hear({renewed}, later);
  EXPECT_THAT(heard.news, IsEmpty());
  EXPECT_TRUE(old_listener.all()[0].ended) << "it goes on where it was";
  EXPECT_EQ(old_listener.all()[0].order, renewed) << "to be carried on";
}

TEST_F(OrderKeysTest, WhatWasSavedUnsignedStaysInForceAndIsSignedByItsUpdater) {
  const std::string path = folder_.write(
      "fleet.json",
      R"({"version":1,"orders":[{"id":"o","time":"2023-11-14T22:13:20.000Z","target":"host","drain":true}]})");
  FleetOrders orders = FleetOrders::open(path).value();
  ASSERT_EQ(orders.all().size(), 1U);
  EXPECT_FALSE(orders.hear({orders.all()[0].order}, kNow).refused) << "an old lbd tells it";
  orders.change_keys([&](OrderKeys& keys) {
    keys.set_own(signer());
    return false;
  });
  ASSERT_TRUE(orders.renew(kNow));
  EXPECT_TRUE(check_signature(orders.all()[0].order));
}

TEST_F(OrderKeysTest, UpdaterRemembersWhatItCannotJudgeAndVouchesForNothingOfIt) {
  FleetOrders updater = FleetOrders::without(folder_.file("updater.json"));
  updater.change_keys([&](OrderKeys& keys) {
    keys.set_own(signer());
    keys.set_follows(false);
    return false;
  });
  const OrderSigner other = signer("other");
  EXPECT_TRUE(updater.hear({by(other, order())}, kNow).changed);
  EXPECT_TRUE(updater.keys().is_unknown(updater.all()[0].order));
  ASSERT_TRUE(updater.renew(kNow + limits::kOrderLife - hours(1)));
  EXPECT_EQ(updater.all()[0].order.key, other.public_key());
  // What follows it must be taken by listeners.
  EXPECT_THAT(updater.hear({by(other, order("z", kNow + hours(1)))}, kNow).why,
              HasSubstr("its key is unknown here"));
  EXPECT_EQ(updater.hear({order("unsigned", kNow + milliseconds(5))}, kNow).refused, 1U);
}

TEST_F(OrderKeysTest, StrangersDoNotFillAnUpdater) {
  FleetOrders updater = FleetOrders::without(folder_.file("updater.json"));
  updater.change_keys([&](OrderKeys& keys) {
    keys.set_own(signer());
    keys.set_follows(false);
    return false;
  });
  const OrderSigner stranger = signer("stranger");
  std::vector<FleetOrder> many;
  for (std::size_t i = 0; i < limits::kOrders / 2 + 100; ++i) {
    FleetOrder one = order();
    one.id = one.target = fmt::format("h{}", i);
    one.key = stranger.public_key();  // decode() has looked at the signature
    one.expires = kNow + hours(1);
    many.push_back(one);
    if (many.size() == 100) (void)updater.hear(std::exchange(many, {}), kNow);
  }
  EXPECT_LE(updater.all().size(), limits::kOrders / 2 + 100);
  EXPECT_TRUE(updater.adopt(order("mine")).value());
}

TEST_F(OrderKeysTest, ConfiguredKeysAloneAreTrusted) {
  const OrderSigner named = signer("named");
  const OrderSigner shown = signer("shown");
  FleetOrders orders = listener(shown);
  orders.change_keys(
      [&](OrderKeys& keys) { return keys.configure({named.public_key()}, {kUpdater}); });
  EXPECT_TRUE(orders.hear({by(named, order("a"))}, kNow).changed);
  EXPECT_FALSE(orders.hear({by(shown, order("b", kNow + milliseconds(1)))}, kNow).changed);
  EXPECT_EQ(trust(orders, kUpdater).error().code, std::errc::file_exists);
  EXPECT_THAT(orders.keys().problems(), ElementsAre(HasSubstr("[relay] order_keys does not name")));
}

TEST_F(OrderKeysTest, AreSavedWithTheOrdersAndForgottenWithTheirUpdater) {
  const OrderSigner updater = signer();
  const std::string by_hand = signer("by-hand").public_key();
  const std::string path = folder_.file("fleet.json");
  {
    FleetOrders orders = listener(updater);
    EXPECT_EQ(trust(orders, by_hand).value(), by_hand);
    ASSERT_TRUE(orders.unsaved()());
  }
  FleetOrders orders = FleetOrders::open(path).value();
  EXPECT_TRUE(orders.keys().trusts(updater.public_key()));
  EXPECT_TRUE(orders.keys().trusts(by_hand));
  meet(orders, signer("another").public_key());
  EXPECT_THAT(orders.keys().problems(), testing::SizeIs(1)) << "over a restart";
  orders.change_keys([](OrderKeys& keys) { return keys.configure({}, {"updater-2:7676"}); });
  EXPECT_FALSE(orders.keys().trusts(updater.public_key()));
  EXPECT_THAT(orders.keys().problems(), IsEmpty());
}

TEST_F(OrderKeysTest, TrustAndForgetSayWhatIsUnknown) {
  FleetOrders orders = listener(signer());
  EXPECT_EQ(trust(orders, "updater-9:7676").error().code, std::errc::no_such_file_or_directory);
  OrderKeys keys = orders.keys();
  EXPECT_EQ(keys.forget("nothing").error().code, std::errc::no_such_file_or_directory);
  EXPECT_EQ(keys.forget(kUpdater).value(), signer().public_key());
  EXPECT_FALSE(keys.trusts(signer().public_key()));
  EXPECT_FALSE(keys.met("u", "no key at all", kNow));
}

TEST_F(OrderKeysTest, AnOldUpdaterWhoseKeyWasKnownIsAProblem) {
  FleetOrders orders = listener(signer());
  meet(orders, "");
  EXPECT_THAT(orders.keys().problems(), ElementsAre(HasSubstr("signs no orders")));
}

}  // namespace
}  // namespace lb
