// What a reading lacks, and what asking for an app by its name makes of that.
#include <gmock/gmock.h>

#include "marathon/view.h"

namespace lb::marathon {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;
using Lines = std::vector<std::string>;

const View::TimePoint kAbsenceStart = View::TimePoint(1000s);

// Tasks "ID.1" and up, on 10.0.0.NET and up.
App app(const std::string& id, int net, int tasks = 1, Port service_port = 10001) {
  App out;
  out.id = id;
  out.labels = {{"marathoner_haproxy_enabled", "true"}};
  AppPort port;
  port.service_port = service_port;
  out.ports = {port};
  for (int i = 1; i <= tasks; ++i) {
    Task task;
    task.id = id.substr(1) + "." + std::to_string(i);
    task.host = "10.0." + std::to_string(net) + "." + std::to_string(i);
    task.state = "TASK_RUNNING";
    task.ports = {Port{31001}};
    task.started = true;
    out.tasks.push_back(std::move(task));
  }
  return out;
}

App unlabelled(App of) {
  of.labels.clear();
  return of;
}

class ViewAbsence : public testing::Test {
 protected:
  // What is in force afterwards, with a guard that admits all.
  void read(std::vector<App> apps) { ASSERT_TRUE(view_.replace(std::move(apps), kAbsenceStart)); }
  Lines build() {
    Lines out;
    for (const auto& service :
         view_.build([](const auto&) { return std::nullopt; }, kAbsenceStart).services)
      for (const Backend& b : service->backends)
        out.push_back(std::to_string(service->key.port) + " " + b.id);
    return out;
  }
  void begin(std::vector<App> apps) {
    read(std::move(apps));
    (void)build();
    view_.set_in_force(view_.outcome().services);
    (void)view_.take_new_loss();
  }
  View view_{Rules{}, {}};
};

TEST_F(ViewAbsence, NamesTheAppsThatAReadingLacks) {
  begin({app("/a", 1), app("/b", 2, 1, 10002), app("/c", 3, 1, 10003)});
  EXPECT_THAT(view_.doubtful_apps(), IsEmpty());
  read({app("/a", 1, 0), unlabelled(app("/b", 2, 1, 10002))});
  EXPECT_THAT(view_.doubtful_apps(), ElementsAre("/b", "/c")) << "not /a, which is there";
  read({app("/a", 1, 1, 10009), app("/b", 2, 1, 10002), app("/c", 3, 1, 10003)});
  EXPECT_THAT(view_.doubtful_apps(), ElementsAre("/a")) << "its port has moved";
}

TEST_F(ViewAbsence, CompletesAReadingByWhatIsThereByName) {
  begin({app("/a", 1), app("/b", 2, 1, 10002)});
  read({app("/a", 1)});
  view_.named("/b", app("/b", 2, 2, 10002));
  EXPECT_THAT(build(), ElementsAre("10001 a.1", "10002 b.1", "10002 b.2"));
  EXPECT_THAT(view_.gone(), IsEmpty());
  EXPECT_FALSE(view_.take_new_loss());
}

TEST_F(ViewAbsence, BelievesThatAnAppHasGoneWhenItIsDeniedByName) {
  begin({app("/a", 1), app("/b", 2, 2, 10002)});
  read({app("/a", 1)});
  view_.named("/b", std::nullopt);
  EXPECT_THAT(build(), ElementsAre("10001 a.1"));
  EXPECT_THAT(view_.gone(), ElementsAre("b.1", "b.2"));
  EXPECT_FALSE(view_.take_new_loss()) << "it is explained";
  EXPECT_TRUE(view_.take_explained());
  view_.set_in_force(view_.outcome().services);
  (void)build();
  EXPECT_THAT(view_.gone(), IsEmpty()) << "they have gone";
}

TEST_F(ViewAbsence, BelievesThatTheOnlyAppHasGone) {
  begin({app("/a", 1)});
  read({});
  view_.named("/a", std::nullopt);
  EXPECT_THAT(build(), IsEmpty());
  EXPECT_THAT(view_.gone(), ElementsAre("a.1"));
}

TEST_F(ViewAbsence, BelievesNothingFromAMarathonThatHasForgottenEverything) {
  begin({app("/a", 1), app("/b", 2, 1, 10002)});
  for (const auto& left : {std::vector<App>{}, std::vector<App>{unlabelled(app("/other", 9))}}) {
    read(left);
    view_.named("/a", std::nullopt);
    view_.named("/b", std::nullopt);
    (void)build();
    EXPECT_THAT(view_.gone(), IsEmpty());
  }
}

TEST_F(ViewAbsence, BelievesThatAnAppIsPublishedNoMoreWhenItsNameSaysSo) {
  begin({app("/blue", 1, 2)});
  read({app("/green", 2, 1)});
  view_.named("/blue", unlabelled(app("/blue", 1, 2)));
  EXPECT_THAT(build(), ElementsAre("10001 green.1"));
  EXPECT_THAT(view_.gone(), ElementsAre("blue.1", "blue.2"));
  // The label comes back: it is in use again, and nothing of it has gone.
  view_.set_in_force(view_.outcome().services);
  read({app("/blue", 1, 2)});
  EXPECT_THAT(build(), ElementsAre("10001 blue.1", "10001 blue.2"));
  EXPECT_THAT(view_.gone(), IsEmpty());
}

TEST_F(ViewAbsence, AMovedPortIsGivenUpAloneWhenItsNameSaysSo) {
  begin({app("/a", 1, 1), app("/b", 2, 1, 10002)});
  read({app("/a", 1, 1, 10009), app("/b", 2, 1, 10002)});
  view_.named("/a", app("/a", 1, 1, 10009));
  EXPECT_THAT(build(), ElementsAre("10002 b.1", "10009 a.1"));
  EXPECT_THAT(view_.gone(), ElementsAre("a.1")) << "where it is missing";
}

// The guard holds /blue; what the short answer gave to /green meanwhile was never in force.
TEST_F(ViewAbsence, ThePortBelongsToTheAppThatIsInForce) {
  begin({app("/blue", 1, 2)});
  read({app("/green", 2, 1)});
  EXPECT_THAT(build(), ElementsAre("10001 green.1"));
  read({app("/blue", 1, 2), app("/green", 2, 1)});
  EXPECT_THAT(build(), ElementsAre("10001 blue.1", "10001 blue.2"));
  view_.set_in_force(view_.outcome().services);
  read({app("/blue", 1, 2), app("/a", 3, 1)});
  EXPECT_THAT(build(), ElementsAre("10001 blue.1", "10001 blue.2")) << "/a is the smaller id";
}

TEST_F(ViewAbsence, ThePortBelongsToTheAppOfBeforeARestart) {
  begin({app("/blue", 1, 2)});
  View restarted(Rules{}, view_.outcome().services);
  ASSERT_TRUE(restarted.replace({app("/a", 3, 1), app("/blue", 1, 2)}, kAbsenceStart));
  const auto& outcome = restarted.build([](const auto&) { return std::nullopt; }, kAbsenceStart);
  EXPECT_EQ(outcome.services.at(0)->origin, "/blue");
}

}  // namespace
}  // namespace lb::marathon
