#include "daemon/source_factory.h"

#include "sources/etcd_source.h"
#include "sources/file_source.h"

namespace lb {

std::unique_ptr<Source> make_source(asio::io_context& io, const SourceConfig& config,
                                    std::optional<Snapshot> saved, Clocks clocks) {
  if (const auto* file = std::get_if<FileSourceConfig>(&config.settings))
    return std::make_unique<FileSource>(io, *file, std::move(saved));
  return std::make_unique<EtcdSource>(io, std::get<EtcdSourceConfig>(config.settings),
                                      std::move(saved), std::move(clocks));
}

std::string type_of(const SourceConfig& config) {
  return std::holds_alternative<FileSourceConfig>(config.settings) ? "file" : "etcd";
}

}  // namespace lb
