// Tells the service manager how we are: sd_notify(3) is one datagram, not worth a library.
#pragma once

#include <string_view>

#include "base/result.h"

namespace lb {

// "READY=1", "STOPPING=1". Without NOTIFY_SOCKET in the environment nobody asked: success.
[[nodiscard]] Result<> notify_service_manager(std::string_view state);

}  // namespace lb
