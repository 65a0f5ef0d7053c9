// What goes back to the sources: what the kernel saw of their services.
#pragma once

#include <boost/asio/awaitable.hpp>

#include "daemon/engine.h"

namespace lb {

namespace asio = boost::asio;

// To the source that owns the service. True: a connect of lbd's own decides.
[[nodiscard]] bool tell_failure(const Engine& engine, const ConnectFailure& failure);
// To every source that wants to know.
[[nodiscard]] bool wants_reports(const SourceSlots& slots);
asio::awaitable<void> tell_reports(const Engine& engine);

// The level that is in force: what a source asks for (the most talkative one), else `configured`.
[[nodiscard]] LogLevel log_level_of(const SourceSlots& slots, LogLevel configured);

}  // namespace lb
