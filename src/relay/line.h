// One encoded message on its way to many listeners.
#pragma once

#include <memory>
#include <string>

namespace lb::relay {

using Line = std::shared_ptr<const std::string>;  // with its newline

}  // namespace lb::relay
