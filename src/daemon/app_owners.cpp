// Looks at who holds the ports of backends with a uid, beside the loop, while there are any.
#include <cerrno>
#include <chrono>
#include <functional>
#include <utility>
#include <vector>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/beside.h"
#include "base/spawn.h"
#include "daemon/app.h"

namespace lb {
namespace {

constexpr std::chrono::seconds kPasswdAnswers{5};

using Listeners = Result<std::vector<Listener>>;
using ReadListeners = std::function<Listeners()>;

// The kernel's error is a value, so that another error is that of beside().
struct Look {
  Listeners found;
};

asio::awaitable<Listeners> read_beside(ReadListeners read) {
  const std::function<Result<Look>()> job = [read] { return Look{read()}; };
  auto look = co_await beside(job, Owners::kLimit);
  if (look) co_return std::move(look->found);
  if (look.error().code == std::errc::timed_out) co_return fail(ETIMEDOUT, "look for listeners");
  co_return read();  // disks that hang have all threads, and this takes milliseconds
}

}  // namespace

void App::look_at_owners_if_wanted() {
  if (looking_at_owners_ || !engine_->owners().any()) return;
  looking_at_owners_ = true;
  spawn(io_, "owners of ports", [this] { return owner_loop(); });
}

asio::awaitable<void> App::owner_loop() {
  asio::steady_timer timer(io_);
  while (engine_->owners().any()) {
    timer.expires_after(Owners::kInterval);
    const SteadyTime began = parts_.clocks.steady();
    const Listeners found = co_await read_beside(parts_.read_listeners);
    if (stopping_) co_return;
    if (engine_->set_listeners(found, began)) wake_.notify();
    if (auto users = engine_->owners().unnamed(); !users.empty() && !naming_owners_) {
      naming_owners_ = true;
      spawn(io_, "names of owners",
            [this, users = std::move(users)] { return name_owners(users); });
    }
    const auto [error] = co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
    if (error) co_return;
  }
  looking_at_owners_ = false;
}

// For people: a look does not wait for it.
asio::awaitable<void> App::name_owners(std::set<Uid> users) {
  const std::function<Result<Owners::Names>()> find = [users] {
    Owners::Names names;
    for (const Uid uid : users) names.emplace(uid, find_user_name(uid));
    return Result<Owners::Names>(std::move(names));
  };
  auto found = co_await beside(find, kPasswdAnswers);
  if (stopping_) co_return;
  naming_owners_ = false;
  // A disk that hangs is not asked again and again: the numbers say enough.
  Owners::Names names = found ? *std::move(found) : Owners::Names{};
  for (const Uid uid : users) names.try_emplace(uid);
  if (engine_->set_owner_names(std::move(names))) wake_.notify();
}

}  // namespace lb
