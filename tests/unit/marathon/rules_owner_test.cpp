// Which of several apps with one service port has it.
#include <gmock/gmock.h>

#include <fmt/format.h>

#include "rules_fixture.h"

namespace lb::marathon {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// An app with service port 10000; task N is on 10.0.0.N:3100N.
std::string owned_app(const std::string& tasks, const char* id) {
  return fmt::format(
      R"({{"id":"{}","labels":{{"marathoner_haproxy_enabled":"true"}},"ports":[10000],"tasks":[{}]}})",
      id, tasks);
}
std::string task_of_owner(int n) {
  return fmt::format(R"({{"id":"t{}","host":"10.0.0.{}","ports":[{}],"state":"TASK_RUNNING"}})", n,
                     n, 31000 + n);
}

class Owners : public Readings {};

TEST_F(Owners, StayWithTheAppThatHasThemWhileItLives) {
  const ServiceKey key = ServiceKey::parse("127.0.0.1:10000").value();
  memory.owners = {{key, "/b"}};
  const auto owner = [&](const std::string& answer) { return read(answer).services.at(0)->origin; };
  const std::string a = owned_app(task_of_owner(1), "/a");
  EXPECT_EQ(owner(a + "," + owned_app(task_of_owner(2), "/b")), "/b");
  EXPECT_THAT(outcome.warnings, ElementsAre(HasSubstr("/a: port 10000 belongs to /b ('b')")));
  EXPECT_THAT(rows(*outcome.services[0]), ElementsAre("10.0.0.2:31002")) << "and is not shared";
  EXPECT_EQ(owner(a + "," + owned_app("", "/b")), "/a") << "without tasks it does not live";
  EXPECT_EQ(owner(owned_app("", "/a") + "," + owned_app("", "/b")), "/b") << "neither does";
  EXPECT_EQ(owner(a), "/a");
}

TEST_F(Owners, PassOnWhenTheLastTaskOfTheOwnerIsBeingKilled) {
  const ServiceKey key = ServiceKey::parse("127.0.0.1:10000").value();
  memory.owners = {{key, "/b"}};
  memory.ended = {"t2"};
  EXPECT_EQ(read(owned_app(task_of_owner(1), "/a") + "," +
                 owned_app(task_of_owner(2) + "," + task_of_owner(3), "/b"))
                .services.at(0)
                ->origin,
            "/b");
  memory.ended = {"t2", "t3"};
  EXPECT_EQ(read(owned_app(task_of_owner(1), "/a") + "," +
                 owned_app(task_of_owner(2) + "," + task_of_owner(3), "/b"))
                .services.at(0)
                ->origin,
            "/a");
  EXPECT_THAT(outcome.leaving, ElementsAre("t2", "t3"));
}

TEST_F(Owners, OfAnAppAreThoseThatItsLabelsAndDefinitionName) {
  const App app = apps_of(owned_app(task_of_owner(1), "/a")).at(0);
  EXPECT_THAT(claims_of(app, rules), ElementsAre(ServiceKey::parse("127.0.0.1:10000").value()));
  App without = app;
  without.labels.clear();
  EXPECT_THAT(claims_of(without, rules), IsEmpty());
  without = app;
  without.labels["HAPROXY_0_ENABLED"] = "false";
  EXPECT_THAT(claims_of(without, rules), IsEmpty());
}

}  // namespace
}  // namespace lb::marathon
