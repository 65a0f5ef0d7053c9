#include "api/request.h"

#include <gtest/gtest.h>

#include <ostream>

namespace lb {
namespace {

struct Refused {
  std::string name;
  std::string method, target, body;
  int status;
  std::string says;  // part of the error
};
void PrintTo(const Refused& c, std::ostream* out) { *out << c.name; }

class Request : public testing::TestWithParam<Refused> {};

TEST_P(Request, IsRefusedWithTheReason) {
  const auto& c = GetParam();
  const auto call = parse_call({c.method, c.target, c.body});
  ASSERT_FALSE(call);
  EXPECT_EQ(call.error().status, c.status);
  EXPECT_NE(call.error().body.find(c.says), std::string::npos) << call.error().body;
}

INSTANTIATE_TEST_SUITE_P(
    Cases, Request,
    testing::Values(
        Refused{"unknown_path", "GET", "/v2/services", "", 404, "no such path: /v2/services"},
        Refused{"empty_target", "GET", "", "", 404, "no such path"},
        Refused{"wrong_method", "POST", "/v1/services", "", 405, "allows GET"},
        Refused{"wrong_method_of_three", "PUT", "/v1/drains", "", 405, "GET, POST, DELETE"},
        Refused{"unknown_parameter", "GET", "/v1/services?fliter=web", "", 400,
                "no parameter 'fliter'"},
        Refused{"parameter_twice", "GET", "/v1/services?filter=a&filter=b", "", 400, "given twice"},
        Refused{"parameter_where_none_is", "GET", "/v1/status?x=1", "", 400, "no parameter 'x'"},
        Refused{"bad_percent", "GET", "/v1/services?filter=%4", "", 400, "two hex digits"},
        Refused{"bad_percent_digits", "GET", "/v1/services?filter=%4x", "", 400, "two hex digits"},
        Refused{"explain_without_to", "GET", "/v1/explain", "", 400, "'' is not of the form"},
        Refused{"explain_bad_port", "GET", "/v1/explain?to=127.0.0.1:0", "", 400,
                "no port between"},
        Refused{"drain_no_json", "POST", "/v1/drains", "target=x", 400, "must be a JSON object"},
        Refused{"drain_array", "POST", "/v1/drains", "[]", 400, "must be a JSON object"},
        Refused{"drain_no_target", "POST", "/v1/drains", "{}", 400, "field 'target'"},
        Refused{"drain_number", "POST", "/v1/drains", R"({"target":1})", 400, "must be a string"},
        Refused{"drain_unknown_field", "POST", "/v1/drains", R"({"tarrget":"x"})", 400,
                "no field 'tarrget'"},
        Refused{"drain_bad_bool", "POST", "/v1/drains", R"({"target":"x","terminate":"yes"})", 400,
                "true or false"},
        Refused{"drain_bad_duration", "POST", "/v1/drains",
                R"({"target":"x","terminate":true,"terminate_after":"5"})", 400, "not a duration"},
        Refused{"drain_deadline_alone", "POST", "/v1/drains",
                R"({"target":"x","terminate_after":"5s"})", 400, "needs \\\"terminate\\\""},
        Refused{"undrain_without_target", "DELETE", "/v1/drains", "", 400, "parameter 'target'"},
        Refused{"resync_nothing", "POST", "/v1/resync", "{}", 400, "field 'accept'"},
        Refused{"trust_nothing", "POST", "/v1/trust", "{}", 400, "field 'trust'"},
        Refused{"trust_both", "POST", "/v1/trust", R"({"trust":"a","forget":"b"})", 400,
                "cannot be there both"}),
    [](const auto& test) { return test.param.name; });

template <class Call>
Call parsed(const std::string& method, const std::string& target, const std::string& body = "") {
  auto call = parse_call({method, target, body});
  if (!call) throw std::runtime_error(call.error().body);
  return std::get<Call>(*std::move(call));
}

TEST(Request, DecodesParameters) {
  EXPECT_EQ(parsed<ListCall>("GET", "/v1/services?filter=a%20b+c%2f&").filter, "a b c/");
}
TEST(Request, ListWithoutFilter) { EXPECT_EQ(parsed<ListCall>("GET", "/v1/services").filter, ""); }
TEST(Request, ExplainsUdp) {
  EXPECT_EQ(parsed<ExplainCall>("GET", "/v1/explain?to=udp://[::1]:53").to,
            *ServiceKey::parse("udp://[::1]:53"));
}
TEST(Request, DrainsWithDeadline) {
  const auto call = parsed<DrainCall>(
      "POST", "/v1/drains",
      R"({"target":"node1","service":"web","terminate":true,"terminate_after":"30s"})");
  EXPECT_EQ(call.request, (DrainRequest{{"node1", "web"}, true, std::chrono::seconds(30)}));
}
TEST(Request, DrainsWithoutDeadline) {
  EXPECT_EQ(parsed<DrainCall>("POST", "/v1/drains", R"({"target":"node1","service":null})").request,
            (DrainRequest{{"node1", ""}, false, std::nullopt}));
}
TEST(Request, UndrainsByQuery) {
  EXPECT_EQ(parsed<UndrainCall>("DELETE", "/v1/drains?target=10.0.0.1%3A80&service=web").what,
            (DrainTarget{"10.0.0.1:80", "web"}));
}
TEST(Request, AskedForProgress) {
  EXPECT_EQ(parsed<ProgressCall>("GET", "/v1/drains?target=node1").what,
            (DrainTarget{"node1", ""}));
}
TEST(Request, AcceptsAbsences) {
  EXPECT_EQ(parsed<AcceptCall>("POST", "/v1/resync", R"({"accept":"etcd"})").source, "etcd");
}
TEST(Request, TrustsAndForgets) {
  const auto trust = parsed<TrustCall>("POST", "/v1/trust", R"({"trust":"u:1","reason":"new"})");
  EXPECT_EQ(trust.what, "u:1");
  EXPECT_FALSE(trust.forget);
  EXPECT_EQ(trust.reason, "new");
  const auto forget = parsed<TrustCall>("POST", "/v1/trust", R"({"forget":"u:1"})");
  EXPECT_EQ(forget.what, "u:1");
  EXPECT_TRUE(forget.forget);
}

}  // namespace
}  // namespace lb
