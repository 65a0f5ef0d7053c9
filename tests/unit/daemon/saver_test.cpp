#include "daemon/saver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <spdlog/spdlog.h>

#include "base/file.h"
#include "state/drains.h"
#include "support/snapshot_builder.h"
#include "support/temp_folder.h"

namespace lb {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using namespace std::chrono_literals;

// Jobs run when the test says so, and so do the news of their ends.
class SaverTest : public testing::Test {
 protected:
  SaverTest() {
    spdlog::set_level(spdlog::level::off);
    slots_.push_back(std::make_shared<SourceSlot>("files", "file", PortRanges(), GuardOptions()));
    saver_.use(
        [this](auto job, auto done) {
          waiting_.emplace_back([this, job = std::move(job), done = std::move(done)] {
            ends_.emplace_back([result = job(), done] { done(result); });
          });
        },
        [this](auto) {
          if (disk_hangs_) return false;
          run(waiting_);
          return true;
        });
    saver_.add(saved_orders(drains_));
  }

  void deliver(std::string_view backend) {
    slots_[0]->deliver(snapshot({offered("127.0.0.1:80", {listed(backend)})}), now_);
  }
  void depart(std::string_view backend) {
    departures_.adopt(ServiceKey::parse("127.0.0.1:80").value(), listed(backend).address, Moment{});
  }
  void save() { saver_.save(slots_, now_); }
  static void run(std::deque<std::function<void()>>& queue) {
    for (; !queue.empty(); queue.pop_front()) queue.front()();
  }
  void finish() {
    run(waiting_);
    run(ends_);
  }
  std::string saved() { return read_file(folder_.file("sources/files.json")).value_or(""); }
  std::string departed() { return read_file(folder_.file("departures.json")).value_or(""); }

