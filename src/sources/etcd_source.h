// Services from etcd in Merlion's schema: one service per configured prefix.
//
// Each prefix is followed by a worker of its own: linearizable range, then watch from the next
// revision; whatever breaks is answered by another range, never by clearing.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include "etcd/access.h"
#include "sources/clocks.h"
#include "sources/source.h"

namespace lb {

struct EtcdSourceConfig {
  etcd::Access access;
  std::vector<std::string> prefixes;  // "/conf/merlion/mysite.example.com"

  bool operator==(const EtcdSourceConfig&) const = default;
};

class EtcdSource final : public Source {
 public:
  // `saved` is the last good snapshot of an earlier run, if there is one: its revision tells an
  // older or a different cluster, its active backends get one full freshness before they can expire,
  // and its addresses stand in for names that cannot be resolved.
  EtcdSource(asio::io_context& io, EtcdSourceConfig config,
             std::optional<Snapshot> saved = std::nullopt, Clocks clocks = {});
  ~EtcdSource() override;

  asio::awaitable<Result<Snapshot>> next() override;
  [[nodiscard]] SourceStatus status() const override;
  void unused(const Unused& backends) override;
  [[nodiscard]] bool connect_failed(const ConnectFailure& failure) override;
  [[nodiscard]] bool wants_reports() const override;
  void report(const std::vector<ServiceReport>& services) override;
  [[nodiscard]] std::optional<LogLevel> log_level() const override;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace lb
