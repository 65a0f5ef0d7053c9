// Services from etcd in Merlion's schema: one service per configured prefix.
//
// Each prefix is followed by a worker of its own: linearizable range, then watch from the next
// revision; whatever breaks is answered by another range, never by clearing.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include "sources/clocks.h"
#include "sources/source.h"

namespace lb {

enum class EtcdApi : std::uint8_t { Auto, V3, V2 };

struct EtcdSourceConfig {
  std::vector<std::string> endpoints{"http://127.0.0.1:2379"};
  EtcdApi api = EtcdApi::Auto;
  std::vector<std::string> prefixes;  // "/conf/merlion/mysite.example.com"
  std::string ca;
  std::string cert;
  std::string key;
  std::string username;
  std::string password_file;

  bool operator==(const EtcdSourceConfig&) const = default;
};

[[nodiscard]] Result<EtcdApi> parse_etcd_api(std::string_view text);  // "auto", "v3", "v2"

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

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace lb
