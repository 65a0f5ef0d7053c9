#include "state/drain.h"

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>

#include "base/limits.h"
#include "base/text.h"

namespace lb {
namespace {

bool names_service(std::string_view wanted, const ServiceKey& key, std::string_view name) {
  if (wanted == name) return true;
  if (wanted.find("://") != std::string_view::npos) {
    const auto parsed = ServiceKey::parse(wanted);
    return parsed && *parsed == key;
  }
  const auto parsed = Address::parse(wanted);
  return parsed && parsed->ip == key.address && parsed->port == key.port;
}

bool names_host(const std::string& wanted, const Backend& backend) {
  if (wanted == backend.host) return true;
  const auto ip = IpAddress::parse(wanted);
  return ip && *ip == backend.address.ip;
}

// By the names that it had when the order was given. A source may give none (files), or may not have said
// it yet (what only the kernel knew at start): then the address is all that there is.
bool means(const Drain& drain, const Backend& backend) {
  const auto has = [&](const std::string& id) {
    return std::binary_search(drain.ids.begin(), drain.ids.end(), id);
  };
  if (drain.ids.empty() || has(backend.id)) return true;
  const std::string unnamed = backend.address.to_string();
  return backend.id == unnamed || has(unnamed);
}

}  // namespace

bool covers(const Drain& drain, const Backend& backend, const ServiceKey& key,
            std::string_view name) {
  if (const auto* address = std::get_if<Address>(&drain.target)) {
    if (*address != backend.address || !means(drain, backend)) return false;
  } else if (!names_host(std::get<std::string>(drain.target), backend)) {
    return false;
  }
  return !drain.service || names_service(*drain.service, key, name);
}

Result<Drain::Target> Drain::parse_target(std::string_view text) {
  if (text.empty()) return fail(EINVAL, "a drain needs ADDR:PORT or a host");
  if (text.size() > limits::kTarget)
    return fail(E2BIG, fmt::format("a drain of '{}', which is longer than {} characters",
                                   printable(text, 40), limits::kTarget));
  if (auto address = Address::parse(text)) return Target(*address);
  if (IpAddress::parse(text)) return Target(std::string(text));
  if (const auto colon = text.find(':'); colon == std::string_view::npos)
    return Target(std::string(text));
  // With a colon it was meant as ADDR:PORT: say what is wrong with it.
  return fail(EINVAL, Address::parse(text).error().context);
}

std::string to_string(const Drain::Target& target) {
  if (const auto* address = std::get_if<Address>(&target)) return address->to_string();
  return std::get<std::string>(target);
}

}  // namespace lb
