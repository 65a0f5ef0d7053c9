// Where backends come from. A source delivers whole snapshots, never events; what it cannot read it
// reports and skips, and when it cannot read at all it delivers nothing, so that the last good
// snapshot stays in force.
#pragma once

#include <string>

#include <boost/asio/awaitable.hpp>

#include "base/result.h"
#include "model/service.h"

namespace lb {

namespace asio = boost::asio;

// How a source is doing, for `lbctl sources`.
struct SourceStatus {
  bool connected = false;  // etcd: the watch is up; file: the path is readable
  std::string error;       // the last failure while it lasts; empty when all is well
  std::string position;    // endpoint and revision, path and number of files: for people
};

class Source {
 public:
  virtual ~Source() = default;

  // Suspends until there is a complete snapshot that differs from the one delivered before in
  // something that matters. An error means: nothing new could be read, the last snapshot stays;
  // the caller calls again at once (the source itself backs off and waits inside next()).
  // Cancellation is asio's; one call at a time.
  virtual asio::awaitable<Result<Snapshot>> next() = 0;

  [[nodiscard]] virtual SourceStatus status() const = 0;
};

}  // namespace lb
