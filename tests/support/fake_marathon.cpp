#include "support/fake_marathon.h"

#include <stdlib.h>

#include <filesystem>
#include <future>
#include <stdexcept>
#include <thread>

#include <fmt/format.h>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>

#include "support/fake_marathon_node.h"

namespace lb::test {
namespace {

using std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr auto kPatience = 10s;

Json check(const std::string& answer) {
  Json out = Json::parse(answer);
  if (!out.value("ok", false))
    throw std::runtime_error("fake Marathon: " + out.value("error", answer));
  return out;
}

Json nullable(std::optional<bool> value) { return value ? Json(*value) : Json(nullptr); }

std::string make_folder() {
  std::string name = "/tmp/lbd-marathon-XXXXXX";
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp " + name);
  return name;
}

}  // namespace

void FakeMarathonControl::add_app(const FakeApp& app, bool silent) {
  Json ports = Json::array();
  for (const FakePort& port : app.ports)
    ports.push_back({{"port", port.port},
                     {"protocol", port.protocol},
                     {"container_port", port.container_port},
                     {"host_port", port.host_port}});
  check(call(Json{
      {"do", "app"},
      {"id", app.id},
      {"ports", std::move(ports)},
      {"network", app.network},
      {"labels", app.labels},
      {"health_checks", app.health_checks},
      {"readiness", app.readiness},
      {"require_ports", app.require_ports},
      {"silent",
       silent}}.dump()));
}

void FakeMarathonControl::remove_app(const std::string& id, bool silent) {
  check(call(Json{{"do", "remove_app"}, {"id", id}, {"silent", silent}}.dump()));
}

std::string FakeMarathonControl::launch(const std::string& app, const std::string& host,
                                        std::vector<int> ports, std::optional<bool> alive,
                                        bool silent) {
  const Json command{
      {"do", "launch"},           {"app", app},      {"host", host}, {"ports", ports},
      {"alive", nullable(alive)}, {"silent", silent}};
  return check(call(command.dump())).at("task");
}

void FakeMarathonControl::kill(const std::string& task, std::chrono::milliseconds killing,
                               bool silent) {
  check(call(
      Json{{"do", "kill"}, {"task", task}, {"ms", killing.count()}, {"silent", silent}}.dump()));
}

void FakeMarathonControl::set_state(const std::string& task, const std::string& state,
                                    bool silent) {
  check(call(Json{{"do", "state"}, {"task", task}, {"state", state}, {"silent", silent}}.dump()));
}

void FakeMarathonControl::set_health(const std::string& task, std::optional<bool> alive,
                                     bool silent) {
  const Json command{
      {"do", "health"}, {"task", task}, {"alive", nullable(alive)}, {"silent", silent}};
  check(call(command.dump()));
}

void FakeMarathonControl::fault(const std::string& kind, int times, const std::string& path) {
  check(call(Json{{"do", "fault"}, {"kind", kind}, {"times", times}, {"path", path}}.dump()));
}

void FakeMarathonControl::streams(const std::string& how) {
  check(call(Json{{"do", "streams"}, {"how", how}}.dump()));
}

void FakeMarathonControl::elect(unsigned node) {
  check(call(Json{{"do", "elect"}, {"node", node}}.dump()));
  const auto end = steady_clock::now() + kPatience;
  while (check(call(R"({"do":"leader"})")).value("node", 0U) != node) {
    if (steady_clock::now() > end)
      throw std::runtime_error(fmt::format("node {} does not take the lead", node));
    std::this_thread::sleep_for(5ms);
  }
}

void FakeMarathonControl::resign(std::chrono::milliseconds nobody) {
  check(call(Json{{"do", "resign"}, {"ms", nobody.count()}}.dump()));
}

void FakeMarathonControl::wait_for_leader() {
  const auto end = steady_clock::now() + kPatience;
  while (check(call(R"({"do":"leader"})")).at("leader").is_null()) {
    if (steady_clock::now() > end) throw std::runtime_error("no node takes the lead");
    std::this_thread::sleep_for(5ms);
  }
}

int FakeMarathonControl::count(const std::string& path) {
  return check(call(R"({"do":"requests"})")).at("counts").value(path, 0);
}

int FakeMarathonControl::open_streams() {
  return check(call(R"({"do":"requests"})")).at("streams").get<int>();
}

int FakeMarathonControl::refusals() {
  return check(call(R"({"do":"requests"})")).at("refusals").get<int>();
}

std::string FakeMarathonSocket::call(const std::string& command) {
  using Local = boost::asio::local::stream_protocol;
  const auto end = steady_clock::now() + kPatience;
  boost::asio::io_context io;
  Local::socket socket(io);
  boost::system::error_code ec = boost::asio::error::not_found;
  while (ec) {
    socket.connect(Local::endpoint(path_), ec);
    if (ec && steady_clock::now() > end)
      throw std::runtime_error(fmt::format("connect to {}: {}", path_, ec.message()));
    if (!ec) break;
    socket.close();
    std::this_thread::sleep_for(5ms);
  }
  boost::asio::write(socket, boost::asio::buffer(command + "\n"), ec);
  std::string answer;
  boost::asio::read_until(socket, boost::asio::dynamic_buffer(answer), '\n', ec);
  if (ec) throw std::runtime_error(fmt::format("no answer on {}: {}", path_, ec.message()));
  return answer;
}

// Its control socket is in the folder of its cluster, as for processes.
class FakeMarathon::Impl {
 public:
  explicit Impl(FakeMarathonOptions options)
      : own_folder_(options.zk.empty() ? make_folder() : ""), node_(complete(std::move(options))) {
    thread_ = std::thread([this] { node_.run(); });
  }
  ~Impl() {
    node_.stop();
    thread_.join();
    std::error_code ignored;
    if (!own_folder_.empty()) std::filesystem::remove_all(own_folder_, ignored);
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  MarathonNode& node() { return node_; }

 private:
  FakeMarathonOptions complete(FakeMarathonOptions options) const {
    if (options.zk.empty()) options.zk = own_folder_;
    std::filesystem::create_directories(options.zk);
    if (options.control.empty())
      options.control = fmt::format("{}/node{}.sock", options.zk, options.node);
    return options;
  }
  std::string own_folder_;
  MarathonNode node_;
  std::thread thread_;
};

FakeMarathon::FakeMarathon(FakeMarathonOptions options)
    : impl_(std::make_unique<Impl>(std::move(options))) {}

FakeMarathon::~FakeMarathon() = default;

std::string FakeMarathon::url() const {
  return fmt::format("{}://{}", impl_->node().scheme(), impl_->node().address());
}

std::string FakeMarathon::call(const std::string& command) {
  return FakeMarathonSocket(impl_->node().control()).call(command);
}

}  // namespace lb::test
