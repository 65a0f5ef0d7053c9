// The life of a registration: ready, registered and refreshed, disabled, drained, stopped, gone. A
// state machine without I/O or clock: what has happened comes in with its time, and step() says what
// shall happen now. What it wants it wants until it has happened, so the shell may be late or fail.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "tools/lbctl/registrar.h"

namespace lb::lbctl {

struct SessionConfig {
  std::string name, address, prefix;
  bool has_command = false;
  bool wait_ready = false;
  bool check = false;
  bool keep = false;
  std::chrono::milliseconds interval{10'000};
  std::chrono::milliseconds ready_timeout{60'000};
  std::chrono::milliseconds drain_timeout{60'000};
};

// What is left of a backend that takes no new connections.
struct Left {
  std::uint64_t connections = 0;
  bool settled = true;  // everybody who steers connections knows that it is disabled
  std::string unknown;  // why the connections cannot be counted; "": they can
};

struct Notice {
  std::string event;  // "registered": for programs
  std::string words;  // for people
  nlohmann::ordered_json fields = nlohmann::ordered_json::object();
};

class Session {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  Session(SessionConfig config, TimePoint now);

  void signalled(const std::string& signal, TimePoint now);
  void command_ended(int code, TimePoint now);  // 128 + signal when killed
  void probed(const Result<>& accepts, TimePoint now);
  void wrote(const WriteReport& report, TimePoint now);
  // Asked again no sooner than `pause` from now.
  void counted(const Result<Left>& left, std::chrono::milliseconds pause, TimePoint now);

  struct Wants {
    std::optional<Goal> write;
    bool probe = false;
    bool count = false;
    bool stop_command = false;
    std::optional<int> exit;  // the end, and nothing else is wanted
    TimePoint wake = TimePoint::max();
  };
  [[nodiscard]] Wants step(TimePoint now);
  [[nodiscard]] std::vector<Notice> take_notices() { return std::exchange(notices_, {}); }

 private:
  enum class Phase : std::uint8_t {
    Starting,   // until something accepts
    Serving,    // registered, or trying to
    Disabling,  // until etcd knows
    Draining,   // until nothing is left
    Stopping,   // until COMMAND has ended
    Leaving,    // until the keys are gone
    Done,
  };

  void advance(TimePoint now);
  void want_serving(Wants& out, TimePoint now);
  void drain_timed_out();
  void leave(TimePoint now);
  void seen(const WriteReport& report, TimePoint now);
  void etcd_failed(const WriteReport& report, TimePoint now);
  void progress(const Left& left, TimePoint now);
  void say(std::string event, std::string words,
           nlohmann::ordered_json fields = nlohmann::ordered_json::object());

  SessionConfig config_;
  Phase phase_;
  TimePoint deadline_ =
      TimePoint::max();  // of the phases Starting, Disabling and Draining, Leaving
  bool running_;         // COMMAND
  int code_ = 0;         // its exit code
  bool failed_ = false;
  bool stop_wanted_ = false;

  TimePoint next_probe_, next_write_;
  bool probe_ok_ = false;    // for the write that is due
  bool accepting_ = true;    // by the last probe
  bool beat_twice_ = false;  // see seen()
  bool attempted_ = false;   // something may be in etcd
  bool registered_ = false;
  std::string other_address_;
  std::optional<int> etcd_error_;  // errno of the last one spoken of, until etcd answers again

  TimePoint disabled_at_, next_count_, said_at_;
  std::optional<TimePoint> zero_since_;
  std::string said_;
  std::optional<std::uint64_t> left_;

  std::vector<Notice> notices_;
};

}  // namespace lb::lbctl
