#include "etcd/v3_auth.h"

#include <cerrno>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/beside.h"
#include "etcd/v3_codec.h"

namespace lb::etcd {
namespace {

using namespace std::chrono_literals;

constexpr auto kFileAnswers = 2s;
constexpr auto kTimeout = 5s;  // bcrypt at etcd's default cost takes some 100 ms

bool says(const Error& error, std::string_view words) {
  return error.context.find(words) != std::string::npos;
}

}  // namespace

// One request for a token, and who waits for it.
struct V3Auth::Flight {
  explicit Flight(const asio::any_io_executor& executor)
      : landed(executor, std::chrono::steady_clock::time_point::max()) {}
  asio::steady_timer landed;
  std::optional<Error> refusal;
};

struct V3Auth::State {
  std::string token;
  bool off = false;  // etcd said that it has no authentication; until it asks for a user
  std::shared_ptr<Flight> flight;

  // Wakes the others, however the flight ends: also when its coroutine is cancelled.
  struct Landing {
    std::shared_ptr<State> state;
    ~Landing() { std::exchange(state->flight, nullptr)->landed.cancel(); }
  };
};

V3Auth::V3Auth(HttpClient& http, const Access& access)
    : http_(http), access_(access), state_(std::make_shared<State>()) {}

bool V3Auth::refused(const std::string& token) {
  if (access_.username.empty()) return false;
  if (state_->token == token) state_->token.clear();
  state_->off = false;
  return true;
}

asio::awaitable<Result<std::string>> V3Auth::token(std::string endpoint, std::string path) {
  if (access_.username.empty()) co_return std::string();
  while (const auto flight = state_->flight) {
    (void)co_await flight->landed.async_wait(asio::as_tuple(asio::use_awaitable));
    const auto cancellation = co_await asio::this_coro::cancellation_state;
    if (cancellation.cancelled() != asio::cancellation_type::none)
      co_return fail(ECANCELED, endpoint + ": authenticate");
    if (flight->refusal) co_return tl::unexpected(*flight->refusal);
  }
  if (state_->off || !state_->token.empty()) co_return state_->token;
  const auto flight = std::make_shared<Flight>(co_await asio::this_coro::executor);
  state_->flight = flight;
  const State::Landing landing{state_};
  auto fresh = co_await authenticate(std::move(endpoint), std::move(path));
  if (!fresh) {
    // A member that cannot be reached says nothing of the others; a wrong password is wrong everywhere.
    if (fresh.error().code.value() == EACCES) flight->refusal = fresh.error();
    co_return tl::unexpected(std::move(fresh.error()));
  }
  landing.state->token = *fresh;
  landing.state->off = fresh->empty();
  co_return fresh;
}

asio::awaitable<Result<std::string>> V3Auth::authenticate(std::string endpoint, std::string path) {
  const std::string what = fmt::format("{}: authenticate as user '{}'", endpoint, access_.username);
  const std::function<Result<std::string>()> read = [access = access_] {
    return read_password(access);
  };
  auto password = co_await beside(read, kFileAnswers);
  if (!password)
    co_return fail(EACCES, fmt::format("{}: password_file: {}", what, password.error().message()));
  // Without `Authorization`: etcd would look at a stale token first, and refuse for that.
  HttpRequest request;
  request.method = "POST";
  request.url = endpoint + path + "/auth/authenticate";
  request.headers = {"Grpc-Metadata-Hasleader: true", "Content-Type: application/json"};
  request.body = authenticate_request(access_.username, *password);
  request.tls = access_.tls;
  request.timeout = kTimeout;
  auto response = co_await http_.request(std::move(request));
  if (!response) co_return tl::unexpected(std::move(response.error()));
  if (response->status == 200) {
    auto token = parse_token(response->body);
    if (!token)
      co_return fail(token.error().code, fmt::format("{}: {}", what, token.error().context));
    co_return token;
  }
  Error error = parse_refusal(response->status, response->body).error;
  if (says(error, "authentication is not enabled")) co_return std::string();
  error.context = fmt::format("{}: {}", what, error.context);
  if (says(error, "invalid user ID or password"))
    error.context +=
        fmt::format("; check username and the password in password_file {}", access_.password_file);
  co_return tl::unexpected(std::move(error));
}

}  // namespace lb::etcd
