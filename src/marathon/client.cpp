#include "marathon/client.h"

#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include "base/text.h"
#include "marathon/answer.h"

namespace lb::marathon {
namespace {

using namespace std::chrono_literals;

constexpr auto kConnect = 2s;
// The leader sends the header of a stream at once.
constexpr auto kStreamHeader = 10s;
constexpr int kRedirects = 3;
// An event above it is a deployment's plan (before 1.6 there is no lighter one), and its name is enough.
constexpr std::size_t kLargestEvent = std::size_t{1} << 20;
// What may wait while the loop is busy.
constexpr std::size_t kWaiting = std::size_t{64} << 20;

bool is_redirect(int status) { return status >= 301 && status <= 308 && status != 304; }

std::string header(const std::map<std::string, std::string>& headers, const char* name) {
  const auto it = headers.find(name);
  return it == headers.end() ? std::string() : it->second;
}

// The query of our own requests is long, and tells an operator nothing.
Error without_query(Error error) {
  const auto begin = error.context.find('?');
  if (begin == std::string::npos) return error;
  const auto end = error.context.find_first_of(": ", begin);
  error.context.erase(begin, end == std::string::npos ? end : end - begin);
  return error;
}

HttpRequest request_to(const std::string& endpoint, const std::string& path) {
  HttpRequest out;
  out.url = endpoint + path;
  out.connect_timeout = kConnect;
  out.timeout = Client::kPatience;
  return out;
}

}  // namespace

EventFeed::EventFeed(HttpStream stream, std::string from)
    : stream_(std::move(stream)), parser_(kLargestEvent), from_(std::move(from)) {}

asio::awaitable<Result<std::vector<SseEvent>>> EventFeed::read(
    std::chrono::steady_clock::time_point deadline) {
  auto bytes = co_await stream_.read_some(deadline);
  if (!bytes) co_return tl::unexpected(without_query(std::move(bytes.error())));
  if (bytes->empty()) co_return fail(fmt::format("{}: closed the event stream", from_));
  co_return parser_.feed(*bytes);
}

Client::Client(asio::io_context& io, Access access)
    : access_(std::move(access)), http_(io), auth_(http_, access_) {
  for (std::string& endpoint : access_.endpoints)
    while (endpoint.ends_with('/')) endpoint.pop_back();
}

asio::awaitable<Result<HttpResponse>> Client::get(HttpRequest request) {
  for (bool again : {true, false}) {
    auto authorized = co_await auth_.authorize(request);
    if (!authorized) co_return tl::unexpected(std::move(authorized.error()));
    auto response = co_await http_.request(*authorized);
    const bool refused = response && response->status == 401 && auth_.refused(*authorized);
    if (!refused || !again) co_return response;
  }
  co_return fail(EACCES, request.url);
}

asio::awaitable<Result<HttpStream>> Client::open(HttpRequest request) {
  for (bool again : {true, false}) {
    auto authorized = co_await auth_.authorize(request);
    if (!authorized) co_return tl::unexpected(std::move(authorized.error()));
    auto stream = co_await http_.open(*authorized);
    const bool refused = stream && stream->status() == 401 && auth_.refused(*authorized);
    if (!refused || !again) co_return stream;
  }
  co_return fail(EACCES, request.url);
}

tl::unexpected<Error> Client::refusal(const std::string& what, int status,
                                      std::string_view body) const {
  const std::string reason = reason_in(body);
  std::string text = fmt::format("{}: status {}", what, status);
  if (!reason.empty()) text += fmt::format(" ({})", reason);
  const bool denied = status == 401 || status == 403;
  if (denied) text += "; " + auth_.hint();
  if (is_redirect(status)) text += "; redirects are not followed, name the right URL";
  return fail(std::move(text));
}

asio::awaitable<Result<Client::Answer>> Client::apps(std::string endpoint, std::string label,
                                                     std::chrono::milliseconds patience) {
  // The first one is the one that 0.8 reads.
  std::string path = "/v2/apps?embed=apps.tasks&embed=apps.readiness";
  const bool selects = !label.empty() && !no_selectors_;
  if (selects) path += "&" + label_query(label);
  HttpRequest request = request_to(endpoint, path);
  request.headers = {"Accept: application/json"};
  request.timeout = patience;
  request.gzip = true;
  request.max_body = kLargestAnswer;
  auto response = co_await get(std::move(request));
  if (!response) co_return tl::unexpected(without_query(std::move(response.error())));
  // A selector that it cannot parse: we select ourselves anyway.
  if (selects && response->status == 422) {
    no_selectors_ = true;
    auto all = co_await apps(std::move(endpoint), std::string(), patience);
    co_return all;
  }
  if (response->status != 200)
    co_return refusal("GET " + endpoint + "/v2/apps", response->status, response->body);
  Answer out;
  out.leader = printable(header(response->headers, "x-marathon-leader"), 200);
  out.body = std::move(response->body);
  co_return std::move(out);
}

asio::awaitable<Result<std::optional<App>>> Client::app(std::string endpoint, std::string id,
                                                        std::chrono::milliseconds patience) {
  const std::string what = "GET " + endpoint + "/v2/apps" + id;
  if (!is_plain_id(id)) co_return fail(EINVAL, what);
  HttpRequest request =
      request_to(endpoint, "/v2/apps" + id + "?embed=app.tasks&embed=app.readiness");
  request.headers = {"Accept: application/json"};
  request.timeout = patience;
  request.gzip = true;
  request.max_body = kLargestAnswer;
  auto response = co_await get(std::move(request));
  if (!response) co_return tl::unexpected(without_query(std::move(response.error())));
  if (response->status == 404 && denies_app(response->body, id)) {
    bool led = !header(response->headers, "x-marathon-leader").empty();
    if (!led) {
      const bool leaderless = co_await knows_no_leader(endpoint, patience);
      led = !leaderless;
    }
    if (led) co_return std::optional<App>();
  }
  if (response->status != 200) co_return refusal(what, response->status, response->body);
  auto app = parse_app(response->body);
  if (!app) co_return tl::unexpected(std::move(app.error()));
  if (app->id != id) co_return fail(what + ": answers with another app");
  co_return std::optional<App>(*std::move(app));
}

asio::awaitable<bool> Client::knows_no_leader(std::string endpoint,
                                              std::chrono::milliseconds patience) {
  HttpRequest request = request_to(endpoint, "/v2/leader");
  request.headers = {"Accept: application/json"};
  request.timeout = patience;
  auto response = co_await get(std::move(request));
  if (!response || response->status >= 500) co_return true;
  if (response->status == 200) co_return leader_in(response->body).empty();
  co_return reason_in(response->body).find("leader") != std::string::npos;
}

asio::awaitable<std::string> Client::ask_leader(std::string endpoint) {
  HttpRequest request = request_to(endpoint, "/v2/leader");
  request.headers = {"Accept: application/json"};
  request.timeout = kStreamHeader;
  auto response = co_await get(std::move(request));
  if (!response || response->status != 200) co_return std::string();
  co_return leader_in(response->body);
}

asio::awaitable<Result<EventFeed>> Client::events(std::string endpoint) {
  std::string base = endpoint;
  for (int hops = 0; hops <= kRedirects; ++hops) {
    HttpRequest request = request_to(base, "/v2/events?" + events_query());
    request.headers = {"Accept: text/event-stream"};  // Marathon compares the whole value
    request.timeout = kStreamHeader;
    request.max_body = kWaiting;
    auto stream = co_await open(std::move(request));
    if (!stream) co_return tl::unexpected(without_query(std::move(stream.error())));
    const int status = stream->status();
    const std::string what = "GET " + base + "/v2/events";
    if (is_redirect(status)) {
      const std::string location = header(stream->headers(), "location");
      auto target = follow(location, base, access_.endpoints, "");
      if (!target) {
        const std::string leader = co_await ask_leader(endpoint);
        target = follow(location, base, access_.endpoints, leader);
      }
      if (!target)
        co_return fail(
            fmt::format("{}: redirects to {}, which is neither a configured "
                        "endpoint nor the leader: not followed",
                        what, printable(location, 200)));
      base = *std::move(target);
      continue;
    }
    if (status == 404 || status == 405)
      co_return fail(ENOTSUP, fmt::format("{}: status {}", what, status));
    if (status != 200) co_return refusal(what, status, "");
    const std::string type = header(stream->headers(), "content-type");
    if (!type.starts_with("text/event-stream"))
      co_return fail(fmt::format("{}: answers {} instead of an event stream", what,
                                 type.empty() ? "nothing" : printable(type)));
    co_return EventFeed(*std::move(stream), base);
  }
  co_return fail(
      fmt::format("GET {}/v2/events: redirected more than {} times", endpoint, kRedirects));
}

}  // namespace lb::marathon
