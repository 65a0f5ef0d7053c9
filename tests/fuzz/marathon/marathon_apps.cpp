// Any bytes as Marathon's answer: taken or refused as another parser would, and what the rules make
// of it keeps the promises of the headers, at each reading anew.
#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <string>

#include <nlohmann/json.hpp>

#include "base/text.h"
#include "marathon/rules.h"
#include "model/check_limits.h"

namespace {

using namespace lb;
using nlohmann::json;

void require(bool truth) {
  if (!truth) std::abort();
}

// nlohmann's takes a byte order mark, ends at a zero byte, and refuses bytes that are not UTF-8 and
// numbers beyond a double, which ours lets pass.
void compare(std::string_view text, bool taken) {
  if (text.starts_with('\xef') || text.find('\0') != std::string_view::npos) return;
  const json other = json::parse(text, nullptr, false);
  if (other.is_discarded()) return;
  require(taken == (other.is_object() && other.contains("apps") && other["apps"].is_array()));
}

// And what nlohmann's refuses for its grammar, ours does too: nothing of it is left when all that it
// may mind has been replaced.
void compare_refusal(std::string_view text) {
  const bool plain = std::all_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x80 && c != '\0' && c != '\\' && c != 'e' && c != 'E';
  });
  // Without an exponent, only some 300 digits are beyond a double.
  if (plain && text.size() < 300) require(json::accept(text));
}

void check(const std::string& text) {
  (void)json(text).dump();  // throws for what is not UTF-8
}

void check(const Service& service) {
  check(service.name);
  require(service.key.port != 0 &&
          service.drain_timeout.value_or(SysTime::duration{0}).count() >= 0);
  if (service.check) require(check_limits::validate(*service.check).has_value());
  for (std::size_t i = 0; i < service.backends.size(); ++i) {
    const Backend& b = service.backends[i];
    check(b.id);
    check(b.host);
    require(!b.id.empty() && b.origin == service.origin && b.weight <= kMaxWeight);
    require(b.address.port != 0 && !b.address.ip.is_unspecified());
    require(i == 0 || service.backends[i - 1].address < b.address);
  }
}

void check(const marathon::Outcome& outcome) {
  require(outcome.warnings.size() <= 201);
  for (const std::string& warning : outcome.warnings) {
    require(printable(warning, 100'000) == warning);
    require(std::count(outcome.warnings.begin(), outcome.warnings.end(), warning) == 1);
  }
  for (std::size_t i = 0; i < outcome.services.size(); ++i) {
    check(*outcome.services[i]);
    require(i == 0 || outcome.services[i - 1]->key < outcome.services[i]->key);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto apps = marathon::parse_apps(text);
  if (!apps && apps.error().code.value() == EMSGSIZE) return 0;  // which the other parser takes
  compare(text, apps.has_value());
  if (!apps) {
    require(printable(apps.error().context, 10'000) == apps.error().context);
    return 0;
  }
  compare_refusal(text);
  const auto resolve = [](const std::string& name) {
    return name.size() % 2 == 0 ? std::optional<IpAddress>{} : IpAddress::v4(0x0a000001);
  };
  for (const bool all : {false, true}) {
    marathon::Rules rules;
    if (all) rules.label = "";
    rules.udp = all;
    marathon::Memory memory;
    const auto first = marathon::apply_rules(*apps, rules, memory, resolve);
    check(first);
    const auto second = marathon::apply_rules(*apps, rules, memory, resolve, first.services);
    require(second.services == first.services && second.warnings == first.warnings &&
            second.names == first.names);
  }
  return 0;
}
