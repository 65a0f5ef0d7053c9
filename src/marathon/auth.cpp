#include "marathon/auth.h"

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/beside.h"
#include "base/file.h"
#include "marathon/login.h"

namespace lb::marathon {
namespace {

using std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr std::size_t kLongestSecret = 64 * 1024;
constexpr auto kFileAnswers = 2s;
constexpr auto kLoginTimeout = 10s;
constexpr auto kLoginPause = 10s;
// Of a token that does not say when it ends.
constexpr auto kUsualLife = 3600s;
constexpr auto kShortestLife = 4s;
constexpr std::chrono::hours kLongestLife{24 * 30};
constexpr std::string_view kPrefix = "Authorization: token=";

// What `setting` names, without the newline at its end.
Result<std::string> read_secret(const char* setting, const std::string& path) {
  auto text = read_file(path, kLongestSecret);
  if (!text) return fail(fmt::format("{}: {}", setting, text.error().message()));
  while (text->ends_with('\n') || text->ends_with('\r')) text->pop_back();
  if (text->empty()) return fail(fmt::format("{}: {} is empty", setting, path));
  return *std::move(text);
}

// The same, off the loop: the file may lie on a disk or a server that hangs.
asio::awaitable<Result<std::string>> secret_of(const char* setting, std::string path) {
  const std::function<Result<std::string>()> read = [setting, path] {
    return read_secret(setting, path);
  };
  auto secret = co_await beside(read, kFileAnswers);
  if (!secret && secret.error().code == std::errc::timed_out)
    co_return fail(fmt::format("{}: {}: {}", setting, path, secret.error().context));
  co_return secret;
}

}  // namespace

// One login at a time, for all who ask meanwhile.
struct Auth::State {
  std::string token;
  steady_clock::time_point renew_at{};
  std::shared_ptr<asio::steady_timer> flight;  // cancelled when the login has ended

  struct Landing {
    std::shared_ptr<State> state;
    ~Landing() { std::exchange(state->flight, nullptr)->cancel(); }
  };
};

Auth::Auth(HttpClient& http, const Access& access)
    : http_(http), access_(access), state_(std::make_shared<State>()) {}

asio::awaitable<Result<HttpRequest>> Auth::authorize(HttpRequest request) {
  request.tls = access_.tls;
  if (!access_.username.empty()) {
    const std::string file = access_.password_file;
    LB_CO_TRY(request.password, co_await secret_of("password_file", file));
    request.username = access_.username;
  } else if (!access_.token_file.empty()) {
    const std::string file = access_.token_file;
    LB_CO_TRY(const std::string token, co_await secret_of("token_file", file));
    if (!is_token(token))
      co_return fail(
          fmt::format("token_file: {} holds blanks or control characters, "
                      "which no token has",
                      access_.token_file));
    request.headers.push_back(std::string(kPrefix) + token);
  } else if (!access_.dcos_login.empty()) {
    LB_CO_TRY(const std::string token, co_await dcos_token());
    request.headers.push_back(std::string(kPrefix) + token);
  }
  co_return std::move(request);
}

bool Auth::refused(const HttpRequest& request) {
  if (access_.dcos_login.empty()) return false;
  // Another request may have brought a new one meanwhile: that is kept.
  const bool current = std::find(request.headers.begin(), request.headers.end(),
                                 std::string(kPrefix) + state_->token) != request.headers.end();
  if (current) state_->token.clear();
  return true;
}

std::string Auth::hint() const {
  if (!access_.username.empty())
    return fmt::format("check username and the password in password_file {}",
                       access_.password_file);
  if (!access_.token_file.empty())
    return fmt::format("check the token in token_file {}", access_.token_file);
  if (!access_.dcos_login.empty())
    return fmt::format("may DC/OS user '{}' use Marathon?", access_.dcos_uid);
  return "it wants to know who asks: set username and password_file, or token_file";
}

asio::awaitable<Result<std::string>> Auth::dcos_token() {
  const auto state = state_;
  while (const auto flight = state->flight) {
    (void)co_await flight->async_wait(asio::as_tuple(asio::use_awaitable));
    const auto cancellation = co_await asio::this_coro::cancellation_state;
    if (cancellation.cancelled() != asio::cancellation_type::none)
      co_return fail(ECANCELED, "DC/OS login");
  }
  if (!state->token.empty() && steady_clock::now() < state->renew_at) co_return state->token;
  state->flight = std::make_shared<asio::steady_timer>(co_await asio::this_coro::executor,
                                                       steady_clock::time_point::max());
  const State::Landing landing{state};
  auto token = co_await login();
  // A token that still lives is better than none while the login fails.
  if (!token && !state->token.empty()) {
    state->renew_at = steady_clock::now() + kLoginPause;
    co_return state->token;
  }
  if (!token) co_return tl::unexpected(std::move(token.error()));
  // A fresh token that has ended, or is about to, tells that this host's clock is ahead. Lives of years
  // tell of one that is behind; a token that has ended sooner is refused, and fetched again.
  const auto end = end_of_token(*token);
  std::chrono::system_clock::duration life = kUsualLife;
  if (end) life = *end - std::chrono::system_clock::now();
  if (life < kShortestLife || life > kLongestLife) life = kUsualLife;
  state->renew_at = steady_clock::now() + life * 3 / 4;
  state->token = *token;
  co_return token;
}

asio::awaitable<Result<std::string>> Auth::login() {
  const std::string what =
      fmt::format("DC/OS login as '{}' at {}", access_.dcos_uid, access_.dcos_login);
  const std::string file = access_.dcos_key_file;
  LB_CO_TRY(const std::string key, co_await secret_of("dcos_key_file", file));
  auto body = login_request(access_.dcos_uid, key, std::chrono::system_clock::now());
  if (!body)
    co_return fail(
        fmt::format("dcos_key_file: {} {}", access_.dcos_key_file, body.error().context));
  HttpRequest request;
  request.method = "POST";
  request.url = access_.dcos_login;
  request.headers = {"Content-Type: application/json", "Accept: application/json"};
  request.body = *std::move(body);
  request.tls = access_.tls;
  request.timeout = kLoginTimeout;
  request.max_body = std::size_t{1} << 20;
  auto response = co_await http_.request(std::move(request));
  if (!response) co_return tl::unexpected(std::move(response.error()));
  if (response->status != 200)
    co_return fail(fmt::format("{}: status {}; check dcos_uid, dcos_key_file and the time of day",
                               what, response->status));
  auto token = parse_login(response->body, response->headers);
  if (!token)
    co_return fail(token.error().code, fmt::format("{}: {}", what, token.error().context));
  co_return token;
}

}  // namespace lb::marathon
