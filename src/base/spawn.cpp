#include "base/spawn.h"

#include <spdlog/spdlog.h>

namespace lb {

void root_ended(asio::io_context& io, const std::string& name, const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    spdlog::critical("part={} died: {}", name, e.what());
  }
  io.stop();
}

}  // namespace lb
