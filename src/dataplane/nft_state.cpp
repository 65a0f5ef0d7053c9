#include "dataplane/nft_state.h"

#include <nlohmann/json.hpp>

#include "base/foreign_json.h"

namespace lb {
namespace {

using nlohmann::json;

constexpr auto kStateKind = "lbd-nft 1";

json to_json(const ProgrammedService& service) {
  json addresses = json::array(), backends = json::array();
  for (const IpAddress& address : service.addresses) addresses.push_back(address.to_string());
  for (const ProgrammedBackend& b : service.backends)
    backends.push_back({b.address.to_string(), b.weight});
  return {{"service", service.key.to_string()},
          {"addresses", addresses},
          {"balance", to_string(service.balance)},
          {"backends", backends}};
}

Result<ProgrammedService> service_from(const json& value) {
  ProgrammedService out;
  LB_TRY(out.key, ServiceKey::parse(value.at("service").get_ref<const std::string&>()));
  LB_TRY(out.balance, parse_balance(value.at("balance").get_ref<const std::string&>()));
  for (const json& text : value.at("addresses")) {
    LB_TRY(out.addresses.emplace_back(), IpAddress::parse(text.get_ref<const std::string&>()));
  }
  for (const json& each : value.at("backends")) {
    ProgrammedBackend backend;
    LB_TRY(backend.address, Address::parse(each.at(0).get_ref<const std::string&>()));
    backend.weight = each.at(1).get<std::uint32_t>();
    out.backends.push_back(backend);
  }
  return out;
}

Result<NftState> state_from(const json& value) {
  NftState out;
  out.rules = value.value("rules", 1);
  out.generation = value.at("generation").get<std::uint32_t>();
  out.fingerprint = value.at("fingerprint").get<std::string>();
  out.guard_forwarding = value.at("guard_forwarding").get<bool>();
  for (const json& each : value.at("services")) {
    LB_TRY(ProgrammedService service, service_from(each));
    out.services.insert_or_assign(service.key, std::move(service));
  }
  return out;
}

}  // namespace

std::string encode(const NftState& state, const std::string& here) {
  json services = json::array();
  for (const auto& [key, service] : state.services) services.push_back(to_json(service));
  return json{{"kind", kStateKind},
              {"here", here},
              {"rules", state.rules},
              {"generation", state.generation},
              {"fingerprint", state.fingerprint},
              {"guard_forwarding", state.guard_forwarding},
              {"services", services}}
      .dump(1);
}

Result<std::optional<NftState>> decode_nft_state(const std::string& text, const std::string& here) {
  constexpr JsonLimits kSaved{.depth = 32, .memory = std::size_t{1} << 30};  // lbd's own file
  const json value = parse_json(text, kSaved).value_or(json());
  if (!value.is_object() || value.value("kind", json()) != kStateKind)
    return fail("no record of what lbd has in nf_tables");
  if (value.value("here", json()) != here) return std::optional<NftState>();
  try {
    LB_TRY(NftState state, state_from(value));
    return std::optional(std::move(state));
  } catch (const json::exception& e) {
    return fail(e.what());
  }
}

}  // namespace lb
