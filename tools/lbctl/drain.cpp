#include "tools/lbctl/drain.h"

#include <optional>

#include <fmt/format.h>

#include "tools/lbctl/progress.h"
#include "tools/lbctl/show.h"
#include "tools/lbctl/table.h"

namespace lb::lbctl {
namespace {

using std::chrono::milliseconds;
using TimePoint = std::chrono::steady_clock::time_point;

constexpr auto kDrainPoll = milliseconds(250);
// lbd needs about a second to destroy what is left and to see the counts go down.
constexpr auto kTerminateGrace = std::chrono::seconds(5);
// A restart of lbd in the middle of a drain takes less; the drain survives it.
constexpr auto kRestartPatience = std::chrono::seconds(15);

std::uint64_t connections(const Json& json) { return json.at("connections").get<std::uint64_t>(); }

std::string drain_path(const Options& options) {
  std::string out = "/v1/drains?target=" + percent_encode(options.subject);
  if (!options.service.empty()) out += "&service=" + percent_encode(options.service);
  return out;
}

void show_backends(Env& env, const Json& json) {
  Table table({{"SERVICE"},
               {"LISTEN"},
               {"BACKEND"},
               {"HOST"},
               {"STATE", Table::Align::Left, true},
               {"REASON"},
               {"CONNECTIONS", Table::Align::Right}});
  for (const Json& b : json.at("backends"))
    table.add({b.at("name"), b.at("service"), address_of(b), b.at("host"), b.at("state"),
               b.at("reason"), fmt::format("{}", connections(b))});
  table.print(env.out, use_colour(env));
}

void print_drain(Env& env, const Options& options, const Json& json) {
  if (options.json)
    env.out << json.dump() << '\n';
  else
    show_backends(env, json);
}

// "10.0.0.1:80 3, 10.0.0.2:80 1": who still has connections, an address once per service.
std::string who_is_left(const Json& json) {
  std::string out;
  for (const Json& b : json.at("backends"))
    if (connections(b) > 0)
      out += fmt::format("{}{} {}", out.empty() ? "" : ", ", address_of(b), connections(b));
  return out;
}

std::string left(const Json& json) {
  return fmt::format("{} left ({})", plural(connections(json), "connection"), who_is_left(json));
}

class DrainProgress {
 public:
  DrainProgress(Env& env, const Options& options)
      : env_(env), options_(options), progress_(env), started_(env.steady()), heard_(started_) {
    if (options.timeout)
      deadline_ =
          started_ + *options.timeout + (options.terminate ? kTerminateGrace : milliseconds(0));
  }

  // Ends when nothing is left of `json`, which is kept up to date. Returns the exit code.
  int run(Json& json) {
    while (connections(json) > 0) {
      const TimePoint now = env_.steady();
      if (deadline_ && now >= *deadline_) return timed_out(json);
      progress_.show(left(json), elapsed());
      env_.sleep(std::min(kDrainPoll, deadline_ ? until(*deadline_, now) : kDrainPoll));
      const auto next = call_quietly(env_, options_, {"GET", drain_path(options_), ""});
      if (next) {
        update(json, *next);
        heard_ = env_.steady();
      } else if (next.error() != kExitUnreachable || env_.steady() - heard_ > kRestartPatience) {
        return lost(next.error());
      }
    }
    progress_.clear();
    return kExitOk;
  }

  [[nodiscard]] milliseconds elapsed() const {
    return std::chrono::duration_cast<milliseconds>(env_.steady() - started_);
  }

 private:
  static milliseconds until(TimePoint deadline, TimePoint now) {
    return std::max(milliseconds(1), std::chrono::duration_cast<milliseconds>(deadline - now));
  }

  // The answer to the drain says which backends matched; one that is gone since has no connections.
  static void update(Json& json, const Json& progress) {
    for (Json& mine : json.at("backends")) {
      mine["connections"] = 0;
      for (const Json& theirs : progress.at("backends"))
        if (mine.at("service") == theirs.at("service") && address_of(mine) == address_of(theirs))
          mine["connections"] = theirs.at("connections");
    }
    json["connections"] = progress.at("connections");
  }

  int timed_out(const Json& json) {
    progress_.clear();
    env_.err << fmt::format(
        "lbctl: timed out after {}: {}. The drain stays: wait again with "
        "'lbctl drain {} --wait', end it with 'lbctl undrain {}'.\n",
        human(elapsed()), left(json), options_.subject, options_.subject);
    return kExitTimedOut;
  }

  int lost(int exit_code) {
    progress_.clear();
    env_.err << fmt::format(
        "lbctl: lost lbd at {} while waiting. The drain stays; wait again when lbd is back.\n",
        options_.socket);
    return exit_code;
  }

  Env& env_;
  const Options& options_;
  Progress progress_;
  TimePoint started_, heard_;
  std::optional<TimePoint> deadline_;
};

std::string drain_body(const Options& options) {
  Json body = {{"target", options.subject}};
  if (!options.service.empty()) body["service"] = options.service;
  if (!options.reason.empty()) body["reason"] = options.reason;
  if (options.terminate) body["terminate"] = true;
  if (options.terminate && options.timeout)
    body["terminate_after"] = format_duration(*options.timeout);
  return body.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

int drain(Env& env, const Options& options) {
  DrainProgress waiting(env, options);  // --timeout counts from the order on
  auto json = call(env, options, {"POST", "/v1/drains", drain_body(options)});
  if (!json) return json.error();
  const int code = options.wait ? waiting.run(*json) : kExitOk;
  if (code != kExitOk && code != kExitTimedOut) return code;
  print_drain(env, options, *json);
  if (options.wait && code == kExitOk)
    env.err << fmt::format("No connection left after {}.\n", human(waiting.elapsed()));
  else if (!options.wait && connections(*json) > 0)
    env.err << fmt::format(
        "No new connections go there; {} left. --wait waits for the end, 'lbctl undrain {}' takes "
        "it "
        "back.\n",
        plural(connections(*json), "connection"), options.subject);
  return code;
}

int undrain(Env& env, const Options& options) {
  std::string path = drain_path(options);
  if (!options.reason.empty()) path += "&reason=" + percent_encode(options.reason);
  const auto json = call(env, options, {"DELETE", path, ""});
  if (!json) return json.error();
  print_drain(env, options, *json);
  if (json->at("backends").empty()) env.err << "Undrained; no backend is there at the moment.\n";
  return kExitOk;
}

int resync(Env& env, const Options& options) {
  Json order{{"accept", options.subject}};
  if (!options.reason.empty()) order["reason"] = options.reason;
  const std::string body = order.dump(-1, ' ', false, Json::error_handler_t::replace);
  const auto json = call(env, options, {"POST", "/v1/resync", body});
  if (!json) return json.error();
  if (options.json) {
    env.out << json->dump() << '\n';
    return kExitOk;
  }
  const auto removed = json->at("removed").get<std::uint64_t>();
  env.err << (removed == 0 ? fmt::format("Nothing was held for {}.\n", printable(options.subject))
                           : fmt::format("{} of {} are believed to be gone.\n",
                                         plural(removed, "backend"), printable(options.subject)));
  return kExitOk;
}

}  // namespace lb::lbctl
