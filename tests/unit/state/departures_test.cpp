#include "state/departures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/boot_id.h"
#include "base/file.h"
#include "support/snapshot_builder.h"
#include "support/temp_folder.h"
#include "unit/state/values.h"

namespace lb {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const ServiceKey kKey = ServiceKey::parse("127.0.0.1:80").value();
const Address kTwo = Address::parse("10.0.0.2:80").value();

View view_of(std::vector<ServicePtr> services, bool refused = false) {
  View view;
  view.sources = {{"file:/x", {}}};
  for (ServicePtr& s : services) view.services.push_back({std::move(s), 0, refused});
  view.complete = true;
  return view;
}

std::vector<std::string> names(const std::vector<Departures::Key>& keys) {
  std::vector<std::string> out;
  for (const auto& [key, address] : keys) out.push_back(address.to_string());
  return out;
}

class DeparturesTest : public testing::Test {
 protected:
  std::vector<std::string> all() const {
    std::vector<std::string> out;
    for (const auto& [key, departure] : departures_.all())
      out.push_back(key.first.to_string() + " " + key.second.to_string());
    return out;
  }
  const ServicePtr both_ =
      offered("127.0.0.1:80", {listed("10.0.0.1:80"), listed("10.0.0.2:80", 7)});
  const ServicePtr one_ = offered("127.0.0.1:80", {listed("10.0.0.1:80")});
  Departures departures_{60s};
};

TEST_F(DeparturesTest, BackendThatIsAbsentNowDepartsWithItsIdentity) {
  departures_.update(view_of({both_}), moment(0));
  EXPECT_THAT(all(), IsEmpty());
  departures_.update(view_of({one_}), moment(10));
  EXPECT_THAT(all(), ElementsAre("tcp://127.0.0.1:80 10.0.0.2:80"));
  const Departure& departure = *departures_.find(kKey, kTwo);
  EXPECT_EQ(departure.backend, listed("10.0.0.2:80", 7));
  EXPECT_EQ(departure.service_name, "web");
  EXPECT_EQ(departure.source, "file:/x");
  EXPECT_EQ(departure.since, moment(10).wall);
  EXPECT_EQ(departure.deadline.at, moment(70).steady);
}

TEST_F(DeparturesTest, WholeServiceDeparts) {
  const ServicePtr other = offered("127.0.0.1:81", {listed("10.0.0.1:80")});
  departures_.update(view_of({both_, other}), moment(0));
  departures_.update(view_of({other}), moment(10));
  EXPECT_THAT(all(),
              ElementsAre("tcp://127.0.0.1:80 10.0.0.1:80", "tcp://127.0.0.1:80 10.0.0.2:80"));
}

TEST_F(DeparturesTest, BackendThatComesBackIsNoDeparture) {
  departures_.update(view_of({both_}), moment(0));
  departures_.update(view_of({one_}), moment(10));
  departures_.update(view_of({both_}), moment(20));
  EXPECT_THAT(all(), IsEmpty());
  departures_.update(view_of({one_}), moment(30));
  EXPECT_EQ(departures_.find(kKey, kTwo)->since, moment(30).wall) << "leaving again starts over";
}

TEST_F(DeparturesTest, SameViewAgainChangesNothing) {
  departures_.update(view_of({both_}), moment(0));
  departures_.update(view_of({one_}), moment(10));
  departures_.update(view_of({one_}), moment(20));
  EXPECT_EQ(departures_.find(kKey, kTwo)->since, moment(10).wall);
}

TEST_F(DeparturesTest, NewOwnerOfTheServiceLetsTheOldBackendsDepart) {
  departures_.update(view_of({both_}), moment(0));
  departures_.update(view_of({offered("127.0.0.1:80", {listed("10.0.0.9:80")}, "new")}),
                     moment(10));
  EXPECT_EQ(all().size(), 2U);
  EXPECT_EQ(departures_.find(kKey, kOne)->service_name, "web");
}

TEST_F(DeparturesTest, RefusedServicesWereNeverThere) {
  departures_.update(view_of({both_}, true), moment(0));
  departures_.update(view_of({}), moment(10));
  EXPECT_THAT(all(), IsEmpty());
  departures_.update(view_of({both_}), moment(20));
  departures_.update(view_of({both_}, true), moment(30));
  EXPECT_EQ(all().size(), 2U) << "a port that is refused from now on";
}

TEST_F(DeparturesTest, FinishEndsOne) {
  departures_.update(view_of({both_}), moment(0));
  departures_.update(view_of({}), moment(10));
  EXPECT_TRUE(departures_.finish(kKey, kOne));
  EXPECT_FALSE(departures_.finish(kKey, kOne));
  EXPECT_THAT(all(), ElementsAre("tcp://127.0.0.1:80 10.0.0.2:80"));
}

TEST_F(DeparturesTest, LingersFromItsDeadlineOn) {
  departures_.update(view_of({both_}), moment(0));
  departures_.update(view_of({one_}), moment(10));
  departures_.update(view_of({}), moment(20));
  EXPECT_THAT(departures_.lingering(moment(69).steady), IsEmpty());
  EXPECT_EQ(departures_.next_deadline(moment(69).steady), moment(70).steady);
  EXPECT_THAT(names(departures_.lingering(moment(70).steady)), ElementsAre("10.0.0.2:80"));
  EXPECT_EQ(departures_.next_deadline(moment(70).steady), moment(80).steady);
  EXPECT_EQ(departures_.next_deadline(moment(80).steady), std::nullopt);
}

// The same service, with a drain timeout of its own.
ServicePtr patient(const ServicePtr& service, std::chrono::milliseconds timeout) {
  auto out = std::make_shared<Service>(*service);
  out->drain_timeout = timeout;
  return out;
}

TEST_F(DeparturesTest, ServicesOwnTimeoutGoesBeforeEveryones) {
  const ServicePtr other = offered("127.0.0.1:81", {listed("10.0.0.1:80")});
  departures_.update(view_of({patient(both_, 300s), other}), moment(0));
  departures_.update(view_of({patient(one_, 300s)}), moment(10));
  EXPECT_EQ(departures_.find(kKey, kTwo)->deadline.at, moment(310).steady);
  EXPECT_EQ(departures_.find(other->key, kOne)->deadline.at, moment(70).steady);
  departures_.clamp(moment(10));
  EXPECT_EQ(departures_.find(kKey, kTwo)->deadline.at, moment(310).steady);
  departures_.set_timeout(5s);
  departures_.clamp(moment(10));
  EXPECT_EQ(departures_.find(kKey, kTwo)->deadline.at, moment(310).steady);
  EXPECT_EQ(departures_.find(other->key, kOne)->deadline.at, moment(15).steady);
}

TEST_F(DeparturesTest, WhatOnlyTheKernelKnowsHasTheTimeoutOfItsService) {
  departures_.update(view_of({patient(one_, 5s)}), moment(0));
  departures_.adopt(kKey, kTwo, moment(5));
  EXPECT_EQ(departures_.find(kKey, kTwo)->deadline.at, moment(10).steady);
}

TEST_F(DeparturesTest, TerminationIsToldOnce) {
  departures_.update(view_of({both_}), moment(0));
  departures_.update(view_of({one_}), moment(10));
  EXPECT_THAT(departures_.take_terminations(moment(69).steady), IsEmpty());
  EXPECT_THAT(names(departures_.take_terminations(moment(70).steady)), ElementsAre("10.0.0.2:80"));
  EXPECT_THAT(departures_.take_terminations(moment(71).steady), IsEmpty());
}

TEST_F(DeparturesTest, WhatOnlyTheKernelKnowsDepartsWithoutWeight) {
  departures_.update(view_of({one_}), moment(0));
  departures_.adopt(kKey, kOne, moment(5));
  departures_.adopt(kKey, kTwo, moment(5));
  EXPECT_THAT(all(), ElementsAre("tcp://127.0.0.1:80 10.0.0.2:80"));
  const Departure& adopted = *departures_.find(kKey, kTwo);
  EXPECT_EQ(adopted.backend.id, "10.0.0.2:80");
  EXPECT_EQ(adopted.backend.host, "10.0.0.2");
  EXPECT_EQ(adopted.backend.weight, 0U);
  EXPECT_EQ(adopted.deadline.at, moment(65).steady);
}

Result<> save(Departures& departures) {
  const auto job = departures.unsaved();
  if (!job) return {};
  auto saved = job();
  if (!saved) departures.save_failed();
  return saved;
}

class SavedDepartures : public DeparturesTest {
 protected:
  // Both backends left at 10 s; saved.
  SavedDepartures() {
    Departures before(60s, path_);
    before.update(view_of({both_}), moment(0));
    before.update(view_of({}), moment(10));
    EXPECT_TRUE(save(before));
  }
  TempFolder folder_;
  std::string path_ = folder_.file("departures.json");
};

TEST_F(SavedDepartures, KeepTheirDeadlinesOverARestart) {
  departures_ = Departures::open(path_, 60s, moment(50)).value();
  EXPECT_EQ(departures_.find(kKey, kTwo)->deadline.at, moment(70).steady);
  EXPECT_EQ(departures_.find(kKey, kTwo)->backend, listed("10.0.0.2:80", 7));
  departures_.adopt(kKey, kTwo, moment(51));
  EXPECT_EQ(departures_.find(kKey, kTwo)->since, moment(10).wall) << "the saved one knows more";
}

TEST_F(SavedDepartures, EndWhenTheFirstViewHasThem) {
  departures_ = Departures::open(path_, 60s, moment(50)).value();
  departures_.update(view_of({one_}), moment(51));
  EXPECT_THAT(all(), ElementsAre("tcp://127.0.0.1:80 10.0.0.2:80"));
}

TEST_F(SavedDepartures, AreNotToldToTerminateAgain) {
  departures_ = Departures::open(path_, 60s, moment(100)).value();
  EXPECT_EQ(departures_.take_terminations(moment(100).steady).size(), 2U);
  ASSERT_TRUE(save(departures_));
  departures_ = Departures::open(path_, 60s, moment(200)).value();
  EXPECT_THAT(departures_.take_terminations(moment(200).steady), IsEmpty());
}

// `wall` beside the steady clock of moment(seconds).
Moment stepped(int seconds, std::chrono::milliseconds wall) {
  Moment out = moment(seconds);
  out.wall += wall;
  return out;
}

TEST_F(DeparturesTest, StepsOfTheWallClockMoveNoDeadline) {
  for (const auto step : {24h, -24h}) {
    departures_ = Departures(600s);
    departures_.update(view_of({both_}), moment(0));
    departures_.update(view_of({one_}), moment(10));
    departures_.clamp(stepped(20, step));
    EXPECT_EQ(departures_.find(kKey, kTwo)->deadline.at, moment(610).steady);
    EXPECT_THAT(departures_.lingering(moment(609).steady), IsEmpty());
    EXPECT_EQ(departures_.lingering(moment(610).steady).size(), 1U);
  }
}

TEST_F(SavedDepartures, StepOfTheWallClockOverARestartMovesNoDeadline) {
  for (const auto step : {24h, -24h}) {
    departures_ = Departures::open(path_, 60s, stepped(50, step)).value();
    EXPECT_EQ(departures_.find(kKey, kTwo)->deadline.at, moment(70).steady);
  }
}

TEST_F(SavedDepartures, OfAnotherBootGoByTheWallClockWithinTheirLength) {
  std::string text = read_file(path_).value();
  for (auto id = text.find(boot_id()); id != std::string::npos; id = text.find(boot_id()))
    text.replace(id, boot_id().size(), "another");
  const auto left_at = [&](SysTime wall) {
    folder_.write("departures.json", text);
    const Moment now{wall, std::chrono::steady_clock::time_point(5s)};
    return Departures::open(path_, 60s, now).value().find(kKey, kTwo)->deadline.at - now.steady;
  };
  EXPECT_EQ(left_at(moment(50).wall), 20s);
  EXPECT_EQ(left_at(moment(50).wall + 24h), 0s);
  EXPECT_EQ(left_at(moment(50).wall - 24h), 60s);
}

TEST_F(SavedDepartures, ShorterTimeoutHoldsForThemToo) {
  departures_ = Departures::open(path_, 5s, moment(11)).value();
  EXPECT_EQ(departures_.find(kKey, kTwo)->deadline.at, moment(16).steady);
}

TEST_F(SavedDepartures, KeepTheTimeoutOfTheirService) {
  Departures before(60s, path_);
  before.update(view_of({patient(both_, 300s)}), moment(0));
  before.update(view_of({patient(one_, 300s)}), moment(10));
  ASSERT_TRUE(save(before));
  departures_ = Departures::open(path_, 60s, moment(20)).value();
  EXPECT_EQ(departures_.find(kKey, kTwo)->deadline.at, moment(310).steady);
  EXPECT_EQ(departures_.find(kKey, kTwo)->timeout, 300s);
}

TEST_F(SavedDepartures, AreWrittenOnlyWhenTheyChanged) {
  departures_ = Departures::open(path_, 60s, moment(50)).value();
  std::filesystem::remove(path_);
  ASSERT_TRUE(save(departures_));
  EXPECT_FALSE(folder_.has("departures.json"));
  departures_.finish(kKey, kOne);
  ASSERT_TRUE(save(departures_));
  EXPECT_TRUE(folder_.has("departures.json"));
}

TEST_F(SavedDepartures, AreWrittenAsTheyWereWhenTheyWereHandedOut) {
  departures_ = Departures::open(path_, 60s, moment(50)).value();
  departures_.finish(kKey, kOne);
  const auto job = departures_.unsaved();
  departures_.finish(kKey, kTwo);
  ASSERT_TRUE(job());
  EXPECT_EQ(Departures::open(path_, 60s, moment(50)).value().all().size(), 1U);
  EXPECT_TRUE(departures_.has_unsaved());
}

TEST_F(SavedDepartures, BrokenFileIsNamedAndKept) {
  folder_.write("departures.json", "[1,");
  const auto broken = Departures::open(path_, 60s, moment(50));
  ASSERT_FALSE(broken);
  EXPECT_THAT(broken.error().message(), HasSubstr("(kept as " + path_ + ".broken)"));
  EXPECT_THAT(Departures::open(path_, 60s, moment(50)).value().all(), IsEmpty());
}

TEST_F(SavedDepartures, FailureToSaveIsTriedAgain) {
  Departures elsewhere(60s, "/nowhere/departures.json");
  elsewhere.update(view_of({both_}), moment(0));
  elsewhere.update(view_of({}), moment(1));
  EXPECT_FALSE(save(elsewhere));
  EXPECT_FALSE(save(elsewhere));
}

}  // namespace
}  // namespace lb
