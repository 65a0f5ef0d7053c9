// Services from one TOML file or from every *.toml of a folder, followed by inotify.
//
// What cannot be read is not believed: a broken file keeps its last good services, a missing or
// empty single path keeps everything. A file that is gone from a readable folder is gone. A file that
// is being written keeps what it said until its writer is done (sources/file_set.h).
#pragma once

#include <memory>
#include <optional>
#include <string>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include "sources/source.h"

namespace lb {

struct FileSourceConfig {
  std::string path;  // a file, or a folder of *.toml

  bool operator==(const FileSourceConfig&) const = default;
};

class FileSource final : public Source {
 public:
  // `saved`: the last good snapshot of an earlier run; its services stand in for a file that is
  // broken at start.
  FileSource(asio::io_context& io, FileSourceConfig config,
             std::optional<Snapshot> saved = std::nullopt);
  ~FileSource() override;

  asio::awaitable<Result<Snapshot>> next() override;
  [[nodiscard]] SourceStatus status() const override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lb
