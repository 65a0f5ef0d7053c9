// Which command does what.
#include <fmt/format.h>

#include "tools/lbctl/doctor.h"
#include "tools/lbctl/drain.h"
#include "tools/lbctl/fleet.h"
#include "tools/lbctl/register.h"
#include "tools/lbctl/show.h"
#include "tools/lbctl/trust.h"

namespace lb::lbctl {
namespace {

std::string target_of(const Options& options) {
  if (options.command == "list")
    return options.subject.empty() ? "/v1/services"
                                   : "/v1/services?filter=" + percent_encode(options.subject);
  if (options.command == "explain") return "/v1/explain?to=" + percent_encode(options.subject);
  return "/v1/" + options.command;
}

int read(Env& env, const Options& options) {
  auto json = call(env, options, {"GET", target_of(options), ""});
  if (!json) return json.error();
  if (options.command == "listeners") *json = filter_listeners(*std::move(json), options.subject);
  if (options.json)
    env.out << json->dump() << '\n';
  else if (options.command == "list")
    show_list(env, options, *json);
  else if (options.command == "status")
    show_status(env, *json);
  else if (options.command == "sources")
    show_sources(env, *json);
  else if (options.command == "listeners")
    show_listeners(env, options, *json);
  else
    show_explanation(env, *json);
  return kExitOk;
}

int dispatch(Env& env, const Options& options) {
  if (options.command == "drain")
    return options.fleet ? drain_fleet(env, options) : drain(env, options);
  if (options.command == "undrain")
    return options.fleet ? undrain_fleet(env, options) : undrain(env, options);
  if (options.command == "resync") return resync(env, options);
  if (options.command == "trust") return trust(env, options);
  if (options.command == "register")
    return register_backend(env, options.registration, options.json);
  if (options.command == "doctor") return doctor(env, options);
  return read(env, options);
}

}  // namespace

int run(Env& env, std::span<const std::string> args) {
  const auto options = parse_options(env, args);
  if (!options) return options.error();
  try {
    return dispatch(env, *options);
  } catch (const nlohmann::json::exception& error) {  // a field is missing or of another type
    env.err << fmt::format("lbctl: do not understand lbd's answer ({}): do the versions differ?\n",
                           error.what());
    return kExitFailed;
  }
}

}  // namespace lb::lbctl
