// What others send: tolerated where it may come from a later version, refused with a reason else.
#include <gtest/gtest.h>

#include "relay/message.h"

namespace lb::relay {
namespace {

const IpAddress kHere = IpAddress::v4(0x7f000001);

Result<std::optional<Message>> decoded(std::string_view line) { return decode(line, kHere); }

std::string refusal(std::string_view line) {
  const auto out = decoded(line);
  if (out) return "(taken)";
  EXPECT_EQ(out.error().code, std::errc::bad_message);
  return out.error().context;
}

TEST(RelayDecode, IgnoresTypesAndFieldsThatItDoesNotKnow) {
  const auto unknown = decoded(R"({"t":"telepathy","to":["everyone"]})");
  ASSERT_TRUE(unknown);
  EXPECT_FALSE(*unknown);
  const auto ping = decoded(R"({"t":"ping","mood":{"deep":[1,2]}})");
  ASSERT_TRUE(ping && *ping);
  EXPECT_TRUE(std::holds_alternative<Ping>(**ping));
}

TEST(RelayDecode, TellsTheHellosApart) {
  const auto listener =
      decoded(R"({"t":"hello","proto":9,"node":"n","version":"v","wants_state":false})");
  ASSERT_TRUE(listener && *listener);
  EXPECT_EQ(std::get<ListenerHello>(**listener).protocol, 9);
  const auto updater =
      decoded(R"({"t":"hello","proto":1,"node":"n","version":"v","epoch":"e","seq":0})");
  ASSERT_TRUE(updater && *updater);
  EXPECT_EQ(std::get<UpdaterHello>(**updater).at.sequence, 0u);
}

TEST(RelayDecode, HandsOutHellosOfImpossibleProtocols) {
  for (const char* proto : {"", R"("proto":0,)", R"("proto":-1,)", R"("proto":"1",)"}) {
    const auto hello = decoded(R"({"t":"hello",)" + std::string(proto) + R"("wants_state":true})");
    ASSERT_TRUE(hello && *hello) << proto;
    EXPECT_EQ(std::get<ListenerHello>(**hello).protocol, 0) << proto;
  }
}

TEST(RelayDecode, MakesNamesPrintable) {
  const auto bye = decoded(R"({"t":"bye","reason":"\u001b[31m\n"})");
  ASSERT_TRUE(bye && *bye);
  EXPECT_EQ(std::get<Goodbye>(**bye).reason, R"(\x1b[31m\x0a)");
}

TEST(RelayDecode, RefusesWhatIsNoMessage) {
  EXPECT_NE(refusal("").find("message"), std::string::npos);
  EXPECT_NE(refusal("[]").find("is no object"), std::string::npos);
  EXPECT_NE(refusal("{}").find("'t'"), std::string::npos);
  EXPECT_NE(refusal(R"({"t":7})").find("number"), std::string::npos);
  EXPECT_NE(refusal("{\"t\":\"\xff\"}").find("UTF-8"), std::string::npos);
  EXPECT_NE(refusal(R"({"t":"ping")").find("parse error"), std::string::npos);
  EXPECT_NE(refusal(std::string(20, '[')).find("brackets"), std::string::npos);
}

TEST(RelayDecode, CountsOnlyBracketsOutsideOfTexts) {
  EXPECT_TRUE(decoded(R"({"t":"bye","reason":"\"[[[[[[[[[[[[[[[[[[[[[["})"));
}

TEST(RelayDecode, RefusesSnapshotsThatAreNotWhole) {
  const std::string begin = R"({"t":"snapshot","epoch":"e","seq":1,"sources":[],"services":[])";
  EXPECT_TRUE(decoded(begin + R"(,"count":0,"complete":true})"));
  EXPECT_NE(refusal(begin + "}").find("is not complete"), std::string::npos);
  EXPECT_NE(refusal(begin + R"(,"complete":true})").find("count"), std::string::npos);
  EXPECT_NE(refusal(begin + R"(,"count":2,"complete":true})").find("has 0 services and says 2"),
            std::string::npos);
}

std::string service(const char* key, const char* backends) {
  return std::string(R"({"key":")") + key + R"(","name":"n","balance":"random","backends":[)" +
         backends + "]}";
}

std::string snapshot_of(const std::string& services, int count) {
  return R"({"t":"snapshot","epoch":"e","seq":1,"services":[)" + services + R"(],"count":)" +
         std::to_string(count) + R"(,"complete":true})";
}

TEST(RelayDecode, NamesWhatIsWrongWithAService) {
  const auto refused = [](const char* key, const char* backends) {
    return refusal(snapshot_of(service(key, backends), 1));
  };
  EXPECT_EQ(refused("tcp://:80", R"({"a":"10.0.0.1:1"})"), "(taken)");
  EXPECT_NE(refused("tcp://:0", "").find("0"), std::string::npos);
  EXPECT_NE(refused("tcp://:70000", "").find("70000"), std::string::npos);
  EXPECT_NE(refused("sctp://:80", "").find("sctp"), std::string::npos);
  EXPECT_NE(refused(":80", "").find("80"), std::string::npos);
  EXPECT_NE(refused("tcp://1.2.3.4:80", R"({"a":"10.0.0.1"})").find("10.0.0.1"), std::string::npos);
  EXPECT_NE(refused("tcp://1.2.3.4:80", R"({"a":"10.0.0.1:1","w":-1})").find("weight -1"),
            std::string::npos);
  EXPECT_NE(refused("tcp://1.2.3.4:80", R"({"a":"10.0.0.1:1","s":"ill"})").find("ill"),
            std::string::npos);
  EXPECT_NE(refused("tcp://1.2.3.4:80", R"({"a":"10.0.0.1:1"},{"a":"10.0.0.1:1"})")
                .find("backend 10.0.0.1:1 of service tcp://1.2.3.4:80 is there twice"),
            std::string::npos);
}

TEST(RelayDecode, SortsServicesAndBackendsAndRefusesDoubles) {
  const auto out = decoded(
      snapshot_of(service("tcp://9.0.0.1:80", "") + "," +
                      service("tcp://1.2.3.4:80", R"({"a":"10.0.0.2:1"},{"a":"10.0.0.1:1"})"),
                  2));
  ASSERT_TRUE(out && *out);
  const auto& services = std::get<SnapshotMessage>(**out).services;
  EXPECT_EQ(services[0]->key.to_string(), "tcp://1.2.3.4:80");
  EXPECT_EQ(services[0]->backends[0].address.to_string(), "10.0.0.1:1");
  const std::string twice = service("tcp://9.0.0.1:80", "");
  EXPECT_NE(refusal(snapshot_of(twice + "," + twice, 2)).find("tcp://9.0.0.1:80 is there twice"),
            std::string::npos);
}

TEST(RelayDecode, RefusesWhatWouldTakeTooMuchToBeRead) {
  const std::string nested = std::string(100'000, '[') + std::string(100'000, ']');
  EXPECT_NE(refusal(R"({"t":"ping","x":)" + nested + "}").find("too many brackets"),
            std::string::npos);
  std::string junk = R"({"t":"counts","x":[)";
  while (junk.size() < std::size_t{8} << 20) junk += "{},";
  EXPECT_NE(refusal(junk + "{}]}").find("too many values"), std::string::npos);
}

TEST(RelayDecode, RefusesAHealthCheckThatAsksAnotherHost) {
  const auto with = [](const std::string& path, const char* interval) {
    return refusal(snapshot_of(
        R"({"key":"tcp://:80","name":"web","balance":"least-conn","backends":[],"check":{"type":"http","path":")" +
            path + R"(","port":0,"interval":")" + interval +
            R"(","timeout":"2s","rise":2,"fall":3}})",
        1));
  };
  EXPECT_EQ(with("/health", "2s"), "(taken)");
  EXPECT_NE(with("@127.0.0.1:2379/v2/keys/secret", "2s").find("must start with /"),
            std::string::npos);
  EXPECT_NE(with("/a\\r\\nX: y", "2s").find("path"), std::string::npos);
  EXPECT_NE(with("/health", "1ms").find("interval"), std::string::npos);
}

TEST(RelayDecode, RefusesOrdersThatNobodyCouldCarryOut) {
  const auto refused = [](const char* target, const char* id) {
    return refusal(std::string(R"({"t":"orders","orders":[{"id":")") + id +
                   R"(","time":"2026-11-22T02:13:55.123Z","drain":true,"target":")" + target +
                   "\"}]}");
  };
  EXPECT_EQ(refused("10.0.0.1:80", "a"), "(taken)");
  EXPECT_NE(refused("", "a").find("order a"), std::string::npos);
  EXPECT_NE(refused("10.0.0.1:99999", "a").find("99999"), std::string::npos);
  EXPECT_NE(refused("host", "").find("id"), std::string::npos);
}

}  // namespace
}  // namespace lb::relay
