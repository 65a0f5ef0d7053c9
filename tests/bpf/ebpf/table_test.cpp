// The bookkeeping on real maps, without programs: order of writes, reuse, full maps, restart.
#include <bpf/bpf.h>
#include <netinet/in.h>

#include <map>
#include <random>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ebpf/abi.h"
#include "ebpf/table.h"

namespace lb::bpf {
namespace {

using testing::HasSubstr;

class Tables : public testing::Test {
 protected:
  static constexpr Sizes kSizes{.max_services = 8, .max_backends = 31, .max_slots = 2048};

  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    for (const auto& [type, name, key, value, entries] :
         std::vector<std::tuple<bpf_map_type, const char*, int, int, std::uint32_t>>{
             {BPF_MAP_TYPE_HASH, "service_ids", 20, 4, kSizes.max_keys()},
             {BPF_MAP_TYPE_ARRAY, "services", 4, sizeof(lb_service), kSizes.max_services},
             {BPF_MAP_TYPE_ARRAY, "slots", 4, 8, kSizes.max_slots},
             {BPF_MAP_TYPE_ARRAY, "backends", 4, sizeof(lb_backend), kSizes.lines()},
             {BPF_MAP_TYPE_ARRAY, "cold", 4, sizeof(lb_backend_cold), kSizes.lines()},
             {BPF_MAP_TYPE_HASH, "address_ids", 20, 4, kSizes.lines()},
             {BPF_MAP_TYPE_ARRAY, "control", 4, sizeof(lb_control), 1},
             {BPF_MAP_TYPE_ARRAY, "service_ports", 4, 8, LB_PORT_WORDS}}) {
      LIBBPF_OPTS(bpf_map_create_opts, options);
      if (type == BPF_MAP_TYPE_ARRAY) options.map_flags = BPF_F_MMAPABLE;
      fds_[name] = UniqueFd(::bpf_map_create(type, name, static_cast<std::uint32_t>(key),
                                             static_cast<std::uint32_t>(value), entries, &options));
      ASSERT_TRUE(fds_[name]) << name;
    }
    restart();
  }

  // As a new process would: other mappings of the same maps.
  void restart() {
    const auto fd = [this](const char* name) { return UniqueFd(::dup(fds_.at(name).get())); };
    table_ = std::make_unique<Table>(
        Maps{AddressMap(fd("service_ids"), "service_ids"),
             *MappedArray<lb_service>::map(fds_.at("services"), kSizes.max_services),
             *MappedArray<std::uint64_t>::map(fds_.at("slots"), kSizes.max_slots),
             *MappedArray<lb_backend>::map(fds_.at("backends"), kSizes.lines()),
             *MappedArray<lb_backend_cold>::map(fds_.at("cold"), kSizes.lines()),
             AddressMap(fd("address_ids"), "address_ids"),
             *MappedArray<lb_control>::map(fds_.at("control"), 1),
             *MappedArray<std::uint64_t>::map(fds_.at("service_ports"), LB_PORT_WORDS)});
    ASSERT_TRUE(table_->restore(now_));
  }

  static ProgrammedService service(int port, const std::vector<int>& backends,
                                   Balance balance = Balance::LeastConn) {
    ProgrammedService out;
    out.key = *ServiceKey::parse("127.0.0.1:" + std::to_string(port));
    out.addresses = {out.key.address, *IpAddress::parse("::1")};
    out.balance = balance;
    for (const int backend : backends)
      out.backends.push_back({*Address::parse("10.0.0.1:" + std::to_string(backend)), 1});
    std::sort(out.backends.begin(), out.backends.end());
    return out;
  }
  std::string upsert(const ProgrammedService& wanted) {
    const auto done = table_->upsert(wanted, now_);
    return done ? "" : done.error().message();
  }
  void pass(std::chrono::seconds time) {
    now_ += time;
    table_->grace_passed(now_);
    ASSERT_TRUE(table_->collect(now_));
  }
  // The line that the kernel would count a connection to this backend on.
  std::uint32_t owner_of(int port) {
    const auto id = table_->maps().address_ids.find(
        to_abi(Protocol::Tcp, *Address::parse("10.0.0.1:" + std::to_string(port))));
    return id.value_or(0);
  }
  void connections(int port, std::uint32_t n) {
    table_->maps().backends[owner_of(port)].active = n;
  }
  std::vector<std::string> seen(int port) {
    std::vector<std::string> out;
    const auto observed = table_->observe(service(port, {}).key);
    if (!observed) return {"unknown"};
    for (const auto& b : observed->backends)
      out.push_back(std::to_string(b.address.port) + (b.listed ? "" : " left") + ":" +
                    std::to_string(*b.active_connections));
    return out;
  }

