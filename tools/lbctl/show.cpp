#include "tools/lbctl/show.h"

#include <fmt/format.h>

#include "tools/lbctl/table.h"

namespace lb::lbctl {
namespace {

using Align = Table::Align;

std::string text(const Json& json, const char* field) { return json.at(field).get<std::string>(); }

std::string count(const Json& value) {
  return value.is_null() ? "-" : fmt::format("{}", value.get<std::uint64_t>());
}

// "100" when that is what it gets, "0/100" when a drain or a verdict changed it.
std::string weight_of(const Json& backend) {
  const auto weight = number(backend, "weight");
  const auto effective = number(backend, "effective_weight");
  return weight == effective ? fmt::format("{}", weight) : fmt::format("{}/{}", effective, weight);
}

std::uint64_t failures_of(const Json& backend) {
  std::uint64_t out = 0;
  for (const auto& [kind, value] : backend.at("failed_connections").items())
    out += value.get<std::uint64_t>();
  return out;
}

void add_service(Table& table, const Json& service, SysTime now) {
  const std::string name = text(service, "name");
  const std::string condition = text(service, "condition");
  if (service.at("backends").empty()) table.add({name, listen_of(service), condition});
  for (const Json& backend : service.at("backends")) {
    const std::string host = text(backend, "host");
    table.add({name, listen_of(service), condition, address_of(backend),
               host == text(backend, "address") ? "" : host, text(backend, "state"),
               text(backend, "reason"), weight_of(backend), count(backend.at("active_connections")),
               count(backend.at("total_connections")), fmt::format("{}", failures_of(backend)),
               age(text(backend, "since"), now)});
  }
}

void print_lines(Env& env, std::string_view title, const Json& lines) {
  if (lines.empty()) return;
  env.out << fmt::format("\n{}\n", title);
  for (const Json& line : lines)
    env.out << fmt::format("  {}\n", printable(line.get<std::string>()));
}

std::string usage(const Json& json) {
  return fmt::format("{} of {}", number(json, "used"), number(json, "max"));
}

void print_fact(Env& env, std::string_view name, const std::string& value) {
  env.out << fmt::format("{:<12}{}\n", name, printable(value));
}

void show_dataplane(Env& env, const Json& dataplane) {
  const std::string mode = text(dataplane, "mode");
  const bool in_kernel = !text(dataplane, "cgroup").empty();
  print_fact(env, "dataplane",
             in_kernel ? fmt::format("{} on {}, pinned in {}", mode, text(dataplane, "cgroup"),
                                     text(dataplane, "bpffs"))
                       : mode);
  if (in_kernel)
    print_fact(env, "room",
               fmt::format("services {}, backends {}, slots {}", usage(dataplane.at("services")),
                           usage(dataplane.at("backends")), usage(dataplane.at("slots"))));
  if (number(dataplane, "lost_events") > 0)
    print_fact(env, "lost",
               fmt::format("{} failure events (the counts are right nevertheless)",
                           number(dataplane, "lost_events")));
}

// Each kind of trouble with its own sentence; the order is that of urgency.
void show_troubles(Env& env, const Json& json) {
  Json lines = Json::array();
  for (const Json& f : json.at("failures"))
    lines.push_back(fmt::format("{}: {} (tried {} times since {}, again in {:.1f}s)",
                                text(f, "service"), text(f, "error"), number(f, "attempts"),
                                text(f, "since"), f.at("retry_in_seconds").get<double>()));
  print_lines(env, "not programmed:", lines);
  lines = Json::array();
  Json own = Json::array();
  for (const Json& p : json.at("problems")) {
    if (text(p, "service").empty())
      own.push_back(fmt::format("{}: {}", text(p, "name"), text(p, "text")));
    else
      lines.push_back(fmt::format("{} {}: {}: {}", text(p, "name"), text(p, "service"),
                                  text(p, "condition"), text(p, "text")));
  }
  print_lines(env, "not as it must be, and tried again:", own);
  print_lines(env, "services that need a look:", lines);
  lines = Json::array();
  for (const Json& h : json.at("held"))
    lines.push_back(
        fmt::format("{}: {} of {} backends are missing and stay in use; "
                    "'lbctl resync --accept {}' believes it",
                    text(h, "source"), number(h, "missing"), number(h, "of"), text(h, "source")));
  print_lines(env, "held by the wipe guard:", lines);
  lines = Json::array();
  for (const Json& l : json.at("dataplane").value("lost", Json::array()))
    lines.push_back(fmt::format("{}: {} ({})", text(l, "what"), text(l, "loss"), text(l, "why")));
  print_lines(env, "not to be had on this kernel:", lines);
  print_lines(env, "warnings:", json.at("warnings"));
  print_lines(env, "notes:", json.at("dataplane").at("notes"));
}

void show_drains(Env& env, const Json& drains, SysTime now) {
  Json lines = Json::array();
  for (const Json& d : drains) {
    const std::string service = text(d, "service");
    lines.push_back(fmt::format(
        "{}{}, for {}{}{}", text(d, "target"), service.empty() ? "" : " in " + service,
        age(text(d, "since"), now), d.at("fleet").get<bool>() ? ", by the fleet" : "",
        d.at("terminate_at").is_null() ? "" : ", terminates at " + text(d, "terminate_at")));
  }
  print_lines(env, "drained by an operator:", lines);
}

void add_explained(Table& table, const Json& backend, SysTime now) {
  const Json& listening = backend.at("listening");
  table.add({address_of(backend), text(backend, "state"), text(backend, "reason"),
             backend.at("candidate").get<bool>() ? "yes" : "no", weight_of(backend),
             count(backend.at("active_connections")),
             listening.is_null() ? "" : (listening.get<bool>() ? "yes" : "no"),
             age(text(backend, "since"), now), text(backend, "why")});
}

}  // namespace

std::uint64_t number(const Json& json, const char* field) {
  return json.at(field).get<std::uint64_t>();
}

bool use_colour(const Env& env) { return env.out_is_tty && !env.no_color; }

std::string address_of(const Json& json) {
  const std::string ip = text(json, "address");
  const auto port = number(json, "port");
  return ip.find(':') == std::string::npos ? fmt::format("{}:{}", ip, port)
                                           : fmt::format("[{}]:{}", ip, port);
}

std::string listen_of(const Json& service) {
  return (text(service, "protocol") == "udp" ? "udp://" : "") + address_of(service);
}

void show_list(Env& env, const Options& options, const Json& json) {
  Table table({{"SERVICE"},
               {"LISTEN"},
               {"CONDITION", Align::Left, true},
               {"BACKEND"},
               {"HOST"},
               {"STATE", Align::Left, true},
               {"REASON"},
               {"WEIGHT", Align::Right},
               {"ACTIVE", Align::Right},
               {"TOTAL", Align::Right},
               {"FAILED", Align::Right},
               {"SINCE"}});
  const SysTime now = env.wall();
  for (const Json& service : json.at("services")) add_service(table, service, now);
  table.print(env.out, use_colour(env));
  if (table.empty() && options.subject.empty())
    env.err << "No services. 'lbctl sources' shows what each source says.\n";
  else if (table.empty())
    env.err << fmt::format("Nothing matches '{}'. 'lbctl list' shows everything.\n",
                           printable(options.subject));
  for (const Json& service : json.at("services"))
    if (const std::string words = text(service, "text"); !words.empty())
      env.err << fmt::format("{} {}: {}\n", printable(text(service, "name")), listen_of(service),
                             printable(words));
  for (const Json& service : json.at("services"))
    for (const Json& backend : service.at("backends"))
      // An lbd of another version may not say it.
      if (const std::string words = backend.value("text", ""); !words.empty())
        env.err << fmt::format("{} {}: {}: {}\n", printable(text(service, "name")),
                               listen_of(service), address_of(backend), printable(words));
}

// An lbd of another version may not say it.
void show_loop(Env& env, const Json& status) {
  const auto loop = status.find("loop");
  if (loop == status.end()) return;
  if (!loop->at("stalled_at").is_null())
    print_fact(env, "loop",
               fmt::format("longest stall {:.1f} ms, {} ago",
                           1000 * loop->at("longest_stall_seconds").get<double>(),
                           age(text(*loop, "stalled_at"), env.wall())));
  if (const auto lost = number(*loop, "dropped_log_lines"); lost > 0)
    print_fact(env, "log",
               fmt::format("{} lines lost: the reader of lbd's stderr is too slow, or "
                           "gone",
                           lost));
}

void show_status(Env& env, const Json& json) {
  const auto uptime = std::chrono::duration<double>(json.at("uptime_seconds").get<double>());
  print_fact(env, "lbd",
             fmt::format("{}, pid {}, up {}", text(json, "version"), number(json, "pid"),
                         human(std::chrono::duration_cast<std::chrono::milliseconds>(uptime))));
  print_fact(env, "config", text(json, "config"));
  show_dataplane(env, json.at("dataplane"));
  print_fact(env, "serving",
             fmt::format("{} services, {} backends, {} connections", number(json, "services"),
                         number(json, "backends"), number(json, "active_connections")));
  show_loop(env, json);
  show_troubles(env, json);
  show_drains(env, json.at("drains"), env.wall());
}

void show_sources(Env& env, const Json& json) {
  Table table({{"SOURCE"},
               {"TYPE"},
               {"STATE", Align::Left, true},
               {"SNAPSHOT"},
               {"AGE", Align::Right},
               {"SERVICES", Align::Right},
               {"BACKENDS", Align::Right},
               {"POSITION"},
               {"REVISION"}});
  for (const Json& s : json.at("sources")) {
    const bool none = s.at("as_of").is_null();
    table.add({text(s, "name"), text(s, "type"), text(s, "state"),
               none ? "none" : (s.at("saved").get<bool>() ? "saved" : "live"),
               none ? "" : age(text(s, "as_of"), env.wall()), count(s.at("services")),
               count(s.at("backends")), text(s, "position"), text(s, "revision")});
  }
  table.print(env.out, use_colour(env));
  if (table.empty()) env.err << "No sources: add a [[source]] to lbd's configuration.\n";
  for (const Json& s : json.at("sources")) {
    Json lines = Json::array();
    if (!text(s, "error").empty()) lines.push_back("error: " + text(s, "error"));
    for (const Json& warning : s.at("warnings"))
      lines.push_back("warning: " + warning.get<std::string>());
    for (const Json& lost : s.at("lost_claims"))
      lines.push_back(fmt::format("lost claim: {} {} belongs to {}", text(lost, "name"),
                                  text(lost, "service"), text(lost, "winner")));
    if (const Json& held = s.at("held"); !held.is_null())
      lines.push_back(fmt::format("held: {} (believe it: lbctl resync --accept {})",
                                  text(held, "text"), text(s, "name")));
    print_lines(env, text(s, "name") + ":", lines);
  }
}

void show_explanation(Env& env, const Json& json) {
  env.out << fmt::format("{}: {}\n", listen_of(json),
                         coloured(text(json, "outcome"), use_colour(env)));
  env.out << fmt::format("  {}\n", printable(text(json, "text")));
  if (!text(json, "alias").empty())
    env.out << fmt::format("  {}\n", printable(text(json, "alias")));
  if (const Json& service = json.at("service"); !service.is_null())
    env.out << fmt::format("  service {} on {}, {}, from {}, condition {}\n",
                           printable(text(service, "name")), listen_of(service),
                           text(service, "balance"), printable(text(service, "source")),
                           coloured(text(service, "condition"), use_colour(env)));
  for (const Json& note : json.at("notes"))
    env.out << fmt::format("  note: {}\n", printable(note.get<std::string>()));
  Table table({{"BACKEND"},
               {"STATE", Align::Left, true},
               {"REASON"},
               {"CANDIDATE", Align::Left, true},
               {"WEIGHT", Align::Right},
               {"ACTIVE", Align::Right},
               {"LISTENS"},
               {"SINCE"},
               {"WHY"}});
  for (const Json& backend : json.at("backends")) add_explained(table, backend, env.wall());
  if (!table.empty()) env.out << '\n';
  table.print(env.out, use_colour(env));
}

}  // namespace lb::lbctl
