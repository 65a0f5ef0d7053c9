// One order to take something out of use, as a value.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "model/service.h"
#include "state/deadline.h"

namespace lb {

struct Drain {
  // ADDR:PORT, or a host: what a source calls the machine, or its IP address.
  using Target = std::variant<Address, std::string>;

  // Whatever is not ADDR:PORT is a host; empty text and a bad port are errors. E2BIG: longer than
  // limits::kTarget.
  [[nodiscard]] static Result<Target> parse_target(std::string_view text);

  Target target;
  // Name or [tcp://|udp://]ADDR:PORT of one service; else all of them.
  std::optional<std::string> service;
  SysTime since;
  std::optional<Deadline> terminate_at;  // then its connections are destroyed
  // Names of the backends that an ADDR:PORT meant when it was first seen, filled in by settle(): a
  // new backend that takes over the address is not drained. Empty for hosts. ADDR:PORT is the name of one
  // that has none: it means whatever is there.
  std::vector<std::string> ids;
  std::string fleet{};  // id of the fleet's order; empty: given to this lbd
  // The file that had it was lost, and the kernel still knew of it: in force until an operator drains or
  // undrains the target.
  bool recovered = false;

  bool operator==(const Drain&) const = default;
};

[[nodiscard]] std::string to_string(const Drain::Target& target);

// Does it mean this backend of this service?
[[nodiscard]] bool covers(const Drain& drain, const Backend& backend, const ServiceKey& key,
                          std::string_view service_name);

}  // namespace lb
