// One HTTP request to one reply: a function of (method, target, body, Control), so that tests need
// no socket. The server (server.h) adds nothing but bytes.
#pragma once

#include <boost/asio/awaitable.hpp>

#include "api/control.h"
#include "api/request.h"

namespace lb {

// `control` outlives the call. Never throws for anything that a client can send.
[[nodiscard]] asio::awaitable<ApiReply> handle(ApiRequest request, Control& control);

}  // namespace lb
