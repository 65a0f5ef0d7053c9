// What a person means by a word: the services that `list FILTER` shows, and the names that a
// misspelt target may have meant. Pure functions of the list.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "api/control.h"

namespace lb {

// A service whose name, address, source, protocol or condition contains the filter is kept whole;
// of any other only the backends whose id, host, address, state or reason contains it. Case does
// not matter; an empty filter keeps everything.
[[nodiscard]] std::vector<ServiceView> filter_services(std::vector<ServiceView> services,
                                                       std::string_view filter);
// Whether filter_services() can keep something of the service, once the dataplane has told what it
// makes of it: what cannot be need not be read.
[[nodiscard]] bool may_name(const DesiredService& service, std::string_view filter);

// At most three names, the most similar first; only those that a slip of the keyboard explains.
[[nodiscard]] std::vector<std::string> nearest(std::string_view word,
                                               std::vector<std::string> names);

// What DrainTarget::target and ::service can name.
[[nodiscard]] std::vector<std::string> drain_targets(std::span<const ServiceView> services);
[[nodiscard]] std::vector<std::string> service_names(std::span<const ServiceView> services);

}  // namespace lb
