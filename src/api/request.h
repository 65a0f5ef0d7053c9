// Turns what an HTTP client wrote into one of the calls that Control has. Pure, and the only place
// that reads foreign bytes (fuzzed: tests/fuzz/http_api.cpp).
#pragma once

#include <string>
#include <string_view>
#include <variant>

#include "api/caller.h"
#include "api/control.h"

namespace lb {

struct ApiRequest {
  std::string method;  // "GET"
  std::string target;  // "/v1/services?filter=web"
  std::string body;
};

struct ApiReply {
  int status = 200;
  std::string body;   // JSON
  std::string allow;  // methods, with 405
};

struct ListCall {
  std::string filter;
};
struct StatusCall {};
struct SourcesCall {};
struct ExplainCall {
  ServiceKey to;
};
// `reason`: the operator's own words, for the audit.
struct DrainCall {
  DrainRequest request;
  std::string reason{};
};
struct UndrainCall {
  DrainTarget what;
  std::string reason{};
};
struct ProgressCall {
  DrainTarget what;
};
struct AcceptCall {
  std::string source;
  std::string reason{};
};
struct ListenersCall {};
struct FleetDrainCall {
  DrainTarget what;
  std::string reason{};
};
struct FleetUndrainCall {
  DrainTarget what;
  std::string reason{};
};
struct FleetProgressCall {
  DrainTarget what;
};
struct KeysCall {};
struct TrustCall {
  std::string what;
  bool forget = false;
  std::string reason{};
};
using ApiCall = std::variant<ListCall, StatusCall, SourcesCall, ExplainCall, DrainCall, UndrainCall,
                             ProgressCall, AcceptCall, ListenersCall, FleetDrainCall,
                             FleetUndrainCall, FleetProgressCall, KeysCall, TrustCall>;

// What the call takes: those that only look may be made by who may read.
[[nodiscard]] Right right_for(const ApiCall& call);

// The error is the finished reply: 404 unknown path, 405 wrong method, 400 bad input.
[[nodiscard]] tl::expected<ApiCall, ApiReply> parse_call(const ApiRequest& request);

[[nodiscard]] ApiReply error_reply(int status, std::string_view message);

}  // namespace lb
