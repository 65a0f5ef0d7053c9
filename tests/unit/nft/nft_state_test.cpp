#include "dataplane/nft_state.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace lb {
namespace {

NftState some() {
  ProgrammedService service;
  service.key = ServiceKey::parse("udp://[::]:53").value();
  service.addresses = {IpAddress::parse("10.0.0.1").value(), IpAddress::parse("fd00::1").value()};
  service.balance = Balance::SourceHash;
  service.backends = {{Address::parse("10.0.0.9:53").value(), 3},
                      {Address::parse("[fd00::9]:53").value(), 0}};
  return {.services = {{service.key, service}},
          .guard_forwarding = true,
          .generation = 4711,
          .fingerprint = "00ff 12"};
}

TEST(NftState, ComesBackAsItWas) {
  EXPECT_EQ(decode_nft_state(encode(some(), "boot 1"), "boot 1").value(), some());
}

TEST(NftState, KnowsTheRulesOfAnEarlierLbd) {
  std::string text = encode(some(), "b");
  const std::string line = fmt::format("\"rules\": {},", kNftRules);
  ASSERT_NE(text.find(line), std::string::npos) << text;
  text.erase(text.find(line), line.size());
  EXPECT_EQ(decode_nft_state(text, "b").value()->rules, 1);
}

TEST(NftState, IsVoidInAnotherBoot) {
  EXPECT_EQ(decode_nft_state(encode(some(), "boot 1"), "boot 2").value(), std::nullopt);
}

TEST(NftState, RefusesWhatIsNone) {
  for (const char* text :
       {"", "[]", "{}", R"({"kind": 3})", R"({"kind": "lbd-nft 1", "here": "b"})",
        R"({"kind": "lbd-nft 1", "here": "b", "generation": 1, "fingerprint": "",
                               "guard_forwarding": false, "services": [{"service": "x"}]})"})
    EXPECT_FALSE(decode_nft_state(text, "b")) << text;
}

}  // namespace
}  // namespace lb
