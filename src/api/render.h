// The one answer that may be long.
#pragma once

#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>

#include "api/control.h"

namespace lb {

// {"services":[...]}, made in turns: rendering 10,000 services takes longer than a source or a drain
// should have to wait for the loop. The views share what the daemon had when they were made, so that
// later changes do not tear the answer.
[[nodiscard]] asio::awaitable<std::string> render_services(std::vector<ServiceView> services);

}  // namespace lb