  TempFolder folder_;
  Departures departures_{60s, folder_.file("departures.json")};
  SourceSlots slots_;
  SteadyTime now_{1'000h};
  SavedVerdicts verdicts_ = SavedVerdicts::open(folder_.file("health.json")).value();
  SavedProblems problems_;
  Saver saver_{folder_.file("sources"), departures_, verdicts_, problems_};
  std::string drained() { return read_file(folder_.file("drains.json")).value_or(""); }
  void drain(std::string host) {
    Drain order;
    order.target = std::move(host);
    EXPECT_TRUE(drains_.add(std::move(order)));
  }
  Saver::Done keep_result() {
    return [this](Result<> result) { told_.push_back(result ? "" : result.error().message()); };
  }
  Drains drains_ = Drains::open(folder_.file("drains.json"), Moment{}).value();
  bool disk_hangs_ = false;
  std::deque<std::function<void()>> waiting_, ends_;
  std::vector<std::string> told_;
};

TEST_F(SaverTest, WritesBesideTheLoop) {
  deliver("10.0.0.1:1");
  depart("10.0.0.9:9");
  save();
  EXPECT_THAT(saved() + departed(), IsEmpty());
  finish();
  EXPECT_THAT(saved(), HasSubstr("10.0.0.1:1"));
  EXPECT_THAT(departed(), HasSubstr("10.0.0.9:9"));
  save();
  EXPECT_THAT(waiting_, IsEmpty()) << "all is saved";
}

TEST_F(SaverTest, SavesOneAtATimeAndOfManyChangesTheLast) {
  for (const auto* backend : {"10.0.0.1:1", "10.0.0.2:2", "10.0.0.3:3"}) {
    deliver(backend);
    save();
  }
  EXPECT_EQ(waiting_.size(), 1U);
  EXPECT_FALSE(saver_.next_save(slots_)) << "not before the one that runs has ended";
  finish();
  EXPECT_THAT(saved(), HasSubstr("10.0.0.1:1"));
  const auto next = saver_.next_save(slots_);  // the later, the slower the disk was
  ASSERT_TRUE(next);
  now_ = std::max(now_, *next);
  save();
  EXPECT_EQ(waiting_.size(), 1U);
  finish();
  EXPECT_THAT(saved(), HasSubstr("10.0.0.3:3"));
}

TEST_F(SaverTest, SnapshotIsNotSavedBeforeTheDeparturesItCauses) {
  std::filesystem::create_directory(folder_.file("departures.json"));  // in the way
  deliver("10.0.0.1:1");
  depart("10.0.0.9:9");
  save();
  finish();
  EXPECT_THAT(departed() + saved(), IsEmpty());
}

TEST_F(SaverTest, FailureIsTriedAgainASecondLater) {
  folder_.write("sources", "no folder");
  deliver("10.0.0.1:1");
  depart("10.0.0.9:9");
  save();
  finish();
  EXPECT_THAT(departed(), Not(IsEmpty()));
  const auto next = saver_.next_save(slots_);
  ASSERT_TRUE(next);
  EXPECT_GE(*next, now_ + 1s);
  save();
  EXPECT_THAT(waiting_, IsEmpty());
  std::filesystem::remove(folder_.file("sources"));
  now_ = *next;
  save();
  finish();
  EXPECT_THAT(saved(), HasSubstr("10.0.0.1:1"));
}

TEST_F(SaverTest, AtTheEndEverythingIsSavedWithinTheCall) {
  deliver("10.0.0.1:1");
  save();
  run(waiting_);  // but nobody has told
  deliver("10.0.0.2:2");
  depart("10.0.0.9:9");
  saver_.save_all(slots_);
  EXPECT_THAT(saved(), HasSubstr("10.0.0.2:2"));
  EXPECT_THAT(departed(), HasSubstr("10.0.0.9:9"));
  run(ends_);
  EXPECT_FALSE(saver_.next_save(slots_));
}

TEST_F(SaverTest, OrdersAreSavedAtOnceAndToldWhenTheyAre) {
  folder_.write("sources", "no folder");
  deliver("10.0.0.1:1");
  save();
  finish();
  drain("node1");  // within the second after a failure
  saver_.save_orders(slots_, now_, keep_result());
  EXPECT_THAT(told_, IsEmpty());
  run(waiting_);
  EXPECT_THAT(drained(), HasSubstr("node1"));
  EXPECT_THAT(told_, IsEmpty());
  run(ends_);
  EXPECT_THAT(told_, testing::ElementsAre(""))
      << "that the sources cannot be saved is another matter";
}

TEST_F(SaverTest, AnOrderDuringASaveGoesWithTheNext) {
  deliver("10.0.0.1:1");
  save();
  drain("node1");
  saver_.save_orders(slots_, now_, keep_result());
  finish();
  EXPECT_THAT(told_, IsEmpty());
  EXPECT_EQ(saver_.next_save(slots_), SteadyTime::min());
  save();
  finish();
  EXPECT_THAT(told_, testing::ElementsAre(""));
}

TEST_F(SaverTest, OrdersThatCannotBeSavedAreToldSoAndTriedAgain) {
  std::filesystem::create_directory(folder_.file("drains.json"));  // in the way
  drain("node1");
  saver_.save_orders(slots_, now_, keep_result());
  finish();
  ASSERT_EQ(told_.size(), 1U);
  EXPECT_THAT(told_[0], HasSubstr("drains.json"));
  std::filesystem::remove(folder_.file("drains.json"));
  now_ = saver_.next_save(slots_).value();
  save();
  finish();
  EXPECT_THAT(drained(), HasSubstr("node1"));
}

TEST_F(SaverTest, ADiskThatHangsIsGivenUpAtTheEnd) {
  deliver("10.0.0.1:1");
  save();
  disk_hangs_ = true;
  saver_.save_all(slots_);
  EXPECT_THAT(saved(), IsEmpty());
  EXPECT_EQ(waiting_.size(), 1U) << "nothing more is given to it";
}

TEST_F(SaverTest, WhatFailedUnnoticedIsSavedAtTheEndToo) {
  folder_.write("sources", "no folder");
  deliver("10.0.0.1:1");
  save();
  run(waiting_);
  std::filesystem::remove(folder_.file("sources"));
  saver_.save_all(slots_);
  EXPECT_THAT(saved(), HasSubstr("10.0.0.1:1"));
}

}  // namespace
}  // namespace lb
