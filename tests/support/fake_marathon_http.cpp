// What a node of a fake Marathon answers, and how it fails.
#include <algorithm>

#include <fmt/format.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "support/fake_marathon_node.h"

namespace lb::test {
namespace {

using asio::ip::tcp;
using std::chrono::milliseconds;
constexpr auto kHttpTuple = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t kRemembered = 500;
constexpr const char* kHtml = "text/html;charset=iso-8859-1";
constexpr const char* kEvents = "/v2/events";
constexpr const char* kApps = "/v2/apps";

std::string html(int status, const std::string& why) {
  return fmt::format(
      "<html>\n<head>\n<title>Error {0} {1}</title>\n</head>\n<body><h2>HTTP ERROR {0}</h2>\n"
      "<p>Problem accessing. Reason:\n<pre>    {1}</pre></p></body>\n</html>\n",
      status, why);
}

MarathonReply message(int status, const std::string& text) {
  return {status, "application/json", Json{{"message", text}}.dump(), {}};
}

// "/web" of /v2/apps/web and of /v2/apps//web; "" of others.
std::string named_app(const std::string& path) {
  if (!path.starts_with(std::string(kApps) + "/")) return {};
  const auto begin = path.find_first_not_of('/', std::string_view(kApps).size());
  return begin == std::string::npos ? std::string() : "/" + path.substr(begin);
}

bool is_incomplete(const std::string& kind) {
  return kind == "short" || kind == "taskless" || kind == "wiped";
}

AppsQuery apps_query(const MarathonRequest& request) {
  AppsQuery out;
  const auto [first, last] = request.query.equal_range("embed");
  for (auto it = first; it != last; ++it) {
    out.tasks = out.tasks || it->second == "apps.tasks";
    out.readiness = out.readiness || it->second == "apps.readiness";
  }
  const auto [from, to] = request.query.equal_range("label");
  for (auto it = from; it != to; ++it) out.labels.push_back(it->second);
  return out;
}

asio::awaitable<void> sleep_for(milliseconds time) {
  asio::steady_timer timer(co_await asio::this_coro::executor, time);
  (void)co_await timer.async_wait(kHttpTuple);
}

}  // namespace

asio::awaitable<void> MarathonNode::accept() {
  for (;;) {
    auto [ec, socket] = co_await acceptor_.async_accept(kHttpTuple);
    if (ec) co_return;
    auto link =
        std::make_shared<MarathonLink>(std::move(socket), options_.cert.empty() ? nullptr : &tls_);
    asio::co_spawn(io_, serve(std::move(link)), asio::detached);
  }
}

asio::awaitable<void> MarathonNode::serve(LinkPtr link) {
  const bool ready = co_await link->handshake(true);
  std::string buffer;
  while (ready) {
    MarathonRequest request;
    const bool asked = co_await read_request(link, &buffer, &request);
    if (!asked) break;
    note(request);
    const bool goes_on = co_await handle(link, std::move(request));
    if (!goes_on) break;
  }
  link->close();
}

void MarathonNode::note(const MarathonRequest& request) {
  ++counts_[request.path];
  requests_.push_back(request);
  if (requests_.size() > kRemembered) requests_.pop_front();
}

bool MarathonNode::zips(const MarathonRequest& request) const {
  return options_.gzip && request.header("accept-encoding").find("gzip") != std::string::npos;
}

std::optional<MarathonNode::Fault> MarathonNode::take_fault(const std::string& path) {
  for (auto it = faults_.begin(); it != faults_.end(); ++it) {
    if (!path.starts_with(it->path) || it->times == 0) continue;
    const bool of_lists = it->kind == "short" || it->kind == "taskless";
    if (of_lists && path != it->path) continue;
    const Fault fault = *it;
    if (it->times > 0) --it->times;
    return fault;
  }
  return std::nullopt;
}

asio::awaitable<bool> MarathonNode::handle(LinkPtr link, MarathonRequest request) {
  if (const auto fault = take_fault(request.path)) {
    const bool goes_on = co_await fail(link, std::move(request), *fault);
    co_return goes_on;
  }
  const bool goes_on = co_await handle_well(link, std::move(request));
  co_return goes_on;
}

asio::awaitable<bool> MarathonNode::handle_well(LinkPtr link, MarathonRequest request) {
  MarathonReply said;
  bool zipped = false;
  if (request.path == FakeMarathonAuth::kLoginPath) {
    said = auth_.login(request);
  } else if (!auth_.allows(request)) {
    said = FakeMarathonAuth::refusal();
    ++refusals_;
  } else if (!leads_) {
    const bool goes_on = co_await follow_leader(link, std::move(request));
    co_return goes_on;
  } else if (request.path == kEvents && model_.version.at_least(0, 9)) {
    const bool goes_on = co_await stream(link, std::move(request));
    co_return goes_on;
  } else {
    said = answer(request, 0);
    zipped = zips(request);
  }
  const bool goes_on = co_await reply(link, std::move(said), zipped);
  co_return goes_on;
}

asio::awaitable<bool> MarathonNode::reply(LinkPtr link, MarathonReply reply, bool zipped) {
  if (leads_)
    reply.headers.push_back(fmt::format("X-Marathon-Leader: {}://{}", scheme(), address_));
  const bool sent = co_await link->write(to_bytes(reply, zipped));
  co_return sent;
}

MarathonReply MarathonNode::answer(const MarathonRequest& request, std::size_t filler) {
  if (request.path == "/ping") return {200, "text/plain", "pong", {}};
  if (request.path == "/v2/leader")
    return {200, "application/json", Json{{"leader", address_}}.dump(), {}};
  if (request.path == kEvents) return message(404, "HTTP 404 Not Found");
  if (const std::string id = named_app(request.path); !id.empty()) {
    if (!model_.apps.contains(id)) return message(404, fmt::format("App '{}' does not exist", id));
    return {200, "application/json", render_named(model_, id), {}};
  }
  if (request.path != kApps && request.path != "/v2/apps/")
    return message(404, "HTTP 404 Not Found");
  if (request.method != "GET") return {405, kHtml, html(405, "Method Not Allowed"), {}};
  if (filler > 0)
    return {200, "application/json", render_apps(model_, apps_query(request), filler), {}};
  std::string& known = rendered_[request.target];
  if (known.empty()) known = render_apps(model_, apps_query(request));
  return {200, "application/json", known, {}};
}

asio::awaitable<bool> MarathonNode::follow_leader(LinkPtr link, MarathonRequest request) {
  // Real ones hold the request for 10 times 250 ms.
  for (int i = 0; i < 25 && !leads_ && !zk_.leader(); ++i) {
    if (!model_.version.at_least(0, 9)) break;
    co_await sleep_for(milliseconds(100));
  }
  if (leads_) {
    const bool goes_on = co_await handle(link, std::move(request));
    co_return goes_on;
  }
  const auto leader = zk_.leader();
  MarathonReply said;
  if (!leader && !model_.version.at_least(0, 9)) {
    said.body = R"({"apps":[]})";  // 0.8 answers with what it has: nothing
  } else if (!leader) {
    said = {502, kHtml, html(502, "Could not determine the current leader"), {}};
  } else if (request.path == kEvents && model_.version.at_least(1, 7)) {
    said = {302, "text/plain", "", {}};
    said.headers = {fmt::format("Location: {}://{}{}", scheme(), leader->address, request.target)};
  } else {
    const bool goes_on = co_await proxy(link, std::move(request), leader->address);
    co_return goes_on;
  }
  const bool goes_on = co_await reply(link, std::move(said), false);
  co_return goes_on;
}

asio::awaitable<bool> MarathonNode::proxy(LinkPtr link, MarathonRequest request,
                                          std::string leader) {
  tcp::socket socket(io_);
  const auto colon = leader.rfind(':');
  const tcp::endpoint there(asio::ip::make_address(leader.substr(0, colon)),
                            static_cast<unsigned short>(std::stoi(leader.substr(colon + 1))));
  const auto [refused] = co_await socket.async_connect(there, kHttpTuple);
  const auto to = std::make_shared<MarathonLink>(std::move(socket),
                                                 options_.cert.empty() ? nullptr : &tls_client_);
  bool alive = !refused;
  if (alive) alive = co_await to->handshake(false);
  if (!alive) {
    MarathonReply dead{502, kHtml, html(502, "Connection to leader refused."), {}};
    const bool goes_on = co_await reply(link, std::move(dead), false);
    co_return goes_on;
  }
  std::string head =
      fmt::format("{} {} HTTP/1.1\r\nX-Marathon-Via: 1.1 {}\r\nConnection: close\r\n",
                  request.method, request.target, address_);
  for (const auto& [name, value] : request.headers)
    if (name != "connection") head += fmt::format("{}: {}\r\n", name, value);
  alive = co_await to->write(head + "\r\n" + request.body);
  // Its end is the end of ours: what came back is handed on as it is.
  for (bool first = true; alive; first = false) {
    std::string piece;
    alive = co_await to->read_more(&piece);
    if (!alive) break;
    if (const auto line = piece.find("\r\n"); first && line != std::string::npos)
      piece.insert(line + 2,
                   fmt::format("X-Marathon-Via: 1.1 {}\r\nConnection: close\r\n", address_));
    alive = co_await link->write(std::move(piece));
  }
  to->close();
  co_return false;
}

asio::awaitable<bool> MarathonNode::stream(LinkPtr link, MarathonRequest request) {
  // Equality, as in Marathon: a list of types is refused.
  if (request.header("accept") != "text/event-stream") {
    MarathonReply refused{
        405, kHtml, html(405, "HTTP method GET is not supported by this URL"), {}};
    const bool goes_on = co_await reply(link, std::move(refused), false);
    co_return goes_on;
  }
  const bool opened = co_await link->write(
      fmt::format("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream;charset=utf-8\r\n"
                  "X-Marathon-Leader: {}://{}\r\nConnection: close\r\n\r\n",
                  scheme(), address_));
  if (!opened) co_return false;
  const StreamPtr stream = streams_.add(link, request, model_.version);
  asio::co_spawn(io_, watch_for_end(stream), asio::detached);
  streams_.emit("event_stream_attached", {{"remoteAddress", "10.0.0.9"}}, model_.version,
                marathon_time(model_.counter));
  while (!stream->ended) {
    if (stream->waiting.empty()) {
      (void)co_await stream->wake.wait();
      continue;
    }
    std::string bytes = std::move(stream->waiting.front());
    stream->waiting.pop_front();
    const bool split = bytes == "\r";
    const bool sent = co_await link->write(std::move(bytes));
    if (!sent) break;
    if (split) co_await sleep_for(milliseconds(2));
  }
  stream->ended = true;
  streams_.remove(stream);
  co_return false;
}

asio::awaitable<void> MarathonNode::watch_for_end(StreamPtr stream) {
  std::string ignored;
  bool alive = true;
  while (alive) alive = co_await stream->link->read_more(&ignored);
  stream->ended = true;
  stream->wake.notify();
}

namespace {

// Faults that are a complete answer.
std::optional<MarathonReply> wrong_answer(const std::string& kind, const std::string& target) {
  if (kind == "500") return MarathonReply{500, kHtml, html(500, "Internal Server Error"), {}};
  if (kind == "404") return message(404, "HTTP 404 Not Found");
  if (kind == "503") return MarathonReply{503, kHtml, html(503, "Service Unavailable"), {}};
  if (kind == "json_error_200") return message(200, "Futures timed out after [10 seconds]");
  if (kind == "json_error_502") return message(502, "Could not determine the current leader");
  if (kind == "bad_gateway")
    return MarathonReply{502, kHtml, html(502, "Connection to leader refused."), {}};
  if (kind == "unauthorized") return FakeMarathonAuth::refusal();
  if (kind == "garbage") return MarathonReply{200, "application/json", "\x01\xfe{]apps\x00:", {}};
  if (kind == "html") return MarathonReply{200, kHtml, html(200, "Welcome"), {}};
  if (kind == "empty") return MarathonReply{200, "application/json", R"({"apps":[]})", {}};
  if (kind == "empty_body") return MarathonReply{200, "application/json", "", {}};
  if (kind == "redirect_loop") return MarathonReply{302, "text/plain", "", {"Location: " + target}};
  return std::nullopt;
}

}  // namespace

asio::awaitable<bool> MarathonNode::fail(LinkPtr link, MarathonRequest request, Fault fault) {
  if (auto wrong =
          wrong_answer(fault.kind, fmt::format("{}://{}{}", scheme(), address_, request.target))) {
    const bool goes_on = co_await reply(link, *std::move(wrong), false);
    co_return goes_on;
  }
  if (is_incomplete(fault.kind)) {
    const bool goes_on = co_await reply(link, incomplete(request, fault), false);
    co_return goes_on;
  }
  if (fault.kind == "reset") {
    link->reset();
    co_return false;
  }
  if (fault.kind == "hang") {
    std::string ignored;
    bool alive = true;
    while (alive) alive = co_await link->read_more(&ignored);
    co_return false;
  }
  if (fault.kind == "redirect") {
    MarathonReply away{302, "text/plain", "", {"Location: " + fault.location}};
    const bool goes_on = co_await reply(link, std::move(away), false);
    co_return goes_on;
  }
  if (fault.kind == "slow") {
    co_await sleep_for(milliseconds(fault.ms));
    const bool goes_on = co_await handle_well(link, std::move(request));
    co_return goes_on;
  }
  const bool goes_on = co_await answer_oddly(link, std::move(request), std::move(fault));
  co_return goes_on;
}

void MarathonNode::load_if_standby() {
  if (const std::string state = zk_.load(); !leads_ && !state.empty()) model_.load(state);
}

// A valid answer that is not the whole truth.
MarathonReply MarathonNode::incomplete(const MarathonRequest& request, const Fault& fault) {
  load_if_standby();
  MarathonModel model = model_;
  if (fault.kind == "taskless")
    for (auto& [id, app] : model.apps.items()) app["tasks"] = Json::object();
  else if (fault.kind == "short" && !fault.app.empty())
    model.apps.erase(fault.app);
  else
    model.apps = Json::object();
  if (const std::string id = named_app(request.path); !id.empty())
    return message(404, fmt::format("App '{}' does not exist", id));
  return {200, "application/json", render_apps(model, apps_query(request)), {}};
}

// The right answer in a wrong way.
asio::awaitable<bool> MarathonNode::answer_oddly(LinkPtr link, MarathonRequest request,
                                                 Fault fault) {
  load_if_standby();
  MarathonReply said = answer(request, fault.kind == "big" ? fault.bytes : 0);
  if (fault.kind == "big") {
    const bool goes_on = co_await reply(link, std::move(said), zips(request));
    co_return goes_on;
  }
  if (fault.kind == "truncated_chunked")
    said.body.resize(std::max<std::size_t>(said.body.size(), 65'000), ' ');
  std::string bytes = to_bytes(said, false);
  if (fault.kind.starts_with("truncated")) {
    bytes.resize(bytes.size() - std::min<std::size_t>(bytes.size() / 3, said.body.size()));
    (void)co_await link->write(std::move(bytes));
    co_return false;
  }
  const std::size_t step = std::max<std::size_t>(bytes.size() / 20, 1);  // drip
  for (std::size_t at = 0; at < bytes.size(); at += step) {
    const bool sent = co_await link->write(bytes.substr(at, step));
    if (!sent) co_return false;
    co_await sleep_for(milliseconds(fault.ms / 20));
  }
  co_return true;
}

}  // namespace lb::test
