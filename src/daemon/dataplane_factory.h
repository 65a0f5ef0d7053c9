// Which dataplane a configuration means, and how to open it. The only place that knows all of them.
#pragma once

#include <memory>

#include <boost/asio/io_context.hpp>

#include "daemon/config.h"
#include "dataplane/dataplane.h"

namespace lb {

namespace asio = boost::asio;

// `io` outlives the dataplane. The error says what is missing and what to do.
[[nodiscard]] Result<std::unique_ptr<Dataplane>> open_dataplane(asio::io_context& io,
                                                                const Config& config);

// The dataplane in use serves all that is wanted: what another one, used before it, left in the kernel goes. `mode` is
// the one in use (DataplaneInfo::mode).
[[nodiscard]] Result<> remove_former_dataplane(const Config& config, const std::string& mode);

// Removes everything of ours from the kernel. Nothing may be using it any more.
[[nodiscard]] Result<> detach_dataplane(const Config& config);

}  // namespace lb
