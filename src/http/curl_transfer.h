// How one request is put to curl, and what curl's answers mean. Private to http/.
#pragma once

#include "http/curl_loop.h"

namespace lb {

[[nodiscard]] Result<> prepare_transfer(Transfer& transfer);

}  // namespace lb
