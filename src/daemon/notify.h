// Tells the service manager how we are: sd_notify(3) is one datagram, not worth a library.
#pragma once

#include <chrono>
#include <optional>
#include <string_view>

#include "base/result.h"

namespace lb {

// "READY=1", "STOPPING=1", "WATCHDOG=1". Without NOTIFY_SOCKET in the environment no service manager asked:
// success. Never waits: a service manager that does not read is an error.
[[nodiscard]] Result<> notify_service_manager(std::string_view state);

// How long the service manager lets us be silent (WatchdogSec=); nullopt: for ever.
[[nodiscard]] std::optional<std::chrono::microseconds> service_watchdog();

}  // namespace lb
