// The hooks' choice of a backend, run in the kernel without a socket.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <cmath>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <select_test.skel.h>

#include "bpf/lb_abi.h"
#include "bpf/tests/select_args.h"
#include "ebpf/cooldown.h"
#include "ebpf/maps.h"
#include "ebpf/slots.h"

namespace lb::bpf {
namespace {

class Select : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    skeleton_ = select_test::open(nullptr);
    ASSERT_NE(skeleton_, nullptr);
    bpf_map__set_max_entries(skeleton_->maps.slots, 70000);
    bpf_map__set_max_entries(skeleton_->maps.backends, 4096);
    bpf_map__set_max_entries(skeleton_->maps.cold, 4096);
    ASSERT_EQ(select_test::load(skeleton_), 0) << "the verifier refused";
    const auto mapped = [](const bpf_map* map) { return UniqueFd(::dup(bpf_map__fd(map))); };
    slots_ = std::make_unique<MappedArray<std::uint64_t>>(
        *MappedArray<std::uint64_t>::map(mapped(skeleton_->maps.slots), 70000));
    backends_ = std::make_unique<MappedArray<lb_backend>>(
        *MappedArray<lb_backend>::map(mapped(skeleton_->maps.backends), 4096));
  }
  void TearDown() override { select_test::destroy(skeleton_); }

  // Backends 1 to n with these weights, in slots from `base` on.
  std::uint64_t make_set(Balance balance, const std::vector<std::uint32_t>& weights,
                         std::uint32_t base = 7) {
    const auto reduced = reduce_weights(weights);
    std::vector<Candidate> candidates;
    for (std::uint32_t i = 0; i < reduced.size(); ++i) {
      candidates.push_back({i + 1, reduced[i], "10.0.0." + std::to_string(i) + ":80"});
      (*backends_)[i + 1] = {};
      (*backends_)[i + 1].weight = static_cast<__u16>(reduced[i]);
      (*backends_)[i + 1].owner = i + 1;
    }
    const SlotPlan plan = plan_slots(balance, true, candidates);
    std::copy(plan.slots.begin(), plan.slots.end(), slots_->all().begin() + base);
    return plan.word(base);
  }

  void run(const bpf_program* program, lb_select_args& args) {
    LIBBPF_OPTS(bpf_test_run_opts, options);
    options.ctx_in = &args;
    options.ctx_size_in = sizeof args;
    ASSERT_EQ(::bpf_prog_test_run_opts(bpf_program__fd(program), &options), 0);
    ASSERT_EQ(options.retval, 0u);
  }
  std::uint32_t select(std::uint64_t set, std::uint32_t hash = 0) {
    lb_select_args args{};
    args.set = set;
    args.random = static_cast<std::uint32_t>(random_());
    args.hash = hash;
    run(skeleton_->progs.lb_test_select, args);
    return args.id;
  }
  std::map<std::uint32_t, int> select_many(std::uint64_t set, int n) {
    std::map<std::uint32_t, int> out;
    for (int i = 0; i < n; ++i) ++out[select(set)];
    return out;
  }
  std::uint32_t cutoff_of(std::uint64_t set) {
    lb_select_args args{};
    args.set = set;
    run(skeleton_->progs.lb_test_cutoff, args);
    return args.cutoff;
  }
  void set_active(std::uint32_t id, std::uint32_t active) { (*backends_)[id].active = active; }

  select_test* skeleton_ = nullptr;
  std::unique_ptr<MappedArray<std::uint64_t>> slots_;
  std::unique_ptr<MappedArray<lb_backend>> backends_;
  std::mt19937 random_{20261122};  // NOLINT: the same numbers each time are wanted
};

TEST_F(Select, EmptySetHasNoBackend) {
  for (const auto policy :
       {LB_POLICY_RANDOM, LB_POLICY_P2C, LB_POLICY_LEAST, LB_POLICY_ROUND_ROBIN, LB_POLICY_HASH})
    EXPECT_EQ(select(LB_SET(0, 0, policy)), 0u);
}

