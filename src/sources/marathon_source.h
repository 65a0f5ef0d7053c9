// Marathon as a source: full readings of /v2/apps, and the event stream as a hint when to read.
#pragma once

#include <chrono>
#include <memory>
#include <optional>

#include <boost/asio/io_context.hpp>

#include "marathon/access.h"
#include "marathon/rules.h"
#include "sources/clocks.h"
#include "sources/source.h"

namespace lb {

struct MarathonSourceConfig {
  marathon::Access access;
  std::chrono::milliseconds interval{30'000};  // a full reading at least this often
  marathon::Rules rules;

  bool operator==(const MarathonSourceConfig&) const = default;
};

class MarathonSource final : public Source {
 public:
  // `saved` is the last good snapshot of an earlier run: it lends the addresses of names.
  MarathonSource(asio::io_context& io, MarathonSourceConfig config, std::optional<Snapshot> saved,
                 Clocks clocks);
  ~MarathonSource() override;

  asio::awaitable<Result<Snapshot>> next() override;
  [[nodiscard]] SourceStatus status() const override;
  void admitted(const Snapshot& in_force) override;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace lb
