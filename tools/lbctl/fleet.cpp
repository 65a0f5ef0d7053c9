#include "tools/lbctl/fleet.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "tools/lbctl/progress.h"
#include "tools/lbctl/show.h"
#include "tools/lbctl/table.h"

namespace lb::lbctl {
namespace {

using std::chrono::milliseconds;
using Align = Table::Align;

constexpr milliseconds kFleetPoll{250};
// A restart of the updater in the middle of a drain; the order survives it.
constexpr milliseconds kUpdaterPatience{60'000};
// Connected listeners have an order at once; who takes longer is named.
constexpr milliseconds kProgramming{10'000};

bool flag(const Json& json, const char* field) { return json.at(field).get<bool>(); }

std::string fleet_path(const Options& options) {
  std::string out = "/v1/fleet/drains?target=" + percent_encode(options.subject);
  if (!options.service.empty()) out += "&service=" + percent_encode(options.service);
  return out;
}

std::string body(const Options& options) {
  Json json = {{"target", options.subject}};
  if (!options.service.empty()) json["service"] = options.service;
  if (!options.reason.empty()) json["reason"] = options.reason;
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string state_of(const Json& listener) {
  if (!flag(listener, "connected")) return "away";
  if (flag(listener, "ended")) return "ended";
  if (!listener.value("why", std::string()).empty()) return "refuses";
  return flag(listener, "programmed") ? "draining" : "waiting";
}

// At most three names, so that a line stays a line.
std::string names(const Json& listeners, std::string_view state) {
  std::string out;
  std::size_t count = 0;
  for (const Json& l : listeners) {
    if (state_of(l) != state) continue;
    if (++count <= 3)
      out +=
          fmt::format("{}{}", out.empty() ? "" : ", ", printable(l.at("node").get<std::string>()));
  }
  return count > 3 ? fmt::format("{} and {} more", out, count - 3) : out;
}

std::uint64_t count_of(const Json& listeners, std::string_view state) {
  return static_cast<std::uint64_t>(std::count_if(
      listeners.begin(), listeners.end(), [&](const Json& l) { return state_of(l) == state; }));
}

// "5 connections left on 2 of 12 listeners; 1 away (node7): its connections are not known".
std::string words(const Json& json) {
  const Json& all = json.at("listeners");
  const auto busy = std::count_if(all.begin(), all.end(),
                                  [](const Json& l) { return number(l, "connections") > 0; });
  std::string out =
      fmt::format("{} left on {} of {}", plural(number(json, "connections"), "connection"), busy,
                  plural(all.size(), "listener"));
  if (const auto waiting = count_of(all, "waiting"))
    out += fmt::format("; {} not programmed yet ({})", waiting, names(all, "waiting"));
  if (const auto refuses = count_of(all, "refuses"))
    out += fmt::format("; {} not taken ({})", refuses, names(all, "refuses"));
  if (const auto away = count_of(all, "away"))
    out += fmt::format("; {} away ({}): what they have is not known", away, names(all, "away"));
  return out;
}

void print_fleet(Env& env, const Options& options, const Json& json) {
  if (options.json) {
    env.out << json.dump() << '\n';
    return;
  }
  Table table({{"LISTENER"}, {"STATE", Align::Left, true}, {"CONNECTIONS", Align::Right}});
  for (const Json& l : json.at("listeners"))
    table.add({l.at("node"), state_of(l), fmt::format("{}", number(l, "connections"))});
  table.print(env.out, use_colour(env));
  for (const Json& l : json.at("listeners"))
    if (state_of(l) == "refuses")
      env.err << fmt::format("{}: the order {}\n", printable(l.at("node").get<std::string>()),
                             printable(l.at("why").get<std::string>()));
}

class FleetProgress {
 public:
  FleetProgress(Env& env, const Options& options)
      : env_(env),
        options_(options),
        progress_(env),
        started_(env.steady()),
        heard_(started_),
        limit_(options.wait ? options.timeout : std::optional<milliseconds>(kProgramming)) {}

  // Returns the exit code; `json` is the last answer.
  int run(Json& json) {
    while (!done(json)) {
      if (limit_ && elapsed() >= *limit_) return finish(kExitTimedOut);
      progress_.show(words(json), elapsed());
      env_.sleep(kFleetPoll);
      const auto next = call_quietly(env_, options_, {"GET", fleet_path(options_), ""});
      if (next) {
        json = *next;
        heard_ = env_.steady();
      } else if (next.error() != kExitUnreachable || env_.steady() - heard_ > kUpdaterPatience) {
        progress_.clear();
        env_.err << fmt::format("lbctl: lost the updater at {} while waiting. The order stays.\n",
                                options_.socket);
        return next.error();
      }
    }
    return finish(kExitOk);
  }

  [[nodiscard]] milliseconds elapsed() const {
    return std::chrono::duration_cast<milliseconds>(env_.steady() - started_);
  }

 private:
  [[nodiscard]] bool done(const Json& json) const {
    if (options_.wait) return flag(json, "drained");
    const Json& all = json.at("listeners");
    return count_of(all, "waiting") + count_of(all, "refuses") == 0;
  }

  int finish(int code) {
    progress_.clear();
    return code;
  }

  Env& env_;
  const Options& options_;
  Progress progress_;
  std::chrono::steady_clock::time_point started_, heard_;
  std::optional<milliseconds> limit_;
};

void say_how_it_ended(Env& env, const Options& options, const Json& json, int code,
                      milliseconds elapsed) {
  if (code == kExitTimedOut)
    env.err << fmt::format(
        "lbctl: timed out after {}: {}. The order stays: wait again with 'lbctl drain --fleet {} "
        "--wait', end it with 'lbctl undrain --fleet {}'.\n",
        human(elapsed), words(json), options.subject, options.subject);
  else if (options.wait)
    env.err << fmt::format("No connection left on any of {} after {}.\n",
                           plural(json.at("listeners").size(), "listener"), human(elapsed));
  else
    env.err << fmt::format(
        "No new connections go there; {}. --wait waits for the end, 'lbctl undrain --fleet {}' "
        "takes it back.\n",
        words(json), options.subject);
}

bool means(const Json& listener, const std::string& filter) {
  return listener.at("node").get<std::string>().find(filter) != std::string::npos ||
         listener.at("address").get<std::string>().find(filter) != std::string::npos;
}

std::string lag_of(const Json& listener) {
  const Json& lag = listener.at("lag_seconds");
  if (lag.is_null()) return "-";
  return human(milliseconds(static_cast<std::int64_t>(lag.get<double>() * 1000)));
}

std::string applied_of(const Json& listener) {
  const Json& sequence = listener.at("applied_sequence");
  if (sequence.is_null()) return "-";
  const auto behind = number(listener, "behind");
  return behind == 0 ? fmt::format("{}", sequence.get<std::uint64_t>())
                     : fmt::format("{} (-{})", sequence.get<std::uint64_t>(), behind);
}

}  // namespace

Json filter_listeners(Json json, const std::string& filter) {
  Json kept = Json::array();
  for (Json& l : json.at("listeners"))
    if (means(l, filter)) kept.push_back(std::move(l));
  json["listeners"] = std::move(kept);
  return json;
}

void show_listeners(Env& env, const Options& options, const Json& json) {
  const std::string& filter = options.subject;
  Table table({{"LISTENER"},
               {"ADDRESS"},
               {"VERSION"},
               {"STATE", Align::Left, true},
               {"FEED"},
               {"APPLIED", Align::Right},
               {"LAG", Align::Right},
               {"CONNECTIONS", Align::Right},
               {"SINCE", Align::Right}});
  Table counts({{"LISTENER"}, {"SERVICE"}, {"BACKEND"}, {"CONNECTIONS", Align::Right}});
  for (const Json& l : json.at("listeners")) {
    table.add({l.at("node"), l.at("address"), l.at("version"),
               flag(l, "connected") ? "connected" : "away",
               !flag(l, "connected")    ? ""
               : flag(l, "takes_state") ? "here"
                                        : "elsewhere",
               applied_of(l), lag_of(l), fmt::format("{}", number(l, "connections")),
               age(l.at("since").get<std::string>(), env.wall())});
    for (const Json& b : l.at("backends"))
      counts.add({l.at("node"), b.at("service"), address_of(b),
                  fmt::format("{}", number(b, "connections"))});
  }
  table.print(env.out, use_colour(env));
  if (table.empty())
    env.err << (filter.empty() ? "No listener has connected yet.\n"
                               : fmt::format("No listener matches '{}'.\n", printable(filter)));
  if (filter.empty() || counts.empty()) return;
  env.out << '\n';
  counts.print(env.out, use_colour(env));
}

int drain_fleet(Env& env, const Options& options) {
  FleetProgress waiting(env, options);
  auto json = call(env, options, {"POST", "/v1/fleet/drains", body(options)});
  if (!json) return json.error();
  const int code = waiting.run(*json);
  if (code != kExitOk && code != kExitTimedOut) return code;
  print_fleet(env, options, *json);
  say_how_it_ended(env, options, *json, code, waiting.elapsed());
  return code;
}

int undrain_fleet(Env& env, const Options& options) {
  std::string path = fleet_path(options);
  if (!options.reason.empty()) path += "&reason=" + percent_encode(options.reason);
  const auto json = call(env, options, {"DELETE", path, ""});
  if (!json) return json.error();
  if (options.json) env.out << json->dump() << '\n';
  env.err << fmt::format("Undrained; {} told.\n", plural(json->at("listeners").size(), "listener"));
  return kExitOk;
}

}  // namespace lb::lbctl
