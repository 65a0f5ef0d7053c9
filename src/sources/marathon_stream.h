// Keeps one event stream of Marathon open, at whatever endpoint has one, and says what comes. Losing it
// loses nothing: who listens reads everything once it is open again.
#pragma once

#include <chrono>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>

#include "marathon/client.h"
#include "marathon/endpoints.h"
#include "sources/clocks.h"

namespace lb {

class MarathonStream {
 public:
  struct Hooks {
    std::function<void()> opened;
    std::function<void(bool was_open)> closed;
    std::function<void(std::vector<marathon::SseEvent>)> events;
  };

  // Marathon sends a heartbeat every 10 s, whatever else it sends: so long a silence is death.
  static constexpr std::chrono::milliseconds kSilence{30'000};

  MarathonStream(marathon::Client& client, const Clocks& clocks, Hooks hooks,
                 std::chrono::milliseconds silence = kSilence);

  asio::awaitable<void> run();  // until cancelled

  [[nodiscard]] bool is_open() const { return open_; }
  // Why there is none; "" while it is open.
  [[nodiscard]] const std::string& error() const { return error_; }

 private:
  asio::awaitable<Result<>> follow(std::size_t index);
  // How long to wait before the next attempt.
  std::chrono::steady_clock::duration after(const Error& error, std::size_t index,
                                            std::chrono::steady_clock::duration lived);
  double random() { return std::uniform_real_distribution<double>(0.0, 1.0)(random_); }

  marathon::Client& client_;
  const Clocks& clocks_;
  Hooks hooks_;
  std::chrono::milliseconds silence_;
  marathon::Endpoints endpoints_;
  std::minstd_rand random_;
  bool open_ = false;
  std::string error_;
};

}  // namespace lb
