// The schema as it is promised in docs/API.md, byte for byte. LB_UPDATE_GOLDEN=1 rewrites the files;
// the diff is then to be reviewed as a change of the interface.
#include "api/json.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "support/fake_control.h"

namespace lb {
namespace {

using test::FakeControl;

void expect_golden(const std::string& name, const Json& json) {
  const std::string path = LB_TEST_DATA "/api/" + name;
  const std::string text = json.dump(2) + "\n";
  if (std::getenv("LB_UPDATE_GOLDEN") != nullptr) std::ofstream(path) << text;
  std::ifstream file(path);
  std::stringstream golden;
  golden << file.rdbuf();
  EXPECT_EQ(golden.str(), text) << path;
}

Json list_json(FakeControl& control) {
  Json services = Json::array();
  for (const ServiceView& view : control.services) services.push_back(service_json(view));
  return Json{{"services", services}};
}

TEST(Json, ListIsTheDocumentedSchema) {
  FakeControl control;
  expect_golden("services.json", list_json(control));
}

TEST(Json, StatusIsTheDocumentedSchema) {
  FakeControl control;
  const ServiceKey key = *ServiceKey::parse("127.0.0.1:8081");
  control.state.problems = {{key, "api", Condition::Conflict, "nginx (pid 7) listens on it"}};
  control.state.own_problems = {{"dataplane", "a hook cannot be put back: no such cgroup"}};
  control.state.warnings = {"outside clients are not served: web listens on 0.0.0.0:80"};
  control.state.failures = {
      {key, "map lb_services is full", test::kStarted, 3, std::chrono::milliseconds(800)}};
  control.state.held = {{"etcd", 4, 5, test::kStarted, "4 of 5 backends are missing"}};
  control.state.drains = {{"node2", "", test::kStarted, test::kNow},
                          {"10.0.0.1:80", "web", test::kStarted, {}}};
  expect_golden("status.json", status_json(control.state));
}

TEST(Json, SourcesIsTheDocumentedSchema) {
  FakeControl control;
  SourceView etcd;
  etcd.name = "etcd";
  etcd.type = "etcd";
  etcd.state = "failing";
  etcd.error = "connect http://127.0.0.1:2379: Connection refused";
  etcd.position = "http://127.0.0.1:2379";
  etcd.revision = "cdf818194e3a8c32:17";
  etcd.as_of = test::kStarted;
  etcd.saved = true;
  etcd.warnings = {"/conf/a: not JSON"};
  etcd.lost_claims = {{*ServiceKey::parse("127.0.0.1:8080"), "web", "file"}};
  etcd.held = HeldBack{"etcd", 4, 5, test::kStarted, "4 of 5 backends are missing"};
  control.source_list.push_back(etcd);
  expect_golden("sources.json", sources_json(control.source_list));
}

TEST(Json, ExplanationIsTheDocumentedSchema) {
  FakeControl control;
  const DesiredServicePtr web = control.services[0].service;
  Explanation e;
  e.asked = *ServiceKey::parse("[::1]:8080");
  e.outcome = Outcome::Balanced;
  e.text = "goes to 10.0.0.1:9001";
  e.alias = "[::1]:8080 is an alias of 127.0.0.1:8080";
  e.service = web;
  e.backends = {
      {web->backends[0], control.services[0].counts[0], true, "weight 100", true},
      {web->backends[1], control.services[0].counts[1], false, "drained by the operator", {}}};
  e.notes = {"scope host: only this network namespace"};
  expect_golden("explain.json", explanation_json(e));
}

TEST(Json, ExplanationWithoutServiceIsDirect) {
  Explanation e;
  e.asked = *ServiceKey::parse("udp://127.0.0.1:9");
  e.text = "no service; connects directly";
  const Json json = explanation_json(e);
  EXPECT_EQ(json["outcome"], "direct");
  EXPECT_TRUE(json["service"].is_null());
  EXPECT_TRUE(json["backends"].empty());
}

TEST(Json, DrainedIsTheDocumentedSchema) {
  expect_golden("drained.json",
                drained_json(std::vector{test::drained_backend(2), test::drained_backend(3)}));
}

TEST(Json, UdpHasNoActiveCount) {
  auto service = std::make_shared<DesiredService>(*test::dns_service());
  service->backends.push_back(test::web_service()->backends[0]);
  EXPECT_TRUE(
      service_json({service, {{std::nullopt, 5, 0, 0, 0}}})["backends"][0]["active_connections"]
          .is_null());
}

TEST(Json, BackendsWithoutCountsAreStillListed) {
  const Json json = service_json({test::web_service(), {}});
  ASSERT_EQ(json["backends"].size(), 2U);
  EXPECT_TRUE(json["backends"][1]["active_connections"].is_null());
}

TEST(Json, JunkInANameStaysValidUtf8) {
  auto service = std::make_shared<DesiredService>(*test::dns_service());
  service->name = "a\xff\xfe";
  EXPECT_TRUE(Json::accept(dump(service_json({service, {}}))));
}

TEST(Json, ErrorNamesNearMatchesOnlyWhenThereAreSome) {
  EXPECT_EQ(dump(error_json("no")), R"({"error":"no"})");
  EXPECT_EQ(dump(error_json("no", std::vector<std::string>{"yes"})),
            R"({"error":"no","near":["yes"]})");
}

}  // namespace
}  // namespace lb
