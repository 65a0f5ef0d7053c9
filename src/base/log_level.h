// How much is logged. In base because sources may ask for a level, too.
#pragma once

#include <cstdint>

namespace lb {

enum class LogLevel : std::uint8_t { Trace, Debug, Info, Warn, Error, Critical };

}  // namespace lb
