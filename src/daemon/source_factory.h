// From a source's configuration to the source.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <boost/asio/io_context.hpp>

#include "daemon/config.h"
#include "sources/source.h"

namespace lb {

// What sources share; all of it outlives them.
struct SourceContext {
  asio::io_context& io;
  Clocks clocks;
  FleetOrders& orders;
  std::function<void()> orders_changed;
  std::string node;  // what this host is called
};

// `saved` is the last good snapshot of an earlier run.
[[nodiscard]] std::unique_ptr<Source> make_source(const SourceContext& context,
                                                  const SourceConfig& config,
                                                  std::optional<Snapshot> saved);

[[nodiscard]] std::string type_of(const SourceConfig& config);  // "file", "etcd", ...

}  // namespace lb
