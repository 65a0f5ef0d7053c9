#include "tools/lbctl/trust.h"

#include <fmt/format.h>

#include "tools/lbctl/client.h"
#include "tools/lbctl/show.h"
#include "tools/lbctl/table.h"

namespace lb::lbctl {
namespace {

void show_keys(Env& env, const Json& json) {
  Table table({{"UPDATER"}, {"TRUST", Table::Align::Left, true}, {"KEY"}});
  for (const Json& key : json.at("keys"))
    table.add({key.at("updater"), key.at("trust"), key.at("key")});
  table.print(env.out, use_colour(env));
  if (table.empty())
    env.err << "No key is known: this lbd serves no listeners, and has reached no updater.\n";
}

}  // namespace

int trust(Env& env, const Options& options) {
  if (options.subject.empty()) {
    const auto json = call(env, options, {"GET", "/v1/trust", ""});
    if (!json) return json.error();
    if (options.json)
      env.out << json->dump() << '\n';
    else
      show_keys(env, *json);
    return kExitOk;
  }
  Json order{{options.forget ? "forget" : "trust", options.subject}};
  if (!options.reason.empty()) order["reason"] = options.reason;
  const std::string body = order.dump(-1, ' ', false, Json::error_handler_t::replace);
  const auto json = call(env, options, {"POST", "/v1/trust", body});
  if (!json) return json.error();
  if (options.json)
    env.out << json->dump() << '\n';
  else
    env.err << fmt::format("Orders that {} signs are {} from now on.\n",
                           printable(json->at("key").get<std::string>()),
                           options.forget ? "not taken" : "taken");
  return kExitOk;
}

}  // namespace lb::lbctl
