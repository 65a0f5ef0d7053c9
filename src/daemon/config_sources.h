// The [[source]] tables of the configuration, one reader per type.
#pragma once

#include "daemon/config.h"
#include "daemon/config_reader.h"

namespace lb {

void read_source(Section section, SourceConfig& out);

}  // namespace lb
