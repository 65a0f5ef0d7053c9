#include "sources/name_cache.h"

#include <chrono>
#include <utility>

#include <fmt/format.h>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>

namespace lb {
namespace {

using asio::ip::tcp;
using boost::system::error_code;

// Long enough not to burden DNS with 10,000 names, short enough to follow a move.
constexpr std::chrono::seconds kRefresh{30};

// IPv4 first: every client can reach such a backend, an AF_INET socket no other.
std::optional<IpAddress> choose(const tcp::resolver::results_type& results) {
  std::optional<IpAddress> six;
  for (const auto& entry : results) {
    const auto address = entry.endpoint().address();
    if (address.is_v4()) return IpAddress::v4(address.to_v4().to_uint());
    if (!six) six = IpAddress::v6(address.to_v6().to_bytes());
  }
  return six;
}

}  // namespace

struct NameCache::State : std::enable_shared_from_this<State> {
  State(asio::io_context& io, std::function<void()> change)
      : resolver(io), timer(io), on_change(std::move(change)) {}

  void ask(const std::string& name) {
    resolver.async_resolve(
        name, "", [weak = weak_from_this(), name](const error_code& ec, const auto& results) {
          if (const auto state = weak.lock()) state->answered(name, ec, results);
        });
  }

  void answered(const std::string& name, const error_code& ec,
                const tcp::resolver::results_type& results) {
    const auto it = answers.find(name);
    if (it == answers.end() || !on_change) return;  // nobody wants it any more
    Answer next = it->second;
    next.pending = false;
    next.error.clear();
    const auto ip = ec ? std::nullopt : choose(results);
    if (ip)
      next.ip = ip;
    else
      next.error = fmt::format("host name '{}' has no address: {}", name,
                               ec ? ec.message() : std::string("empty answer"));
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

  tcp::resolver resolver;
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
  state_->resolver.cancel();
}

void NameCache::seed(const std::string& name, IpAddress ip) { state_->seeds.emplace(name, ip); }

void NameCache::want(const std::set<std::string>& names) {
  std::erase_if(state_->answers, [&](const auto& entry) { return !names.contains(entry.first); });
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
