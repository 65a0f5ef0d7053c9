#include "netns/marathon/fixture.h"

#include <fstream>

#include <fmt/format.h>

#include "base/spawn.h"

namespace lb::test {

using std::chrono::steady_clock;
using namespace std::chrono_literals;

MarathonTest::MarathonTest() : zk_(folder_.path() + "/zk") { config_.interval = 60s; }

FakeMarathon& MarathonTest::add_node(FakeMarathonOptions options) {
  options.zk = zk_;
  options.node = static_cast<unsigned>(nodes_.size() + 1);
  nodes_.push_back(std::make_unique<FakeMarathon>(std::move(options)));
  return *nodes_.back();
}

void MarathonTest::start(std::optional<Snapshot> saved) {
  stop();
  if (config_.access.endpoints.empty())
    for (const auto& node : nodes_) config_.access.endpoints.push_back(node->url());
  guard_ = Guard(guard_options_);
  if (saved) guard_.restore(*saved);
  source_ = std::make_unique<MarathonSource>(io_, config_, std::move(saved), Clocks{});
  cancel_ = std::make_unique<asio::cancellation_signal>();
  spawn(io_, "test", *cancel_, [this] { return follow(); });
}

void MarathonTest::stop() {
  if (!source_) return;
  cancel_->emit(asio::cancellation_type::terminal);
  io_.restart();
  io_.poll();
  source_.reset();
  io_.restart();
  io_.poll();
}

asio::awaitable<void> MarathonTest::follow() {
  for (;;) {
    auto snapshot = co_await source_->next();
    if (snapshot)
      admit(*snapshot);
    else if (snapshot.error().code.value() == ECANCELED)
      co_return;
    else
      errors_.push_back(snapshot.error().message());
  }
}

void MarathonTest::admit(const Snapshot& snapshot) {
  ++snapshots_;
  last_ = snapshot;
  (void)guard_.admit(snapshot, steady_clock::now());
  follow_guard();
}

void MarathonTest::follow_guard() {
  lowest_ = std::min(lowest_.value_or(active()), active());
  source_->admitted(*guard_.accepted());
  for (const ServicePtr& service : guard_.accepted()->services) {
    for (const Backend& b : service->backends)
      if (b.origin != service->origin) mixed_ = true;
    auto& history = origins_[service->key.port];
    if (history.empty() || history.back() != service->origin) history.push_back(service->origin);
  }
}

bool MarathonTest::until(const std::function<bool()>& done, std::chrono::milliseconds patience) {
  const auto end = steady_clock::now() + patience;
  io_.restart();
  while (!done()) {
    const auto now = steady_clock::now();
    if (now >= end) return false;
    io_.run_one_until(std::min(end, now + 20ms));
    // As the daemon does at the guard's deadline.
    const auto deadline = guard_.next_deadline();
    if (deadline && *deadline <= steady_clock::now() && source_->status().connected) {
      (void)guard_.recheck(steady_clock::now());
      follow_guard();
    }
  }
  return true;
}

MarathonTest::Lines MarathonTest::used() const {
  Lines out;
  if (guard_.accepted() == nullptr) return out;
  for (const ServicePtr& service : guard_.accepted()->services)
    for (const Backend& b : service->backends)
      out.push_back(fmt::format("{} {}", b.address.to_string(), to_string(b.state)));
  return out;
}

std::size_t MarathonTest::active() const {
  std::size_t out = 0;
  for (const std::string& line : used()) out += line.ends_with(" active") ? 1 : 0;
  return out;
}

std::string MarathonTest::write(const std::string& name, const std::string& text) {
  const std::string path = folder_.path() + "/" + name;
  std::ofstream(path) << text;
  return path;
}

}  // namespace lb::test
