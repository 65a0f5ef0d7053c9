#include "sources/name_cache.h"

#include <chrono>
#include <utility>

#include <fmt/format.h>
#include <boost/asio/steady_timer.hpp>

#include "base/resolver.h"

namespace lb {
namespace {

using boost::system::error_code;

// Long enough not to burden DNS with 10,000 names, short enough to follow a move.
constexpr std::chrono::seconds kRefresh{30};

// IPv4 first: every client can reach such a backend, an AF_INET socket no other.
std::optional<IpAddress> choose(const Resolver::Answer& answer) {
  if (!answer) return std::nullopt;
  std::optional<IpAddress> six;
  for (const auto& address : *answer) {
    if (address.is_v4()) return IpAddress::v4(address.to_v4().to_uint());
    if (!six) six = IpAddress::v6(address.to_v6().to_bytes());
  }
  return six;
}

}  // namespace

struct NameCache::State : std::enable_shared_from_this<State> {
  State(asio::io_context& io, std::function<void()> change)
      : resolver(asio::use_service<Resolver>(io)), timer(io), on_change(std::move(change)) {}

  // One question for each name at a time: DNS may be silent for longer than a refresh.
  void ask(const std::string& name) {
    auto& question = questions[name];
    if (question) return;
    question = resolver.ask(name, [weak = weak_from_this(), name](const Resolver::Answer& answer) {
      if (const auto state = weak.lock()) state->answered(name, answer);
    });
  }

  void answered(const std::string& name, const Resolver::Answer& answer) {
    questions.erase(name);
    const auto it = answers.find(name);
    if (it == answers.end() || !on_change) return;  // nobody wants it any more
    Answer next = it->second;
    next.pending = false;
    next.error.clear();
    if (const auto ip = choose(answer))
      next.ip = ip;
    else
      next.error = fmt::format("host name '{}' has no address: {}", name,
                               answer ? std::string("empty answer") : answer.error().message());
    const bool changed = next.ip != it->second.ip || next.error != it->second.error ||
                         next.pending != it->second.pending;
    it->second = std::move(next);
    if (changed) on_change();
  }

  void arm() {
    timer.expires_after(kRefresh);
    timer.async_wait([weak = weak_from_this()](const error_code& ec) {
      const auto state = weak.lock();
      if (ec || !state || !state->on_change) return;
      for (const auto& [name, answer] : state->answers) state->ask(name);
      state->arm();
    });
  }

  Resolver& resolver;
  std::map<std::string, std::shared_ptr<Resolver::Question>> questions;  // without an answer yet
  asio::steady_timer timer;
  std::function<void()> on_change;  // empty: the cache is gone
  std::map<std::string, Answer> answers;
  std::map<std::string, IpAddress> seeds;
  bool armed = false;
};

NameCache::NameCache(asio::io_context& io, std::function<void()> on_change)
    : state_(std::make_shared<State>(io, std::move(on_change))) {}

NameCache::~NameCache() {
  state_->on_change = nullptr;
  state_->timer.cancel();
  state_->questions.clear();
}

void NameCache::seed(const std::string& name, IpAddress ip) { state_->seeds.emplace(name, ip); }

void NameCache::want(const std::set<std::string>& names) {
  const auto unwanted = [&](const auto& entry) { return !names.contains(entry.first); };
  std::erase_if(state_->answers, unwanted);
  std::erase_if(state_->questions, unwanted);
  for (const std::string& name : names) {
    const auto [it, fresh] = state_->answers.try_emplace(name);
    if (!fresh) continue;
    if (const auto seed = state_->seeds.find(name); seed != state_->seeds.end())
      it->second.ip = seed->second;
    state_->ask(name);
  }
  if (!names.empty() && !std::exchange(state_->armed, true)) state_->arm();
}

NameCache::Answer NameCache::find(const std::string& name) const {
  const auto it = state_->answers.find(name);
  return it == state_->answers.end() ? Answer{} : it->second;
}

bool NameCache::any_pending() const {
  for (const auto& [name, answer] : state_->answers)
    if (answer.pending) return true;
  return false;
}

}  // namespace lb
