#include "sources/merlion_state.h"

#include <gtest/gtest.h>

namespace lb {
namespace {

using namespace std::chrono_literals;
using Names = std::vector<std::string>;

SysTime at(std::int64_t millis) { return SysTime(std::chrono::milliseconds(millis)); }

MerlionBackendState healthy(std::uint64_t connections = 0) {
  MerlionBackendState out;
  out.last_seen = at(1'000);
  out.active_connections = connections;
  out.weight = 100;
  return out;
}

TEST(MerlionStateKeys, AreMerlionsWithMillisecondsAndWhatLbdAdds) {
  EXPECT_EQ(merlion_state_keys(healthy(3)), (MerlionStateKeys{{"last-seen-at", "1000"},
                                                              {"unavailable", "false"},
                                                              {"active-connections", "3"},
                                                              {"weight", "100"}}));
  MerlionBackendState bad;
  bad.unavailable = true;
  bad.disabled = true;
  bad.exited_at = at(1'485'354'033'123);
  bad.exit_reason = "Cannot connect to 10.0.0.1:80";
  EXPECT_EQ(merlion_state_keys(bad), (MerlionStateKeys{{"last-seen-at", "0"},
                                                       {"unavailable", "true"},
                                                       {"disabled", "true"},
                                                       {"exited-at", "1485354033123"},
                                                       {"exit-reason", bad.exit_reason},
                                                       {"weight", "0"}}));
}

TEST(MerlionStateKeys, NamesMustBeOneSegment) {
  for (const char* good : {"a", "a.b", "...", "10.0.0.1:80", "with blank"})
    EXPECT_TRUE(is_key_segment(good)) << good;
  for (const char* bad : {"", "/", "a/b", "a/", ".", ".."})
    EXPECT_FALSE(is_key_segment(bad)) << bad;
}

class MerlionPacingTest : public testing::Test {
 protected:
  // Whether this is shown as it is now.
  bool shows(const MerlionBackendState& state) {
    const bool changed = !pacing_.look({{"a", state}}, now_).empty();
    EXPECT_EQ(changed, *pacing_.shown("a") == state);
    return changed;
  }
  // Only when all of it has been told, which takes so long.
  void expect_after(std::chrono::seconds pause, const MerlionBackendState& state) {
    EXPECT_FALSE(shows(state));
    EXPECT_EQ(pacing_.due(), now_ + pause);
    now_ += pause - 1ms;
    EXPECT_FALSE(shows(state));
    now_ += 1ms;
    EXPECT_TRUE(shows(state));
    EXPECT_EQ(pacing_.due(), MerlionPacing::SteadyTime::max());
  }

  MerlionPacing pacing_;
  MerlionPacing::SteadyTime now_{1'000s};
};

TEST_F(MerlionPacingTest, TellsWhatCameAndWent) {
  EXPECT_EQ(pacing_.look({{"b", {}}, {"d", {}}}, now_), (Names{"b", "d"}));
  EXPECT_EQ(pacing_.look({{"b", {}}, {"d", {}}}, now_), Names{});
  EXPECT_EQ(pacing_.look({{"a", {}}, {"c", {}}, {"d", {}}, {"e", {}}}, now_),
            (Names{"a", "b", "c", "e"}));
  EXPECT_EQ(pacing_.names(), (Names{"a", "c", "d", "e"}));
  EXPECT_EQ(pacing_.shown("b"), nullptr);
  EXPECT_EQ(pacing_.look({}, now_), (Names{"a", "c", "d", "e"}));
}

TEST_F(MerlionPacingTest, ShowsHeartbeatsEveryHalfMinute) {
  MerlionBackendState state = healthy();
  ASSERT_TRUE(shows(state));
  state.last_seen = at(2'000);
  expect_after(30s, state);
  state.last_seen = at(3'000);
  expect_after(30s, state);
}

TEST_F(MerlionPacingTest, ShowsEverythingOnceTheJudgementChanges) {
  MerlionBackendState state = healthy(5);
  ASSERT_TRUE(shows(state));
  const auto also = [&](auto change) {
    state.last_seen = *state.last_seen + 1s;
    *state.active_connections += 1;
    EXPECT_FALSE(shows(state));
    change();
    EXPECT_TRUE(shows(state));
  };
  also([&] { state.unavailable = true; });
  also([&] { state.disabled = true; });
  also([&] { state.exited_at = at(9'000); });
  also([&] { state.exit_reason = "refused"; });
  also([&] { state.weight = 7; });
  state.last_seen.reset();
  EXPECT_TRUE(shows(state));
}

TEST_F(MerlionPacingTest, CountsSlowlyAndTellsTheZeroSoon) {
  ASSERT_TRUE(shows(healthy(5)));
  expect_after(10s, healthy(6));
  now_ += 1s;
  EXPECT_TRUE(shows(healthy(0)));
  // As it may come and go with every connect.
  expect_after(1s, healthy(1));
  now_ += 1s;
  MerlionBackendState unknown = healthy();
  unknown.active_connections.reset();
  EXPECT_TRUE(shows(unknown));
}

TEST_F(MerlionPacingTest, CountsADrainEverySecond) {
  MerlionBackendState state = healthy(5);
  state.weight = 0;
  ASSERT_TRUE(shows(state));
  for (std::uint64_t left : {4U, 3U, 0U}) {
    state.active_connections = left;
    expect_after(1s, state);
  }
}

class MerlionFolderTest : public testing::Test {
 protected:
  void show(const MerlionState& state) {
    for (const std::string& name : pacing_.look(state, now_)) folder_.touch(name);
  }
  Names take(std::size_t enough = 100) {
    Names out;
    last_ = folder_.take_writes(pacing_, enough);
    for (const MerlionWrite& w : last_)
      out.push_back((w.kind == MerlionWrite::Kind::Put ? "put " : "remove ") + folder_.path(w) +
                    (w.kind == MerlionWrite::Kind::Put ? "=" + w.value : ""));
    return out;
  }
  void finish() {
    for (const MerlionWrite& w : last_) {
      folder_.begin(w);
      folder_.done(w);
    }
  }
  static MerlionBackendState plain() {
    MerlionBackendState out;
    out.weight = 1;
    return out;
  }
  static Names plain_keys(const std::string& name) {
    return {"put /s/" + name + "/last-seen-at=0", "put /s/" + name + "/unavailable=false",
            "put /s/" + name + "/weight=1"};
  }

  MerlionPacing pacing_;
  MerlionFolder folder_{"/s/"};
  MerlionPacing::SteadyTime now_{};
  std::vector<MerlionWrite> last_;
};

TEST_F(MerlionFolderTest, WritesDifferencesOnly) {
  show({{"a", plain()}});
  EXPECT_EQ(take(), plain_keys("a"));
  EXPECT_FALSE(folder_.any_touched());
  finish();
  MerlionBackendState exited = plain();
  exited.unavailable = true;
  exited.exit_reason = "refused";
  show({{"a", exited}});
  EXPECT_EQ(take(), (Names{"put /s/a/exit-reason=refused", "put /s/a/unavailable=true"}));
  finish();
  show({{"a", plain()}});
  EXPECT_EQ(take(), (Names{"put /s/a/unavailable=false", "remove /s/a/exit-reason"}));
  finish();
  show({});
  EXPECT_EQ(take(), Names{"remove /s/a/"});
  finish();
  EXPECT_EQ(folder_.names(), Names{});
}

TEST_F(MerlionFolderTest, WritesAgainWhatMayNotHaveArrived) {
  show({{"a", plain()}});
  EXPECT_EQ(take().size(), 3U);
  for (const MerlionWrite& w : last_) folder_.begin(w);
  folder_.done(last_[1]);
  folder_.touch("a");
  EXPECT_EQ(take(), (Names{"put /s/a/last-seen-at=0", "put /s/a/weight=1"}));
  EXPECT_EQ(folder_.keys(), Names{"/s/a/unavailable"});
  show({});
  EXPECT_EQ(take(), Names{"remove /s/a/"});
}

TEST_F(MerlionFolderTest, TakesWholeBackendsAndChangesFirst) {
  show({{"m", plain()}});
  take();
  finish();
  MerlionBackendState changed = plain();
  changed.disabled = true;
  show({{"a", plain()}, {"b", plain()}, {"m", changed}});
  EXPECT_EQ(take(1), Names{"put /s/m/disabled=true"});
  finish();
  EXPECT_EQ(take(1), plain_keys("a"));
  EXPECT_TRUE(folder_.any_touched());
  EXPECT_EQ(take(1), plain_keys("b"));
  EXPECT_EQ(take(1), Names{});
}

TEST_F(MerlionFolderTest, ReplacesWhatIsLeftOfAnEarlierLifeAndLeavesOthersAlone) {
  show({{"a", plain()}});
  folder_.found({{"/s/a/exit-reason", "refused", 1, 5},
                 {"/s/a/weight", "1", 1, 5},
                 {"/s/a/note", "somebody's", 1, 0},
                 {"/s/other/weight", "3", 1, 0},
                 {"/s/a", "", 1, 0}},
                5, pacing_);
  Names want = plain_keys("a");
  want.push_back("remove /s/a/exit-reason");
  EXPECT_EQ(take(), want);
}

TEST_F(MerlionFolderTest, FindsOutWhatOthersDidToItsKeys) {
  show({{"a", plain()}, {"b", plain()}, {"gone", plain()}});
  take();
  finish();
  show({{"a", plain()}, {"b", plain()}});
  folder_.found({{"/s/a/last-seen-at", "0", 1, 5},
                 {"/s/a/unavailable", "true", 1, 5},
                 {"/s/a/weight", "1", 1, 6},
                 {"/s/gone/weight", "1", 1, 5}},
                5, pacing_);
  Names want{"put /s/a/unavailable=false", "put /s/a/weight=1", "remove /s/gone/"};
  for (const std::string& one : plain_keys("b")) want.push_back(one);
  EXPECT_EQ(take(), want);
}

}  // namespace
}  // namespace lb
