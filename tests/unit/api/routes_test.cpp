#include "api/routes.h"

#include <gtest/gtest.h>

#include <tuple>

#include <nlohmann/json.hpp>

#include "api/json.h"
#include "support/fake_control.h"
#include "support/run_awaitable.h"

namespace lb {
namespace {

class Routes : public testing::Test {
 protected:
  ApiReply ask(const std::string& method, const std::string& target, const std::string& body = "") {
    return test::run_awaitable(handle({method, target, body}, control));
  }
  Json json_of(const ApiReply& reply) { return Json::parse(reply.body); }

  test::FakeControl control;
};

TEST_F(Routes, ListsServices) {
  const Json json = json_of(ask("GET", "/v1/services"));
  ASSERT_EQ(json["services"].size(), 2U);
  EXPECT_EQ(json["services"][0]["name"], "web");
}

TEST_F(Routes, ListsNothingAsAnEmptyArray) {
  EXPECT_EQ(ask("GET", "/v1/services?filter=nowhere").body, R"({"services":[]})");
}

TEST_F(Routes, ListsMoreThanOneTurnRenders) {
  for (int i = 0; i < 1000; ++i) control.services.push_back(control.services[1]);
  EXPECT_EQ(json_of(ask("GET", "/v1/services"))["services"].size(), 1002U);
}

TEST_F(Routes, ShowsStatusSourcesAndExplanation) {
  EXPECT_EQ(json_of(ask("GET", "/v1/status"))["pid"], 4242);
  EXPECT_EQ(json_of(ask("GET", "/v1/sources"))["sources"][0]["name"], "file");
  EXPECT_EQ(json_of(ask("GET", "/v1/explain?to=127.0.0.1:8080"))["port"], 8080);
}

TEST_F(Routes, DrainsAndSaysWhatIsLeft) {
  control.left = {5};
  const ApiReply reply = ask("POST", "/v1/drains", R"({"target":"node2"})");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(json_of(reply)["connections"], 5);
  ASSERT_EQ(control.drains.size(), 1U);
  EXPECT_EQ(control.drains[0].what.target, "node2");
}

TEST_F(Routes, UnknownTargetIs404WithWhatIsNear) {
  const ApiReply reply = ask("POST", "/v1/drains", R"({"target":"10.0.0.2:9002"})");
  EXPECT_EQ(reply.status, 404);
  EXPECT_EQ(json_of(reply)["error"], "no backend matches 10.0.0.2:9002");
  EXPECT_EQ(json_of(reply)["near"][0], "10.0.0.2:9001");
}

TEST_F(Routes, UnknownServiceOfADrainIs404WithServices) {
  const ApiReply reply = ask("POST", "/v1/drains", R"({"target":"node3","service":"weg"})");
  EXPECT_EQ(json_of(reply)["near"], Json::array({"web"}));
}

TEST_F(Routes, UnknownTargetInAKnownServiceOffersBackends) {
  const ApiReply reply = ask("POST", "/v1/drains", R"({"target":"10.0.0.2:9002","service":"web"})");
  EXPECT_EQ(json_of(reply)["near"][0], "10.0.0.2:9001");
}

TEST_F(Routes, UndrainsAndReportsProgress) {
  EXPECT_EQ(json_of(ask("DELETE", "/v1/drains?target=10.0.0.2:9001"))["backends"][0]["state"],
            "active");
  EXPECT_EQ(ask("DELETE", "/v1/drains?target=10.0.0.7:9001").status, 404);
  EXPECT_EQ(json_of(ask("GET", "/v1/drains?target=gone"))["connections"], 0);
}

TEST_F(Routes, AcceptsAbsences) {
  EXPECT_EQ(ask("POST", "/v1/resync", R"({"accept":"etcd"})").body,
            R"({"source":"etcd","removed":7})");
  EXPECT_EQ(ask("POST", "/v1/resync", R"({"accept":"marathon"})").status, 404);
}

TEST_F(Routes, AnErrorsCodeDecidesTheStatus) {
  const std::vector<std::pair<int, int>> cases{{ENOENT, 404}, {EINVAL, 400}, {EEXIST, 409},
                                               {EBUSY, 409},  {EAGAIN, 503}, {ENOTSUP, 501},
                                               {EPERM, 500}};
  for (const auto& [code, status] : cases) {
    control.broken = Error{std::error_code(code, std::generic_category()), "read the maps"};
    EXPECT_EQ(ask("GET", "/v1/services").status, status) << code;
  }
  EXPECT_EQ(ask("GET", "/v1/status").body, R"({"error":"read the maps: Operation not permitted"})");
}

TEST_F(Routes, WrongMethodNamesTheRightOnes) {
  EXPECT_EQ(ask("PUT", "/v1/drains").allow, "GET, POST, DELETE");
}

class Rights : public Routes {
 protected:
  ApiReply as(Right right, const std::string& method, const std::string& target,
              const std::string& body = "") {
    return test::run_awaitable(
        handle({method, target, body}, control, {.right = right, .who = "uid=1000"}));
  }
};

TEST_F(Rights, WhoMayReadMayNotDrain) {
  EXPECT_EQ(as(Right::Read, "GET", "/v1/services").status, 200);
  for (const auto& [method, target, body] :
       {std::tuple("POST", "/v1/drains", R"({"target":"node2"})"),
        std::tuple("DELETE", "/v1/drains?target=node2", ""),
        std::tuple("POST", "/v1/resync", R"({"accept":"etcd"})"),
        std::tuple("POST", "/v1/fleet/drains", R"({"target":"node2"})"),
        std::tuple("DELETE", "/v1/fleet/drains?target=node2", "")}) {
    const ApiReply reply = as(Right::Read, method, target, body);
    EXPECT_EQ(reply.status, 403) << target;
    EXPECT_NE(reply.body.find("[api] group"), std::string::npos) << reply.body;
  }
  EXPECT_TRUE(control.drains.empty());
}

TEST_F(Rights, WhoMayDrainDoesNotSayWhoIsTrusted) {
  control.keys = {{.key = test::kOrderKey,
                   .updater = "updater-1:7676",
                   .kind = OrderKeys::View::Kind::Offered,
                   .since = std::nullopt}};
  const std::string body = R"({"trust":"updater-1:7676"})";
  const ApiReply refused = as(Right::Drain, "POST", "/v1/trust", body);
  EXPECT_EQ(refused.status, 403);
  EXPECT_NE(refused.body.find("may not say who is trusted"), std::string::npos) << refused.body;
  EXPECT_TRUE(control.trusted.empty());
  EXPECT_NE(as(Right::Read, "GET", "/v1/trust").body.find("\"trust\":\"not trusted\""),
            std::string::npos);
  EXPECT_EQ(as(Right::All, "POST", "/v1/trust", body).status, 200);
  EXPECT_EQ(as(Right::All, "POST", "/v1/trust", R"({"forget":"x"})").status, 404);
  EXPECT_EQ(control.trusted, (std::vector<std::string>{"trust updater-1:7676", "forget x"}));
}

TEST_F(Rights, StrangerHearsNothing) {
  EXPECT_EQ(as(Right::None, "GET", "/v1/services").status, 403);
  EXPECT_EQ(as(Right::None, "GET", "/nowhere").status, 403);
}

TEST_F(Rights, AReasonIsTaken) {
  EXPECT_EQ(
      as(Right::Drain, "POST", "/v1/drains", R"({"target":"node2","reason":"kernel"})").status,
      200);
  EXPECT_EQ(as(Right::Drain, "DELETE", "/v1/drains?target=10.0.0.2:9001&reason=done").status, 200);
  EXPECT_EQ(as(Right::Drain, "POST", "/v1/drains", R"({"target":"node2","reason":7})").status, 400);
}

}  // namespace
}  // namespace lb
