#include "base/upkeep.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

namespace lb {

void Upkeep::add(std::string what, std::chrono::milliseconds pace, Look look) {
  items_.push_back({.what = std::move(what), .pace = pace, .look = std::move(look)});
}

void Upkeep::run(Time now) {
  for (Item& item : items_)
    if (item.next <= now) look_at(item, now);
}

void Upkeep::soon() {
  for (Item& item : items_) item.next = {};
}

void Upkeep::look_at(Item& item, Time now) {
  const auto done = item.look();
  if (!done) {
    // Said when it begins and when it changes, not at each attempt.
    const std::string error = done.error().message();
    if (error != item.error) spdlog::error("{} {}: {}", owner_, item.what, error);
    item.error = error;
    const auto longest = item.pace > item.pace.zero() ? std::min(item.pace, kLongest) : kLongest;
    item.next = now + std::min(item.backoff.next(0), longest);
    return;
  }
  item.repairs += *done;
  item.next = now + item.pace;
  if (*done > 0) spdlog::warn("{} {}: changed from outside, put back", owner_, item.what);
  if (!item.error.empty()) spdlog::info("{} {}: right again", owner_, item.what);
  item.error.clear();
  item.backoff.reset();
}

std::vector<std::string> Upkeep::problems() const {
  std::vector<std::string> out;
  for (const Item& item : items_)
    if (!item.error.empty()) out.push_back(fmt::format("{}: {}", item.what, item.error));
  return out;
}

std::vector<std::string> Upkeep::repairs() const {
  std::vector<std::string> out;
  for (const Item& item : items_)
    if (item.repairs > 0)
      out.push_back(
          fmt::format("{}: changed from outside and put back {} times", item.what, item.repairs));
  return out;
}

}  // namespace lb
