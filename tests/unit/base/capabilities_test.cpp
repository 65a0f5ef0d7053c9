#include "base/capabilities.h"

#include <gtest/gtest.h>

namespace lb {
namespace {

TEST(Capabilities, AreReadFromProc) {
  EXPECT_EQ(parse_effective_capabilities(
                "CapPrm:\tffffffffffffffff\nCapEff:\t0000008000001000\nCapBnd:\t0\n"),
            0x8000001000ULL);
  EXPECT_EQ(parse_effective_capabilities("Name:\tx\n"), 0U);
}

TEST(Capabilities, WhatBpfLacksIsNamed) {
  constexpr auto bit = [](unsigned n) { return std::uint64_t{1} << n; };
  EXPECT_EQ(missing_for_bpf(0), "CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON");
  EXPECT_EQ(missing_for_bpf(bit(kCapBpf) | bit(kCapNetAdmin)), "CAP_PERFMON");
  EXPECT_EQ(missing_for_bpf(bit(kCapSysAdmin)), "CAP_NET_ADMIN");
  EXPECT_EQ(missing_for_bpf(bit(kCapSysAdmin) | bit(kCapNetAdmin)), "");
  EXPECT_EQ(missing_for_bpf(bit(kCapBpf) | bit(kCapNetAdmin) | bit(kCapPerfmon)), "");
}

}  // namespace
}  // namespace lb
