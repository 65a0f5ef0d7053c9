// Two origins that claim one service: they are never mixed, and the port moves in one switch.
#include <algorithm>
#include <random>

#include <gtest/gtest.h>

#include "state/guard.h"
#include "support/snapshot_builder.h"

namespace lb {
namespace {

using namespace std::chrono_literals;

const Guard::TimePoint kOriginStart{1h};

// "/blue" has 10.0.1.1 and up, "/green" 10.0.2.1 and up.
ServicePtr colour(std::string_view origin, int backends, std::string_view at = "127.0.0.1:80") {
  const std::string net = origin == "/blue" ? "10.0.1." : "10.0.2.";
  std::vector<Backend> list;
  for (int i = 1; i <= backends; ++i) {
    list.push_back(listed(net + std::to_string(i) + ":80"));
    list.back().origin = std::string(origin);
  }
  Service out = *offered(at, std::move(list), origin.substr(1));
  out.origin = std::string(origin);
  return std::make_shared<const Service>(std::move(out));
}

Snapshot guarded_origins(std::vector<ServicePtr> services) {
  return snapshot(std::move(services), Absence::Guarded);
}

// "blue 2": whose service it is, and with how many backends; "mixed" where they are of two.
std::string shown(const Snapshot& s) {
  std::string out;
  for (const ServicePtr& service : s.services) {
    const bool pure = std::all_of(service->backends.begin(), service->backends.end(),
                                  [&](const Backend& b) { return b.origin == service->origin; });
    out += (out.empty() ? "" : ", ") + (pure ? service->name : "mixed") + " " +
           std::to_string(service->backends.size());
  }
  return out;
}

class GuardOrigin : public testing::Test {
 protected:
  GuardOrigin() { guard_.restore(guarded_origins({colour("/blue", 2)})); }
  std::string admit(const Snapshot& s, std::chrono::milliseconds at) {
    return shown(guard_.admit(s, kOriginStart + at).admitted);
  }
  Guard guard_;
};

TEST_F(GuardOrigin, TheOneThatHasThePortKeepsItWholeUntilASecondReading) {
  EXPECT_EQ(admit(guarded_origins({colour("/green", 3)}), 0s), "blue 2");
  EXPECT_EQ(admit(guarded_origins({colour("/green", 3)}), 9s), "blue 2");
  EXPECT_EQ(admit(guarded_origins({colour("/green", 3)}), 10s), "green 3");
  EXPECT_FALSE(guard_.held());
}

TEST_F(GuardOrigin, ASingleBackendKeepsThePortForASecond) {
  guard_.restore(guarded_origins({colour("/blue", 1)}));
  EXPECT_EQ(admit(guarded_origins({colour("/green", 3)}), 0s), "blue 1");
  EXPECT_EQ(admit(guarded_origins({colour("/green", 3)}), 1s), "green 3");
}

TEST_F(GuardOrigin, AnAnswerThatWasShortChangesNothing) {
  EXPECT_EQ(admit(guarded_origins({colour("/green", 3)}), 0s), "blue 2");
  EXPECT_EQ(admit(guarded_origins({colour("/blue", 2)}), 1s), "blue 2");
  EXPECT_FALSE(guard_.held());
}

TEST_F(GuardOrigin, EvidenceSwitchesAtOnce) {
  Snapshot moved = guarded_origins({colour("/green", 3)});
  moved.gone = {"10.0.1.1:80", "10.0.1.2:80"};
  EXPECT_EQ(admit(moved, 0s), "green 3");
  EXPECT_EQ(admit(snapshot({colour("/blue", 2)}), 1s), "blue 2") << "an edited file is evidence";
}

TEST_F(GuardOrigin, OneThatIsLeftKeepsThePortFromTheOther) {
  Snapshot moved = guarded_origins({colour("/green", 3)});
  moved.gone = {"10.0.1.1:80"};
  EXPECT_EQ(admit(moved, 0s), "blue 1");
  moved.gone = {"10.0.1.1:80", "10.0.1.2:80"};
  EXPECT_EQ(admit(moved, 500ms), "green 3");
}

TEST_F(GuardOrigin, OneWithoutBackendsHasNothingToKeep) {
  guard_.restore(guarded_origins({colour("/blue", 0), colour("/green", 3, "127.0.0.1:81")}));
  EXPECT_EQ(admit(guarded_origins({colour("/green", 3), colour("/green", 3, "127.0.0.1:81")}), 0s),
            "green 3, green 3");
}

TEST_F(GuardOrigin, AnotherAddressOfTheSameMachineIsNoReplacement) {
  Service green = *colour("/green", 1);
  green.backends[0].address = Address::parse("10.0.1.1:80").value();
  const auto same_address = std::make_shared<const Service>(green);
  EXPECT_EQ(admit(guarded_origins({same_address}), 0s), "blue 2");
  EXPECT_EQ(admit(guarded_origins({same_address}), 10s), "green 1");
}

// A folder is renamed, or a prefix: the backends are the same.
TEST_F(GuardOrigin, AnotherNameForTheSameBackendsIsNoOtherOrigin) {
  Service renamed = *colour("/blue", 2);
  renamed.origin = "/azure";
  renamed.name = "azure";
  const auto verdict =
      guard_.admit(guarded_origins({std::make_shared<const Service>(renamed)}), kOriginStart);
  EXPECT_EQ(verdict.admitted.services[0]->name, "azure");
  EXPECT_EQ(verdict.held, 0U);
}

TEST_F(GuardOrigin, AcceptGivesThePortToTheOther) {
  admit(guarded_origins({colour("/green", 3)}), 0s);
  EXPECT_EQ(shown(guard_.accept()), "green 3");
}

class GuardOriginProperty : public testing::TestWithParam<unsigned> {};

TEST_P(GuardOriginProperty, NoServiceEverHasBackendsOfTwo) {
  std::mt19937 random(GetParam());
  const auto below = [&](unsigned limit) { return static_cast<int>(random() % limit); };
  Guard guard;
  auto now = kOriginStart;
  for (int step = 0; step < 300; ++step) {
    now += std::chrono::milliseconds(below(6'000));
    std::vector<ServicePtr> services;
    for (const char* at : {"127.0.0.1:80", "127.0.0.1:81"})
      if (below(4) > 0)
        services.push_back(colour(below(2) == 0 ? "/blue" : "/green", below(5), at));
    Snapshot next = guarded_origins(std::move(services));
    if (below(3) == 0) next.gone = {"10.0.1.1:80", "10.0.1.2:80"};
    if (below(8) == 0) next.absence = Absence::Believed;
    const std::string admitted = shown(guard.admit(next, now).admitted);
    ASSERT_EQ(admitted.find("mixed"), std::string::npos) << "step " << step << ": " << admitted;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, GuardOriginProperty, testing::Range(0U, 20U));

}  // namespace
}  // namespace lb
