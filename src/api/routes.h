// One HTTP request to one reply: a function of (method, target, body, Control), so that tests need
// no socket. The server (server.h) adds nothing but bytes.
#pragma once

#include <boost/asio/awaitable.hpp>

#include "api/caller.h"
#include "api/control.h"
#include "api/request.h"

namespace lb {

// `control` outlives the call. Never throws for anything that a client can send. What `caller` has no right to is 403; what he
// changes, or tries to, is in the audit.
[[nodiscard]] asio::awaitable<ApiReply> handle(ApiRequest request, Control& control,
                                               Caller caller = {});

}  // namespace lb
