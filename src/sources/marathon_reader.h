// Reads all of Marathon's apps when it is time to, from whichever endpoint works.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include "base/event.h"
#include "base/worker.h"
#include "marathon/app.h"
#include "marathon/client.h"
#include "marathon/endpoints.h"
#include "marathon/plan.h"
#include "sources/clocks.h"

namespace lb {

class MarathonReader {
 public:
  struct Hooks {
    // A good answer, or one that is refused after all.
    std::function<Result<>(std::vector<marathon::App>)> take;
    // Apps that it lacks, to be asked for by name, and what came of that: there is none, or this.
    std::function<std::vector<std::string>()> doubtful;
    std::function<void(const std::string& id, std::optional<marathon::App>)> named;
    std::function<void()> ended;  // a reading, well or badly
  };

  MarathonReader(asio::io_context& io, marathon::Client& client, const Clocks& clocks,
                 std::string label, std::chrono::milliseconds interval, Hooks hooks);

  asio::awaitable<void> run();  // until cancelled

  // The first reading waits for this, a moment at most: the event stream is to be open before it.
  void start();
  void hint();     // an event told of a change
  void at_once();  // another one even if one is under way
  void doubt();    // the reading lacks what nobody spoke of: repeat it, elsewhere
  void trust();

  [[nodiscard]] bool reads() const { return good_; }  // the last reading was one
  [[nodiscard]] bool all_fail() const { return endpoints_.all_fail(); }
  [[nodiscard]] const std::string& error() const { return error_; }  // of the last reading, or ""
  // What keeps which endpoint from being read, without what changes each time.
  [[nodiscard]] const std::map<std::string, std::string>& failures() const { return failures_; }
  [[nodiscard]] const std::string& endpoint() const { return endpoint_; }  // of the last good one
  // Who leads, as that one said; "" where versions do not say.
  [[nodiscard]] const std::string& leader() const { return leader_; }
  [[nodiscard]] std::optional<SysTime> read_at() const { return read_at_; }
  // When the last good one began.
  [[nodiscard]] std::optional<std::chrono::steady_clock::time_point> began_at() const {
    return began_at_;
  }

 private:
  asio::awaitable<void> read(std::size_t index);
  asio::awaitable<void> ask_by_name(std::size_t index);
  asio::awaitable<Result<std::vector<marathon::App>>> ask(std::string endpoint,
                                                          std::chrono::milliseconds patience);
  asio::awaitable<Result<std::vector<marathon::App>>> parse(std::string body);
  double random() { return std::uniform_real_distribution<double>(0.0, 1.0)(random_); }

  marathon::Client& client_;
  const Clocks& clocks_;
  std::string label_;
  Hooks hooks_;
  marathon::ReadPlan plan_;
  marathon::Endpoints endpoints_;
  Worker worker_;
  Event wake_;
  std::minstd_rand random_;
  bool started_ = false;
  std::optional<std::size_t> last_;  // asked
  bool good_ = false;
  std::string error_, endpoint_, leader_;
  std::map<std::string, std::string> failures_;
  std::optional<SysTime> read_at_;
  std::optional<std::chrono::steady_clock::time_point> began_at_;
};

}  // namespace lb