  // Which service's backend each line is of, by line and generation: what the counts of a socket go by.
  using Users = std::map<std::pair<std::uint32_t, std::uint32_t>, std::string>;
  void expect_each_generation_of_one_user(Users& users) {
    for (std::uint32_t id = 1; id < kSizes.lines(); ++id) {
      const lb_backend& at = table_->maps().backends[id];
      if (!is_set(at.address)) continue;
      const std::string user =
          key_from_abi(at.service).to_string() + " " + address_from_abi(at.address).to_string();
      EXPECT_EQ(users.emplace(std::pair(id, at.generation), user).first->second, user)
          << "line " << id << ", generation " << at.generation;
    }
  }

  std::map<std::string, UniqueFd> fds_;
  std::unique_ptr<Table> table_;
  Clock::time_point now_{std::chrono::hours(1)};
};

using Seen = std::vector<std::string>;

TEST_F(Tables, BackendThatLeavesStaysUntilItsConnectionsAreGone) {
  ASSERT_EQ(upsert(service(5000, {1, 2})), "");
  connections(1, 3);
  ASSERT_EQ(upsert(service(5000, {2})), "");
  pass(std::chrono::seconds(5));
  EXPECT_EQ(seen(5000), (Seen{"1 left:3", "2:0"}));
  connections(1, 0);
  pass(std::chrono::seconds(1));
  EXPECT_EQ(seen(5000), (Seen{"2:0"}));
  EXPECT_EQ(owner_of(1), 0u);
}

TEST_F(Tables, BackendWithoutConnectionsStaysForTheGracePeriod) {
  ASSERT_EQ(upsert(service(5000, {1})), "");
  ASSERT_EQ(upsert(service(5000, {})), "");
  ASSERT_TRUE(table_->collect(now_));
  EXPECT_EQ(seen(5000), (Seen{"1 left:0"}));
  pass(Table::kGrace);
  EXPECT_EQ(seen(5000), Seen{});
}

TEST_F(Tables, BackendThatComesBackTakesUpItsLineAndCounts) {
  ASSERT_EQ(upsert(service(5000, {1})), "");
  const auto line = owner_of(1);
  connections(1, 2);
  ASSERT_EQ(upsert(service(5000, {})), "");
  pass(std::chrono::seconds(60));
  ASSERT_EQ(upsert(service(5000, {1})), "");
  EXPECT_EQ(owner_of(1), line);
  EXPECT_EQ(seen(5000), (Seen{"1:2"}));
}

TEST_F(Tables, UnchangedServiceWritesNoSlots) {
  ASSERT_EQ(upsert(service(5000, {1, 2})), "");
  const auto before = table_->maps().services[0].set[LB_FAMILY_V4];
  ASSERT_EQ(upsert(service(5000, {1, 2})), "");
  restart();
  ASSERT_EQ(upsert(service(5000, {1, 2})), "");
  EXPECT_EQ(table_->maps().services[0].set[LB_FAMILY_V4], before);
}

TEST_F(Tables, RestartReadsBackWhatWasProgrammed) {
  auto wanted = service(5000, {1, 2, 3}, Balance::SourceHash);
  wanted.backends[0].weight = 300;
  wanted.backends[1].weight = 100;
  wanted.backends[2].weight = 0;
  ASSERT_EQ(upsert(wanted), "");
  restart();
  const auto observed = table_->observe(wanted.key);
  ASSERT_TRUE(observed);
  EXPECT_EQ(observed->balance, Balance::SourceHash);
  EXPECT_EQ(observed->addresses.size(), 2u);
  std::vector<std::uint32_t> weights;
  for (const auto& backend : observed->backends) weights.push_back(backend.weight);
  EXPECT_EQ(weights, (std::vector<std::uint32_t>{3, 1, 0}));  // without their common divisor
}

TEST_F(Tables, WhatAnOperatorDrainsIsKnownAfterARestartWithoutFiles) {
  ProgrammedService web = service(5000, {1, 2});
  web.backends[0].weight = 0;
  web.backends[0].drained = true;
  ASSERT_EQ(upsert(web), "");
  restart();
  const auto look = [&] { return table_->observe(web.key)->backends.at(0); };
  EXPECT_TRUE(look().drained);
  EXPECT_FALSE(look().unexplained);
  web.backends[0].drained = false;  // out, but for another reason
  ASSERT_EQ(upsert(web), "");
  EXPECT_FALSE(look().drained);
  __u16& flags = table_->maps().backends[owner_of(1)].flags;
  flags = static_cast<__u16>(flags & ~LB_BACKEND_JUDGED);
  EXPECT_TRUE(look().unexplained) << "as an lbd before this one wrote it";
}

TEST_F(Tables, FullLinesChangeNothing) {
  std::vector<int> many;
  for (int i = 1; i <= 20; ++i) many.push_back(i);
  ASSERT_EQ(upsert(service(5000, many)), "");
  const auto used = table_->used_slots();
  std::vector<int> more;
  for (int i = 101; i <= 112; ++i) more.push_back(i);
  EXPECT_THAT(upsert(service(5001, more)), HasSubstr("max_backends = 31 is used up"));
  EXPECT_EQ(seen(5001), Seen{"unknown"});
  more.pop_back();
  EXPECT_EQ(upsert(service(5001, more)), "");
  EXPECT_EQ(table_->used_slots(), used + 11);
}

TEST_F(Tables, FullSlotsChangeNothing) {
  ASSERT_EQ(upsert(service(5000, {1}, Balance::SourceHash)), "");
  for (int port = 5001; port < 5004; ++port)
    ASSERT_EQ(upsert(service(port, {1, 2, 3, 4, 5}, Balance::SourceHash)), "") << port;
  EXPECT_THAT(upsert(service(5004, {1, 2, 3, 4, 5, 6, 7, 8, 9}, Balance::SourceHash)),
              HasSubstr("raise [dataplane] max_slots"));
  EXPECT_EQ(seen(5003).size(), 5u);
}

TEST_F(Tables, ServicesAreReusedAfterRemoval) {
  for (int round = 0; round < 5; ++round) {
    for (int port = 5000; port < 5008; ++port) ASSERT_EQ(upsert(service(port, {port})), "");
    EXPECT_THAT(upsert(service(6000, {1})), HasSubstr("max_services = 8"));
    for (int port = 5000; port < 5008; ++port)
      ASSERT_TRUE(table_->remove(service(port, {}).key, now_));
    pass(std::chrono::seconds(2));
    EXPECT_EQ(table_->used_services(), 0u);
    EXPECT_EQ(table_->used_lines(), 0u);
    EXPECT_EQ(table_->used_slots(), 0u);
  }
}

TEST_F(Tables, CrashBetweenLineAndAddressIsRepaired) {
  ASSERT_EQ(upsert(service(5000, {1, 2})), "");
  ASSERT_TRUE(
      table_->maps().address_ids.erase(to_abi(Protocol::Tcp, *Address::parse("10.0.0.1:1"))));
  ASSERT_TRUE(
      table_->maps().address_ids.insert(to_abi(Protocol::Tcp, *Address::parse("10.0.0.1:99")), 31));
  restart();
  EXPECT_NE(owner_of(1), 0u);
  EXPECT_EQ(owner_of(99), 0u);
}

// A socket may end long after its line was freed: by the generation its end does not count for the line's next user.
TEST_F(Tables, EachUserOfALineHasAnotherGenerationOverRestartsToo) {
  Users users;
  std::set<std::uint32_t> lines;
  for (int round = 1; round <= 100; ++round) {
    ASSERT_EQ(upsert(service(5000, {round})), "");
    lines.insert(owner_of(round));
    expect_each_generation_of_one_user(users);
    ASSERT_TRUE(table_->remove(service(5000, {}).key, now_));
    pass(Table::kGrace);
    ASSERT_EQ(owner_of(round), 0u);
    if (round % 7 == 0) restart();
  }
  EXPECT_EQ(users.size(), 100u);
  EXPECT_LT(lines.size(), 100u) << "lines are used again";
}

// Random changes with restarts in between: what was asked for is what is seen, no line, slot or index
// is lost, and each generation of an id is used once.
TEST_F(Tables, KeysThatAStrayToolRemovedOrChangedArePutBack) {
  ASSERT_EQ(upsert(service(80, {1, 2})), "");
  ASSERT_EQ(upsert(service(81, {1})), "");
  const lb_addr lost = to_abi(*ServiceKey::parse("127.0.0.1:80"));
  const lb_addr backend = to_abi(Protocol::Tcp, *Address::parse("10.0.0.1:1"));
  const auto index = table_->maps().service_ids.find(lost);
  const std::uint32_t owner = owner_of(1), wrong = 7;
  ASSERT_EQ(*table_->put_back_keys(now_ += Table::kFullCollect), 0U);
  ASSERT_TRUE(table_->maps().service_ids.erase(lost));
  ASSERT_EQ(::bpf_map_update_elem(table_->maps().address_ids.fd(), &backend, &wrong, BPF_ANY), 0);
  std::size_t repaired = 0;
  for (int i = 0; i < 12; ++i) repaired += *table_->put_back_keys(now_ += std::chrono::seconds(1));
  EXPECT_EQ(repaired, 2U);
  EXPECT_EQ(table_->maps().service_ids.find(lost), index);
  EXPECT_EQ(owner_of(1), owner);
}

TEST_F(Tables, ASetThatAStrayToolOverwroteShowsAndIsWrittenAgain) {
  const auto web = service(80, {1, 2});
  ASSERT_EQ(upsert(web), "");
  const auto index = *table_->maps().service_ids.find(to_abi(web.key));
  const lb_service right = table_->maps().services[index];
  for (const bool after_restart : {false, true}) {
    table_->maps().services[index] = {};
    if (after_restart) {
      table_->maps().services[index].key = right.key;
      restart();
    }
    EXPECT_TRUE(table_->observe(web.key)->addresses.empty());
    ASSERT_EQ(upsert(web), "");
    EXPECT_EQ(table_->observe(web.key)->addresses.size(), 2U);
    EXPECT_EQ(LB_SET_COUNT(table_->maps().services[index].set[LB_FAMILY_ANY]), 2U);
    EXPECT_EQ(LB_SET_COUNT(table_->maps().services[index].set[LB_FAMILY_V4]), 2U);
  }
}

TEST_F(Tables, WhatIsLeftOfARemovedServiceIsSeenAsThat) {
  const auto web = service(80, {1});
  ASSERT_EQ(upsert(web), "");
  EXPECT_TRUE(table_->observe(web.key)->programmed);
  ASSERT_TRUE(table_->remove(web.key, now_));
  ASSERT_TRUE(table_->observe(web.key));
  EXPECT_FALSE(table_->observe(web.key)->programmed);
}

TEST_F(Tables, APortHasItsBitWhileAServiceIsThere) {
  const auto bit = [&] {
    return ((*table_->maps().service_ports)[LB_PORT_WORD(IPPROTO_TCP, 80)] & LB_PORT_BIT(80)) != 0;
  };
  auto web = service(80, {1});
  auto other = web;
  other.key = *ServiceKey::parse("127.0.0.2:80");
  other.addresses = {other.key.address};
  EXPECT_FALSE(bit());
  ASSERT_EQ(upsert(web), "");
  ASSERT_EQ(upsert(other), "");
  restart();
  ASSERT_TRUE(table_->remove(web.key, now_));
  EXPECT_TRUE(bit()) << "the other one is there";
  (*table_->maps().service_ports)[LB_PORT_WORD(IPPROTO_TCP, 80)] = 0;
  EXPECT_EQ(*table_->put_back_keys(now_ + Table::kFullCollect), 1U);
  EXPECT_TRUE(bit());
  ASSERT_TRUE(table_->remove(other.key, now_));
  EXPECT_FALSE(bit());
}

// After a roll-back to an lbd that does not know them, which took that part of the slots for free.
TEST_F(Tables, LinesOfASetThatAreOthersAreForgotten) {
  auto web = service(80, {1, 2, 3}, Balance::RoundRobin);
  web.backends[0].weight = 5;
  ASSERT_EQ(upsert(web), "");
  ASSERT_EQ(upsert(service(81, {4})), "");
  lb_service& at = table_->maps().services[*table_->maps().service_ids.find(to_abi(web.key))];
  const std::uint64_t before = at.set[LB_FAMILY_V4];
  ASSERT_EQ(LB_SET_LINES(before), 3U);
  forget_foreign_lines(table_->maps());
  EXPECT_EQ(at.set[LB_FAMILY_V4], before);
  const std::uint32_t foreign =
      *table_->maps().address_ids.find(to_abi(Protocol::Tcp, *Address::parse("10.0.0.1:4")));
  table_->maps().slots[LB_SET_BASE(before) + LB_SET_COUNT(before) + 1] =
      LB_SLOT(foreign, foreign, 0);
  forget_foreign_lines(table_->maps());
  EXPECT_EQ(LB_SET_LINES(at.set[LB_FAMILY_V4]), 0U);
  EXPECT_EQ(LB_SET_COUNT(at.set[LB_FAMILY_V4]), LB_SET_COUNT(before));
  EXPECT_EQ(LB_SET_POLICY(at.set[LB_FAMILY_V4]), LB_SET_POLICY(before));
  restart();
  ASSERT_EQ(upsert(web), "");
  const auto index = *table_->maps().service_ids.find(to_abi(web.key));
  EXPECT_EQ(LB_SET_LINES(table_->maps().services[index].set[LB_FAMILY_V4]), 3U);
}

TEST_F(Tables, LooksDecideOfAnEjection) {
  const auto web = service(80, {1, 2, 3});
  const Address one = *Address::parse("10.0.0.1:1");
  ASSERT_EQ(upsert(web), "");
  now_ += std::chrono::hours(1);
  EXPECT_FALSE(table_->readmit(web.key, one, now_)) << "it is not ejected";
  const auto first = table_->eject(web.key, one, false, now_);
  ASSERT_TRUE(first);
  EXPECT_TRUE(table_->is_ejected(web.key, one));
  EXPECT_EQ(table_->readmit(web.key, one, now_), first) << "not before its time";
  // The look just before the end fails as well: twice as long.
  const auto second = table_->eject(web.key, one, false, now_ + std::chrono::milliseconds(760));
  ASSERT_TRUE(second);
  EXPECT_GT(*second, std::chrono::milliseconds(1700));
  EXPECT_FALSE(table_->readmit(web.key, one, now_ + std::chrono::milliseconds(2600)));
  EXPECT_FALSE(table_->is_ejected(web.key, one));
  // Black holes come back at once.
  ASSERT_TRUE(table_->eject(web.key, one, true, now_));
  EXPECT_FALSE(table_->readmit(web.key, one, now_));
  EXPECT_FALSE(table_->eject(web.key, *Address::parse("10.0.0.9:9"), true, now_)) << "not there";
}

TEST_F(Tables, RandomChangesAndRestartsKeepTheBooks) {
  std::mt19937 random(7);
  std::map<int, std::vector<int>> wanted;
  Users users;
  const std::vector<Balance> methods{Balance::LeastConn, Balance::Random, Balance::RoundRobin};
  for (int step = 0; step < 600; ++step) {
    const int port = 5000 + static_cast<int>(random() % 4);
    std::vector<int> backends;
    for (int b = 1; b <= 5; ++b)
      if (random() % 2) backends.push_back(b);
    if (random() % 6 == 0) {
      ASSERT_TRUE(table_->remove(service(port, {}).key, now_));
      wanted.erase(port);
    } else {
      ASSERT_EQ(upsert(service(port, backends, methods[random() % 3])), "");
      wanted[port] = backends;
    }
    if (random() % 3 == 0) pass(std::chrono::seconds(random() % 3));
    if (random() % 10 == 0) restart();
    expect_each_generation_of_one_user(users);
    for (const auto& [p, list] : wanted) {
      Seen listed;
      for (const auto& text : seen(p))
        if (text.find("left") == std::string::npos) listed.push_back(text);
      Seen expected;
      for (const int b : list) expected.push_back(std::to_string(b) + ":0");
      ASSERT_EQ(listed, expected) << "step " << step;
    }
  }
  for (const auto& [port, list] : wanted) ASSERT_TRUE(table_->remove(service(port, {}).key, now_));
  for (int i = 0; i < 4; ++i) pass(std::chrono::seconds(2));  // heirs come and go in turns
  EXPECT_EQ(table_->used_lines(), 0u);
  EXPECT_EQ(table_->used_slots(), 0u);
  EXPECT_EQ(table_->used_services(), 0u);
}

}  // namespace
}  // namespace lb::bpf
