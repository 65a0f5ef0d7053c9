#include "etcd/v3_gateway.h"

#include <cerrno>
#include <utility>

#include <fmt/format.h>

namespace lb::etcd {
namespace {

using namespace std::chrono_literals;

constexpr auto kVersionTimeout = 3s;  // needs no quorum

}  // namespace

tl::unexpected<Error> V3Gateway::failed(const Call& call, Error error) {
  error.context = fmt::format("{}: {}: {}", call.endpoint, call.what, error.context);
  return tl::unexpected(std::move(error));
}

asio::awaitable<Result<Gateway>> V3Gateway::look_up(std::string endpoint) {
  HttpRequest request;
  request.url = endpoint + "/version";
  request.tls = access_.tls;
  request.timeout = kVersionTimeout;
  auto response = co_await http_.request(std::move(request));
  if (!response) co_return tl::unexpected(std::move(response.error()));
  if (response->status != 200) {
    Error error = parse_refusal(response->status, response->body).error;
    error.context = fmt::format("{}: GET /version: {}", endpoint, error.context);
    co_return tl::unexpected(std::move(error));
  }
  auto gateway = parse_version(response->body);
  if (!gateway)
    co_return fail(gateway.error().code,
                   fmt::format("{}: GET /version: {}", endpoint, gateway.error().context));
  gateways_[endpoint] = *gateway;
  co_return gateway;
}

asio::awaitable<Result<V3Gateway::Attempt>> V3Gateway::prepare(Call call) {
  Attempt attempt;
  if (const auto it = gateways_.find(call.endpoint); it != gateways_.end()) {
    attempt.gateway = it->second;
    attempt.known = true;
  } else {
    auto found = co_await look_up(call.endpoint);
    if (!found) co_return tl::unexpected(std::move(found.error()));
    attempt.gateway = *found;
  }
  auto token = co_await auth_.token(call.endpoint, attempt.gateway.path);
  if (!token) co_return tl::unexpected(std::move(token.error()));
  attempt.token = *token;
  HttpRequest& request = attempt.request;
  request.method = "POST";
  request.url = call.endpoint + attempt.gateway.path + call.path;
  request.body = std::move(call.body);
  // A member that lost its leader answers 503 at once, instead of never.
  request.headers = {"Grpc-Metadata-Hasleader: true", "Content-Type: application/json"};
  if (!attempt.token.empty()) request.headers.push_back("Authorization: " + attempt.token);
  request.tls = access_.tls;
  request.timeout = call.timeout;
  request.max_body = call.max_body;
  co_return attempt;
}

bool V3Gateway::worth_another(const Call& call, const Attempt& attempt, const Refusal& refusal) {
  if (refusal.token) return auth_.refused(attempt.token);
  if (refusal.error.code.value() != ENOTSUP) return false;
  forget(call.endpoint);
  return attempt.known;
}

asio::awaitable<Result<std::string>> V3Gateway::ask(Call call) {
  for (bool again = false;; again = true) {
    auto attempt = co_await prepare(call);
    if (!attempt) co_return tl::unexpected(std::move(attempt.error()));
    auto response = co_await http_.request(attempt->request);
    if (!response) {
      if (response.error().code.value() != ECANCELED) forget(call.endpoint);
      response.error().context = call.what + ": " + response.error().context;
      co_return tl::unexpected(std::move(response.error()));
    }
    if (response->status == 200) co_return std::move(response->body);
    Refusal refusal = parse_refusal(response->status, response->body);
    const bool worth = worth_another(call, *attempt, refusal);
    if (again || !worth) co_return failed(call, std::move(refusal.error));
  }
}

}  // namespace lb::etcd
