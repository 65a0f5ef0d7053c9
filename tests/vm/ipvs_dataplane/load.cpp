#include "vm/ipvs_dataplane/load.h"

#include <fmt/format.h>

namespace lb::test {
namespace {

// Every answer has the name of a backend and an address.
bool is_greeting(const std::string& text) {
  return text.find('.') != std::string::npos || text.find("::") != std::string::npos;
}

}  // namespace

SteadyLoad::SteadyLoad(std::string to, int held) : to_(std::move(to)) {
  for (int i = 0; i < held; ++i) held_.emplace_back(to_);
  thread_ = std::thread([this] {
    while (!stop_) {
      Held client(to_);
      if (!is_greeting(client.greeting())) fail(client.greeting());
      client.abort();
      ++made_;
    }
  });
}

void SteadyLoad::stop() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
}

std::string SteadyLoad::failures() const {
  const std::lock_guard lock(mutex_);
  return failures_;
}

void SteadyLoad::fail(const std::string& what) {
  const std::lock_guard lock(mutex_);
  failures_ += fmt::format("connect {}: {}\n", made_.load(), what);
}

void SteadyLoad::check_held() {
  for (const Held& client : held_)
    if (!client.alive()) fail("a held connection ended: " + client.greeting());
}

void SteadyLoad::drop_held() {
  for (Held& client : held_) client.abort();
  held_.clear();
}

}  // namespace lb::test