TEST_F(Select, LeastConnectionsTakesTheFewestPerWeight) {
  const auto set = make_set(Balance::LeastConn, {1, 1, 1});
  set_active(1, 5);
  set_active(2, 3);
  set_active(3, 4);
  EXPECT_EQ(select_many(set, 50), (std::map<std::uint32_t, int>{{2, 50}}));
  const auto weighted = make_set(Balance::LeastConn, {1, 1, 10});
  set_active(1, 5);
  set_active(2, 3);
  set_active(3, 20);
  EXPECT_EQ(select_many(weighted, 50), (std::map<std::uint32_t, int>{{3, 50}}));
}

TEST_F(Select, LeastConnectionsReadsACountBelowZeroAsZero) {
  const auto set = make_set(Balance::LeastConn, {1, 1});
  set_active(1, static_cast<std::uint32_t>(-3));
  set_active(2, 1);
  EXPECT_EQ(select_many(set, 50), (std::map<std::uint32_t, int>{{1, 50}}));
}

TEST_F(Select, LeastConnectionsLooksAtTheOwnerOfASharedAddress) {
  const auto set = make_set(Balance::LeastConn, {1, 1});
  (*backends_)[1].flags = LB_BACKEND_MEMBER;
  (*backends_)[1].owner = 9;
  (*backends_)[9].active = 100;
  set_active(2, 50);
  EXPECT_EQ(select_many(set, 50), (std::map<std::uint32_t, int>{{2, 50}}));
}

TEST_F(Select, IdleBackendsShareByWeight) {
  auto even = select_many(make_set(Balance::LeastConn, {1, 1, 1}), 6000);
  for (std::uint32_t id = 1; id <= 3; ++id) EXPECT_NEAR(even[id], 2000, 200);
  auto weighted = select_many(make_set(Balance::LeastConn, {1, 2, 5}), 8000);
  EXPECT_NEAR(weighted[1], 1000, 150);
  EXPECT_NEAR(weighted[2], 2000, 200);
  EXPECT_NEAR(weighted[3], 5000, 250);
}

TEST_F(Select, RandomDrawsByWeight) {
  auto got = select_many(make_set(Balance::Random, {1, 2, 5, 0x7fff}), 8000);
  EXPECT_LT(got[1], 10);
  EXPECT_GT(got[4], 7900);
  auto plain = select_many(make_set(Balance::Random, {3, 1}), 8000);
  EXPECT_NEAR(plain[1], 6000, 200);
}

TEST_F(Select, TwoChoicesPreferTheLessLoaded) {
  const auto set = make_set(Balance::P2c, {1, 1});
  set_active(1, 10);
  auto got = select_many(set, 4000);
  EXPECT_NEAR(got[1], 1000, 150);  // only when both draws fall on it
}

TEST_F(Select, TwoChoicesCompareLoadsPerWeight) {
  const auto set = make_set(Balance::P2c, {3, 1});
  set_active(1, 5);
  set_active(2, 2);
  auto got = select_many(set, 4000);
  EXPECT_NEAR(got[2], 250, 100);  // only when both draws fall on it: 1/4 each
}

TEST_F(Select, RoundRobinFollowsTheSequence) {
  const auto set = make_set(Balance::RoundRobin, {3, 1});
  std::string sequence;
  for (int i = 0; i < 8; ++i) sequence += std::to_string(select(set));
  EXPECT_EQ(sequence.substr(0, 4), sequence.substr(4));
  EXPECT_EQ(std::count(sequence.begin(), sequence.end(), '2'), 2);
}

TEST_F(Select, HashIsStableAndCoversAllBackends) {
  const auto set = make_set(Balance::SourceHash, {1, 1, 1});
  std::set<std::uint32_t> seen;
  for (std::uint32_t i = 0; i < 64; ++i) {
    const std::uint32_t hash = i * 0x04000000;
    const auto id = select(set, hash);
    EXPECT_EQ(select(set, hash), id);
    seen.insert(id);
  }
  EXPECT_EQ(seen.size(), 3u);
}

