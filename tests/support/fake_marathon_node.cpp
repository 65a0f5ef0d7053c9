#include "support/fake_marathon_node.h"

#include <unistd.h>

#include <set>
#include <stdexcept>

#include <fmt/format.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

namespace lb::test {
namespace {

using asio::ip::tcp;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
constexpr auto kTuple = asio::as_tuple(asio::use_awaitable);
const std::set<std::string> kFaults{
    "none",      "slow",           "drip",           "500",         "503",
    "reset",     "json_error_200", "json_error_502", "bad_gateway", "unauthorized",
    "truncated", "hang",           "garbage",        "html",        "truncated_chunked",
    "empty",     "empty_body",     "redirect_loop",  "redirect",    "big",
    "404",       "short",          "taskless",       "wiped"};
constexpr auto kTurn = milliseconds(20);  // how soon a free lock is noticed

tcp::endpoint parse_endpoint(const std::string& text) {
  const auto colon = text.rfind(':');
  if (colon == std::string::npos) throw std::runtime_error("not HOST:PORT: " + text);
  return {asio::ip::make_address(text.substr(0, colon)),
          static_cast<unsigned short>(std::stoi(text.substr(colon + 1)))};
}

void prepare_tls(const FakeMarathonOptions& options, asio::ssl::context& tls) {
  if (options.cert.empty()) return;
  tls.use_certificate_chain_file(options.cert);
  tls.use_private_key_file(options.key, asio::ssl::context::pem);
  if (options.client_ca.empty()) return;
  tls.load_verify_file(options.client_ca);
  tls.set_verify_mode(asio::ssl::verify_peer | asio::ssl::verify_fail_if_no_peer_cert);
}

}  // namespace

MarathonNode::MarathonNode(FakeMarathonOptions options)
    : options_(std::move(options)), zk_(options_.zk, options_.node) {
  model_.version = MarathonVersion::parse(options_.version);
  model_.task_killing = options_.task_killing;
  prepare_tls(options_, tls_);
  // A proxying node shows its own certificate to the leader, and does not look at the leader's.
  prepare_tls(options_, tls_client_);
  tls_client_.set_verify_mode(asio::ssl::verify_none);
  const tcp::endpoint here = parse_endpoint(options_.listen);
  acceptor_.open(here.protocol());
  acceptor_.set_option(tcp::acceptor::reuse_address(true));
  acceptor_.bind(here);
  acceptor_.listen();
  address_ = options_.advertise.empty() ? fmt::format("{}:{}", here.address().to_string(),
                                                      acceptor_.local_endpoint().port())
                                        : options_.advertise;
  ::unlink(options_.control.c_str());
  control_.open();
  control_.bind(Local::endpoint(options_.control));
  control_.listen();
  take_turn();  // the first node of a cluster leads at once
  asio::co_spawn(io_, turns(), asio::detached);
  asio::co_spawn(io_, heartbeats(), asio::detached);
  asio::co_spawn(io_, accept(), asio::detached);
  asio::co_spawn(io_, accept_control(), asio::detached);
}

MarathonNode::~MarathonNode() {
  if (leads_) stop_leading();
  ::unlink(options_.control.c_str());
}

void MarathonNode::take_turn() {
  const auto now = steady_clock::now();
  if (leads_from_ && zk_.unwanted()) return stop_leading();
  if (!leads_from_ && zk_.campaign())
    leads_from_ = zk_.load().empty() ? now : now + options_.election;
  if (leads_from_ && !leads_ && now >= *leads_from_) begin_to_lead();
}

void MarathonNode::begin_to_lead() {
  if (const std::string state = zk_.load(); !state.empty())
    model_.load(state);
  else
    zk_.save(model_.save());
  rendered_.clear();
  leads_ = true;
  zk_.lead(address_, options_.control);
}

void MarathonNode::stop_leading() {
  leads_ = false;
  leads_from_.reset();
  streams_.command("close");
  zk_.abdicate();
}

asio::awaitable<void> MarathonNode::turns() {
  asio::steady_timer timer(io_);
  for (;;) {
    timer.expires_after(kTurn);
    co_await timer.async_wait(asio::use_awaitable);
    take_turn();
  }
}

asio::awaitable<void> MarathonNode::heartbeats() {
  asio::steady_timer timer(io_);
  for (;;) {
    timer.expires_after(options_.heartbeat);
    co_await timer.async_wait(asio::use_awaitable);
    streams_.heartbeat();
  }
}

asio::awaitable<void> MarathonNode::accept_control() {
  for (;;) {
    auto socket = std::make_shared<Local::socket>(io_);
    const auto [ec] = co_await control_.async_accept(*socket, kTuple);
    if (ec) co_return;
    asio::co_spawn(io_, serve_control(socket), asio::detached);
  }
}

asio::awaitable<void> MarathonNode::serve_control(std::shared_ptr<Local::socket> socket) {
  std::string buffer;
  for (;;) {
    const auto [ec, size] =
        co_await asio::async_read_until(*socket, asio::dynamic_buffer(buffer), '\n', kTuple);
    if (ec) co_return;
    std::string line = buffer.substr(0, size);
    buffer.erase(0, size);
    const std::string said = co_await command(std::move(line));
    const auto [gone, n] = co_await asio::async_write(*socket, asio::buffer(said), kTuple);
    if (gone) co_return;
  }
}

asio::awaitable<std::string> MarathonNode::command(std::string line) {
  Json out;
  try {
    const Json command = Json::parse(line);
    const std::string what = command.at("do");
    if (!MarathonModel::knows(what))
      out = run_here(command, what);
    else if (leads_)
      out = run_model(command);
    else
      out["to_leader"] = true;
    if (!out.is_object()) out = Json::object();
    out["ok"] = true;
  } catch (const std::exception& e) {
    out = Json{{"ok", false}, {"error", e.what()}};
  }
  if (!out.contains("to_leader")) co_return out.dump() + "\n";
  std::string answer = co_await hand_to_leader(std::move(line));
  co_return answer;
}

asio::awaitable<std::string> MarathonNode::hand_to_leader(std::string line) {
  const auto leader = zk_.leader();
  if (!leader) co_return Json{{"ok", false}, {"error", "there is no leader"}}.dump() + "\n";
  Local::socket socket(io_);
  const Local::endpoint there(leader->control);
  const auto [refused] = co_await socket.async_connect(there, kTuple);
  if (refused) co_return Json{{"ok", false}, {"error", "the leader is dead"}}.dump() + "\n";
  if (!line.ends_with('\n')) line += '\n';
  (void)co_await asio::async_write(socket, asio::buffer(line), kTuple);
  std::string answer;
  (void)co_await asio::async_read_until(socket, asio::dynamic_buffer(answer), '\n', kTuple);
  co_return answer;
}

Json MarathonNode::run_model(const Json& command) {
  const auto emit = [this](const std::string& type, Json data) {
    streams_.emit(type, std::move(data), model_.version, marathon_time(model_.counter));
  };
  rendered_.clear();
  Json out =
      model_.run(command, emit, [this](int ms, Json then) { run_later(ms, std::move(then)); });
  // The writes of the streams first: they are what is measured.
  asio::post(io_, [this] {
    if (leads_) zk_.save(model_.save());
  });
  return out;
}

void MarathonNode::run_later(int ms, Json command) {
  asio::co_spawn(
      io_,
      [this, ms, command = std::move(command)]() -> asio::awaitable<void> {
        asio::steady_timer timer(io_, milliseconds(ms));
        co_await timer.async_wait(asio::use_awaitable);
        // Somebody may have ended the task meanwhile, or this node may lead no more.
        (void)co_await this->command(command.dump());
      },
      asio::detached);
}

void MarathonNode::set_fault(const Json& command) {
  Fault fault;
  fault.kind = command.at("kind");
  if (!kFaults.contains(fault.kind)) throw std::runtime_error("unknown fault " + fault.kind);
  fault.path = command.value("path", "/v2/apps");
  fault.times = command.value("times", -1);
  fault.ms = command.value("ms", fault.ms);
  fault.bytes = command.value("bytes", fault.bytes);
  fault.location = command.value("location", "");
  fault.app = command.value("app", "");
  std::erase_if(faults_, [&](const Fault& one) { return one.path == fault.path; });
  if (fault.kind != "none") faults_.push_back(std::move(fault));
}

Json MarathonNode::run_here(const Json& command, const std::string& what) {
  if (what == "fault") {
    set_fault(command);
  } else if (what == "streams") {
    streams_.command(command.at("how"));
  } else if (what == "elect") {
    zk_.elect(command.at("node"), std::chrono::seconds(10));
  } else if (what == "resign") {
    zk_.elect(0, milliseconds(command.value("ms", 1000)));
  } else if (what == "revoke") {
    auth_.revoke();
  } else if (what == "version") {
    model_.version = MarathonVersion::parse(command.at("version"));
    rendered_.clear();
  } else if (what == "leader") {
    const auto leader = zk_.leader();
    if (!leader) return {{"leader", nullptr}};
    return {{"leader", leader->address}, {"node", leader->node}};
  } else if (what == "requests") {
    return describe();
  } else {
    throw std::runtime_error("unknown command " + what);
  }
  return Json::object();
}

Json MarathonNode::describe() const {
  Json out{{"counts", counts_},
           {"streams", streams_.size()},
           {"refusals", refusals_},
           {"requests", Json::array()}};
  for (const MarathonRequest& one : requests_)
    out["requests"].push_back(
        {{"method", one.method}, {"target", one.target}, {"headers", one.headers}});
  return out;
}

}  // namespace lb::test
