#include "state/drains.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/snapshot_builder.h"
#include "support/temp_folder.h"
#include "unit/state/values.h"

namespace lb {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// An order of at(100) that ends the connections then.
constexpr Deadline until(int seconds) {
  return Deadline::in(std::chrono::seconds(seconds - 100), moment(100));
}

Drain order_on(std::string_view target, std::optional<std::string> service = std::nullopt) {
  return {Drain::parse_target(target).value(), std::move(service), at(100), std::nullopt, {}};
}

Backend named(std::string_view address, std::string_view id, std::string_view host = "node1") {
  Backend b = listed(address);
  b.id = std::string(id);
  b.host = std::string(host);
  return b;
}

DesiredState state_of(std::vector<Backend> backends, std::string_view service = "127.0.0.1:80") {
  auto s = std::make_shared<DesiredService>();
  s->key = ServiceKey::parse(service).value();
  s->name = "web";
  for (Backend& b : backends) s->backends.emplace_back().backend = std::move(b);
  return {{s->key, s}};
}

struct TargetCase {
  const char* name;
  const char* target;
  const char* service;  // empty: any
  bool matches;
};

class Target : public testing::TestWithParam<TargetCase> {};

TEST_P(Target, MeansTheBackend) {
  const auto& c = GetParam();
  Drains drains;
  ASSERT_TRUE(drains.add(
      order_on(c.target, *c.service ? std::optional<std::string>(c.service) : std::nullopt)));
  const ServicePtr web = offered("127.0.0.1:8080", {}, "web");
  EXPECT_EQ(drains.matches(named("10.0.0.1:80", "task-1"), *web), c.matches);
}

INSTANTIATE_TEST_SUITE_P(
    Cases, Target,
    testing::Values(TargetCase{"address", "10.0.0.1:80", "", true},
                    TargetCase{"other_port", "10.0.0.1:81", "", false},
                    TargetCase{"mapped_address", "[::ffff:10.0.0.1]:80", "", true},
                    TargetCase{"host_as_the_source_calls_it", "node1", "", true},
                    TargetCase{"host_by_ip", "10.0.0.1", "", true},
                    TargetCase{"other_host", "node2", "", false},
                    TargetCase{"name_is_no_host", "task-1", "", false},
                    TargetCase{"service_by_name", "10.0.0.1:80", "web", true},
                    TargetCase{"service_by_address", "node1", "127.0.0.1:8080", true},
                    TargetCase{"service_by_key", "node1", "tcp://127.0.0.1:8080", true},
                    TargetCase{"other_protocol", "node1", "udp://127.0.0.1:8080", false},
                    TargetCase{"other_service", "node1", "api", false},
                    TargetCase{"other_service_port", "node1", "127.0.0.1:8081", false}),
    [](const auto& c) { return std::string(c.param.name); });

TEST(DrainTargets, AreReadBackAsTheyAreWritten) {
  for (const char* text : {"10.0.0.1:80", "[::1]:80", "10.0.0.1", "::1", "node1.example.com"})
    EXPECT_EQ(to_string(Drain::parse_target(text).value()), text);
}

TEST(DrainTargets, ThatAreNoneAreRefused) {
  EXPECT_EQ(Drain::parse_target("").error().context, "a drain needs ADDR:PORT or a host");
  EXPECT_EQ(Drain::parse_target("10.0.0.1:0").error().context,
            "'10.0.0.1:0' has no port between 1 and 65535");
  EXPECT_EQ(Drain::parse_target("node1:80").error().context, "'node1' is not an IP address");
  EXPECT_EQ(Drain::parse_target("node1:80").error().code, std::errc::invalid_argument);
}

TEST(Drains, RepeatingSucceedsAndKeepsTheTime) {
  Drains drains;
  ASSERT_TRUE(drains.add(order_on("10.0.0.1:80")));
  Drain again = order_on("10.0.0.1:80");
  again.since = at(200);
  ASSERT_TRUE(drains.add(again));
  ASSERT_EQ(drains.all().size(), 1U);
  EXPECT_EQ(drains.all()[0].since, at(100));
  EXPECT_FALSE(drains.all()[0].terminate_at);
  again.terminate_at = until(300);
  ASSERT_TRUE(drains.add(again));
  EXPECT_EQ(drains.all()[0].terminate_at, until(300));
  ASSERT_TRUE(drains.add(order_on("10.0.0.1:80")));
  EXPECT_EQ(drains.all()[0].terminate_at, until(300)) << "asking without one takes none away";
}

TEST(Drains, OfOneServiceAndOfAllAreTwo) {
  Drains drains;
  ASSERT_TRUE(drains.add(order_on("node1")));
  ASSERT_TRUE(drains.add(order_on("node1", "web")));
  EXPECT_EQ(drains.all().size(), 2U);
  ASSERT_TRUE(drains.remove(order_on("node1").target));
  EXPECT_TRUE(drains.matches(named("10.0.0.1:80", "a"), *offered("127.0.0.1:80", {}, "web")));
  EXPECT_FALSE(drains.matches(named("10.0.0.1:80", "a"), *offered("127.0.0.1:80", {}, "api")));
}

TEST(Drains, RemovingAnUnknownOneIsAnError) {
  Drains drains;
  const auto removed = drains.remove(order_on("10.0.0.1:80").target);
  ASSERT_FALSE(removed);
  EXPECT_EQ(removed.error().code, std::errc::no_such_file_or_directory);
  EXPECT_EQ(removed.error().context, "there is no drain of 10.0.0.1:80");
  EXPECT_EQ(drains.remove(order_on("node1").target, "web").error().context,
            "there is no drain of node1 in service web");
}

void save(Drains& drains) {
  const auto job = drains.unsaved();
  ASSERT_TRUE(job);
  ASSERT_TRUE(job());
}

TEST(Drains, SurviveARestart) {
  const TempFolder folder;
  Drain full = order_on("[2001:db8::1]:80", "web");
  full.terminate_at = until(500);
  full.ids = {"a", "b"};
  {
    Drains drains = Drains::open(folder.file("drains.json"), moment(100)).value();
    ASSERT_TRUE(drains.add(full));
    ASSERT_TRUE(drains.add(order_on("node1")));
    save(drains);
  }
  const Drains drains = Drains::open(folder.file("drains.json"), moment(100)).value();
  EXPECT_THAT(drains.all(), ElementsAre(full, order_on("node1")));
}

TEST(Drains, BrokenFileIsNamedAndKept) {
  const TempFolder folder;
  const std::string path = folder.write("drains.json", "{\"version\":1,\"drains\":[{}]}");
  const auto first = Drains::open(path, moment(100));
  ASSERT_FALSE(first);
  EXPECT_THAT(first.error().message(), HasSubstr(path + " is not what this lbd writes"));
  EXPECT_THAT(first.error().message(), HasSubstr("(kept as " + path + ".broken)"));
  EXPECT_TRUE(folder.has("drains.json.broken"));
  const auto second = Drains::open(path, moment(100));
  ASSERT_TRUE(second);
  EXPECT_THAT(second->all(), IsEmpty());
}

// A disk that is full or hangs must not keep a backend in use.
TEST(Drains, WhatCannotBeSavedIsInForceAndHandedOutAgain) {
  Drains drains = Drains::open("/nowhere/drains.json", moment(100)).value();
  EXPECT_FALSE(drains.has_unsaved());
  ASSERT_TRUE(drains.add(order_on("node1")));
  EXPECT_THAT(drains.all(), ElementsAre(order_on("node1")));
  const auto job = drains.unsaved();
  EXPECT_FALSE(drains.unsaved()) << "handed out";
  ASSERT_TRUE(job);
  EXPECT_FALSE(job());
  drains.save_failed();
  EXPECT_TRUE(drains.has_unsaved());
}

TEST(Drains, ASaveIsOfTheMomentWhenItWasHandedOut) {
  const TempFolder folder;
  Drains drains = Drains::open(folder.file("drains.json"), moment(100)).value();
  ASSERT_TRUE(drains.add(order_on("node1")));
  const auto job = drains.unsaved();
  ASSERT_TRUE(drains.add(order_on("node2")));
  ASSERT_TRUE(job());
  EXPECT_THAT(Drains::open(folder.file("drains.json"), moment(100)).value().all(),
              ElementsAre(order_on("node1")));
  save(drains);
  EXPECT_THAT(Drains::open(folder.file("drains.json"), moment(100)).value().all(),
              ElementsAre(order_on("node1"), order_on("node2")));
}

class DrainsEnd : public testing::Test {
 protected:
  DrainsEnd() {
    EXPECT_TRUE(drains_.add(order_on("10.0.0.1:80")));
    EXPECT_TRUE(drains_.add(order_on("node1")));
  }
  std::vector<std::string> settle(const DesiredState& state, bool complete = true) {
    std::vector<std::string> ended;
    const auto settled = drains_.settle(state, complete, now_);
    for (const Drain& d : settled) ended.push_back(to_string(d.target));
    return ended;
  }
  std::vector<std::string> settle_after_the_rest(const DesiredState& state) {
    now_ += Drains::kRest;
    return settle(state);
  }
  Drains drains_;
  Drains::TimePoint now_{};
  const ServicePtr web_ = offered("127.0.0.1:80", {}, "web");
};

TEST_F(DrainsEnd, WhenTheBackendIsInNoServiceAnyMoreButHostsStay) {
  EXPECT_THAT(settle(state_of({named("10.0.0.1:80", "task-1")})), IsEmpty());
  EXPECT_THAT(settle({}), IsEmpty());
  EXPECT_THAT(settle_after_the_rest({}), ElementsAre("10.0.0.1:80"));
  EXPECT_TRUE(drains_.matches(named("10.0.0.7:80", "task-9", "node1"), *web_));
}

TEST_F(DrainsEnd, NotWhileTheBackendIsAwayForAMoment) {
  const DesiredState there = state_of({named("10.0.0.1:80", "task-1", "node2")});
  settle(there);
  EXPECT_THAT(settle({}), IsEmpty());
  EXPECT_EQ(drains_.next_end(), now_ + Drains::kRest);
  now_ += Drains::kRest - std::chrono::milliseconds(1);
  EXPECT_THAT(settle({}), IsEmpty());
  EXPECT_THAT(settle(there), IsEmpty());
  EXPECT_FALSE(drains_.next_end());
  EXPECT_TRUE(drains_.matches(named("10.0.0.1:80", "task-1", "node2"), *web_));
  EXPECT_THAT(settle_after_the_rest({}), IsEmpty()) << "the time begins again";
  EXPECT_THAT(settle_after_the_rest({}), ElementsAre("10.0.0.1:80"));
}

TEST_F(DrainsEnd, NotBeforeAllSourcesHaveDelivered) {
  EXPECT_THAT(settle({}, false), IsEmpty());
  EXPECT_THAT(settle(state_of({named("10.0.0.1:80", "task-1")}), false), IsEmpty());
  EXPECT_THAT(settle({}, false), IsEmpty());
  EXPECT_FALSE(drains_.next_end());
}

TEST_F(DrainsEnd, WhenANewBackendTookOverTheAddress) {
  settle(state_of({named("10.0.0.1:80", "task-1", "node2")}));
  EXPECT_TRUE(drains_.matches(named("10.0.0.1:80", "task-1", "node2"), *web_));
  EXPECT_FALSE(drains_.matches(named("10.0.0.1:80", "task-2", "node2"), *web_));
  const DesiredState other = state_of({named("10.0.0.1:80", "task-2", "node2")});
  EXPECT_THAT(settle(other), IsEmpty());
  EXPECT_THAT(settle_after_the_rest(other), ElementsAre("10.0.0.1:80"));
}

TEST_F(DrainsEnd, DrainingAnewMeansTheNewBackend) {
  settle(state_of({named("10.0.0.1:80", "task-1", "node2")}));
  ASSERT_TRUE(drains_.add(order_on("10.0.0.1:80")));
  EXPECT_TRUE(drains_.matches(named("10.0.0.1:80", "task-2", "node2"), *web_));
}

TEST_F(DrainsEnd, OnDiskToo) {
  const TempFolder folder;
  Drains drains = Drains::open(folder.file("drains.json"), moment(100)).value();
  ASSERT_TRUE(drains.add(order_on("10.0.0.1:80")));
  const Drains::TimePoint now{};
  (void)drains.settle(state_of({named("10.0.0.1:80", "task-1")}), true, now);
  save(drains);
  EXPECT_EQ(Drains::open(folder.file("drains.json"), moment(100)).value().all()[0].ids,
            std::vector<std::string>{"task-1"});
  (void)drains.settle({}, true, now);
  (void)drains.settle({}, true, now + Drains::kRest);
  save(drains);
  EXPECT_THAT(Drains::open(folder.file("drains.json"), moment(100)).value().all(), IsEmpty());
}

Drain of_fleet(std::string_view target, std::string id, std::vector<std::string> ids = {}) {
  Drain drain = order_on(target);
  drain.fleet = std::move(id);
  drain.ids = std::move(ids);
  return drain;
}

TEST(FleetDrains, StandBesideOurOwnAndAreNotSavedByUs) {
  TempFolder folder;
  Drains drains = Drains::open(folder.file("drains.json"), moment(100)).value();
  ASSERT_TRUE(drains.add(order_on("node1")));
  drains.set_fleet({of_fleet("node1", "f1"), of_fleet("node2", "f2")});
  EXPECT_EQ(drains.all().size(), 3U);
  EXPECT_TRUE(drains.matches(named("10.0.0.2:80", "b", "node2"), *offered("127.0.0.1:80", {})));
  EXPECT_EQ(drains.remove(Drain::parse_target("node2").value()).error().code,
            std::errc::no_such_file_or_directory);
  ASSERT_TRUE(drains.remove(Drain::parse_target("node1").value()));
  EXPECT_TRUE(drains.matches(named("10.0.0.1:80", "a"), *offered("127.0.0.1:80", {})))
      << "the fleet still drains it";
  drains.set_fleet({});
  EXPECT_THAT(drains.all(), IsEmpty());
  save(drains);
  EXPECT_THAT(Drains::open(folder.file("drains.json"), moment(100)).value().all(), IsEmpty());
}

TEST(FleetDrains, EndWithABackendThatWasSeenHere) {
  Drains drains;
  Drains::TimePoint now{};
  const auto ended = [&](const DesiredState& state) {
    now += Drains::kRest;
    return drains.settle(state, true, now).size();
  };
  drains.set_fleet({of_fleet("10.0.0.1:80", "f1", {"task-1"})});
  EXPECT_EQ(ended({}) + ended({}), 0U) << "what is loaded may be older than the order";
  EXPECT_EQ(ended(state_of({named("10.0.0.1:80", "task-1")})), 0U);
  const DesiredState other = state_of({named("10.0.0.1:80", "task-2")});
  EXPECT_EQ(ended(other), 0U);
  EXPECT_EQ(ended(other), 1U);
  EXPECT_THAT(drains.all(), IsEmpty());
}

TEST(Drains, StepOfTheWallClockOverARestartMovesNoTermination) {
  const TempFolder folder;
  {
    Drains drains = Drains::open(folder.file("drains.json"), moment(100)).value();
    Drain drain = order_on("10.0.0.1:80");
    drain.terminate_at = until(104);
    ASSERT_TRUE(drains.add(drain));
    save(drains);
  }
  for (const auto step : {24h, -24h}) {
    Moment now = moment(101);
    now.wall += step;
    const Drains drains = Drains::open(folder.file("drains.json"), now).value();
    EXPECT_EQ(drains.all()[0].terminate_at->at, moment(104).steady);
  }
}

TEST(CoversAny, TellsWhetherATargetIsKnown) {
  const DesiredState state = state_of({named("10.0.0.1:80", "task-1", "node1")});
  EXPECT_TRUE(covers_any(order_on("10.0.0.1:80"), state));
  EXPECT_TRUE(covers_any(order_on("node1", "web"), state));
  EXPECT_FALSE(covers_any(order_on("10.0.0.2:80"), state));
  EXPECT_FALSE(covers_any(order_on("node1", "api"), state));
}

// A source without names, or one that has not spoken yet: then the address is all that is known.
TEST(DrainTest, OfABackendWithoutANameMeansItsAddress) {
  Drain drain = order_on("10.0.0.1:80");
  drain.ids = {"10.0.0.1:80"};
  EXPECT_TRUE(covers_any(drain, state_of({named("10.0.0.1:80", "task-1", "node1")})));
  drain.ids = {"task-1"};
  EXPECT_TRUE(covers_any(drain, state_of({named("10.0.0.1:80", "10.0.0.1:80", "node1")})));
  EXPECT_FALSE(covers_any(drain, state_of({named("10.0.0.1:80", "task-2", "node1")})));
}

TEST(Drains, LoadTheGoodOnesOfAFileOverTheLimitsAndNameTheOthers) {
  const TempFolder folder;
  const auto drain = [](const std::string& target, const std::string& more) {
    return R"({"target":")" + target + R"(","since":"2026-01-01T00:00:00.000Z","ids":[)" + more +
           "]}";
  };
  const std::string long_id = '"' + std::string(100'000, 'i') + '"';
  const std::string path = folder.write(
      "drains.json", R"({"version":1,"drains":[)" + drain(std::string(2'000'000, 'x'), "") + "," +
                         drain("10.0.0.1:80", R"("a",)" + long_id) + "]}");
  const Drains drains = Drains::open(path, moment(0)).value();
  ASSERT_EQ(drains.all().size(), 1U);
  EXPECT_THAT(drains.all()[0].ids, ElementsAre("a")) << "the drain holds without it";
  EXPECT_THAT(drains.dropped(), HasSubstr(path + ": 1 drain was left out"));
  EXPECT_LT(drains.dropped().size(), 500U);
  EXPECT_FALSE(folder.has("drains.json.broken"));
}

TEST(Drains, RefuseWhatCouldNotBeLoadedAgain) {
  Drains drains;
  EXPECT_FALSE(Drain::parse_target(std::string(301, 'h')));
  EXPECT_TRUE(Drain::parse_target(std::string(253, 'h')));
  EXPECT_EQ(drains.add(order_on("host", std::string(1025, 's'))).error().code,
            std::errc::argument_list_too_long);
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(drains.add(order_on("host" + std::to_string(i))));
}

// The index finds what a look at each drain finds, in the same order.
TEST(Drains, FindTheFirstThatCoversWhateverItsForm) {
  const std::vector<const char*> targets = {"10.0.0.1:80",  "10.0.0.2:80", "10.0.0.1", "node1",
                                            "[fd00::1]:80", "fd00::1",     "fd00:0::1"};
  const std::vector<std::optional<std::string>> services = {
      std::nullopt,         "web",          "127.0.0.1:80", "tcp://127.0.0.1:80",
      "udp://127.0.0.1:80", "127.0.0.1:81", "other"};
  const ServiceKey key = ServiceKey::parse("127.0.0.1:80").value();
  std::size_t found = 0;
  for (std::size_t mask = 1; mask < 300; ++mask) {
    Drains drains;
    std::vector<Drain> fleet;
    for (std::size_t i = 0; i < 5; ++i) {
      Drain drain = order_on(targets[(mask * 7 + i * 3) % targets.size()],
                             services[(mask / 7 + i * 5) % services.size()]);
      drain.fleet = std::to_string((mask + i) % 3);
      if ((mask + i) % 4 == 0) drain.ids = {"task-2"};
      fleet.push_back(std::move(drain));
    }
    drains.set_fleet(fleet);
    for (const char* address : {"10.0.0.1:80", "10.0.0.2:80", "[fd00::1]:80", "10.0.0.9:1"}) {
      const Backend backend = named(address, "task-1", address[1] == '0' ? "node1" : "node2");
      const auto& all = drains.all();
      const auto want = std::find_if(all.begin(), all.end(), [&](const Drain& drain) {
        return covers(drain, backend, key, "web");
      });
      const Drain* got = drains.find(backend, key, "web");
      ASSERT_EQ(got, want == all.end() ? nullptr : &*want) << mask << ' ' << address;
      found += got != nullptr ? 1 : 0;
    }
  }
  EXPECT_GT(found, 300U);
}

}  // namespace
}  // namespace lb
