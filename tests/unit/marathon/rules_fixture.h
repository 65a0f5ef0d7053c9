// Answers, apps and what the rules make of them, in few words.
#pragma once

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "marathon/rules.h"

namespace lb::marathon {

inline std::string fixture(const std::string& name) {
  std::ifstream in(std::string(LB_TEST_DATA) + "/marathon/" + name, std::ios::binary);
  EXPECT_TRUE(in) << name;
  return {std::istreambuf_iterator<char>(in), {}};
}

// The elements of the array `apps`.
inline std::vector<App> apps_of(const std::string& elements) {
  auto apps = parse_apps(R"({"apps":[)" + elements + "]}");
  EXPECT_TRUE(apps) << elements << ": " << apps.error().message();
  return apps ? std::move(*apps) : std::vector<App>{};
}

inline std::optional<IpAddress> no_names(const std::string&) { return std::nullopt; }

// "10.0.0.1:80", with "=state/reason" where it is not in use.
inline std::vector<std::string> rows(const Service& service) {
  std::vector<std::string> out;
  for (const Backend& b : service.backends) {
    std::string row = b.address.to_string();
    if (b.state != BackendState::Active) {
      row += "=" + std::string(to_string(b.state));
      if (b.reason != Reason::None) row += "/" + std::string(to_string(b.reason));
    }
    out.push_back(std::move(row));
  }
  return out;
}

// "tcp://127.0.0.1:80 name" to its rows.
using Table = std::map<std::string, std::vector<std::string>>;
inline Table table(const Outcome& outcome) {
  Table out;
  for (const ServicePtr& service : outcome.services)
    out[service->key.to_string() + " " + service->name] = rows(*service);
  return out;
}

// One source over several readings.
class Readings : public testing::Test {
 protected:
  const Outcome& read(const std::string& elements) {
    outcome = apply_rules(
        apps_of(elements), rules, memory,
        [this](const std::string& name) {
          const auto it = names.find(name);
          return it == names.end() ? std::nullopt : std::optional(it->second);
        },
        outcome.services);
    return outcome;
  }
  // The rows of the only service.
  [[nodiscard]] std::vector<std::string> only() const {
    EXPECT_EQ(outcome.services.size(), 1U);
    return outcome.services.empty() ? std::vector<std::string>{} : rows(*outcome.services[0]);
  }

  Rules rules;
  Memory memory;
  std::map<std::string, IpAddress> names;
  Outcome outcome;
};

}  // namespace lb::marathon
