// From a source's configuration to the source.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include <boost/asio/io_context.hpp>

#include "daemon/config.h"
#include "sources/source.h"

namespace lb {

// `saved` is the last good snapshot of an earlier run.
[[nodiscard]] std::unique_ptr<Source> make_source(asio::io_context& io, const SourceConfig& config,
                                                  std::optional<Snapshot> saved, Clocks clocks);

[[nodiscard]] std::string type_of(const SourceConfig& config);  // "file", "etcd"

}  // namespace lb