TEST_F(Select, AgainNeverReturnsATriedBackendAndFindsTheLastOne) {
  for (const auto balance : {Balance::LeastConn, Balance::P2c, Balance::Random, Balance::RoundRobin,
                             Balance::SourceHash}) {
    const auto set = make_set(balance, std::vector<std::uint32_t>(8, 1));
    lb_select_args args{};
    args.set = set;
    args.position = LB_SET_COUNT(set) - 1;
    std::set<std::uint32_t> found;
    for (args.tried_count = 0; args.tried_count < 8; ++args.tried_count) {
      run(skeleton_->progs.lb_test_select_again, args);
      ASSERT_NE(args.id, 0u) << to_string(balance);
      EXPECT_TRUE(found.insert(args.id).second) << to_string(balance);
      args.tried[args.tried_count] = args.id;
    }
    run(skeleton_->progs.lb_test_select_again, args);
    EXPECT_EQ(args.id, 0u) << to_string(balance);
  }
}

TEST_F(Select, ExponentialIsMinusLog2) {
  for (const std::uint32_t u : {1u, 2u, 3u, 100u, 255u, 256u, 5000u, 32768u, 40000u, 65535u}) {
    lb_select_args args{};
    args.random = u;
    run(skeleton_->progs.lb_test_exponential, args);
    const double exact = -std::log2((u | 1) / 65536.0) * 4096;
    EXPECT_NEAR(args.id, exact, 0.09 * 4096) << u;
  }
}

TEST_F(Select, ClientHashSpreadsNeighbouringUsers) {
  std::set<std::uint32_t> buckets;
  for (std::uint32_t uid = 1000; uid < 1064; ++uid) {
    lb_select_args args{};
    args.random = uid;
    args.set = 12345;  // the namespace's cookie
    run(skeleton_->progs.lb_test_hash, args);
    buckets.insert(args.id >> 28);
  }
  EXPECT_EQ(buckets.size(), 16u);
}

// What lbd shows as ejected is what the hooks pass over.
TEST_F(Select, CutoffIsThatOfLbd) {
  for (int round = 0; round < 200; ++round) {
    const std::size_t n = 1 + random_() % 12;
    const std::uint64_t set = make_set(round % 2 == 0 ? Balance::LeastConn : Balance::SourceHash,
                                       std::vector<std::uint32_t>(n, 1));
    const Tick now = tick_at(std::chrono::steady_clock::now());
    std::vector<std::uint32_t> ranks;
    for (std::uint32_t id = 1; id <= n; ++id) {
      lb_backend& line = (*backends_)[id];
      // So far apart that the clock, which goes on, changes nothing.
      const auto end =
          static_cast<Tick>(1'000 * ((id * 5 + static_cast<std::uint32_t>(round)) % 13) + 1'000);
      if (random_() % 3 != 0)
        line.cooldown = cooldown_until(now + end, random_() % 3 == 0 ? LB_COOLDOWN_HELD : 0);
      ranks.push_back(LB_EJECTED_RANK(ticks_left(line.cooldown, now), id));
    }
    const std::uint32_t expected = cutoff(ranks, 50);
    const std::uint32_t met = cutoff_of(set);
    EXPECT_NEAR(static_cast<double>(met >> 8), expected >> 8, 400);
  }
}

TEST_F(Select, EjectedLinesAreNotChosen) {
  for (const Balance balance : {Balance::LeastConn, Balance::RoundRobin, Balance::Random}) {
    const std::uint64_t set = make_set(balance, {1, 1, 1, 1});
    const Tick now = tick_at(std::chrono::steady_clock::now());
    (*backends_)[2].cooldown = cooldown_until(now + 5'000, 0);
    if (balance == Balance::LeastConn) {
      EXPECT_EQ(select_many(set, 200).count(2), 0U);
    }
    lb_select_args again{};
    again.set = set;
    again.tried[0] = 1;
    again.tried[1] = 3;
    again.tried_count = 2;
    for (int i = 0; i < 20; ++i) {
      run(skeleton_->progs.lb_test_select_again, again);
      EXPECT_EQ(again.id, 4U) << to_string(balance);
    }
  }
}

}  // namespace
}  // namespace lb::bpf
