#include "base/spawn.h"

#include <spdlog/spdlog.h>
#include <boost/asio/error.hpp>
#include <boost/system/system_error.hpp>

namespace lb {

void root_ended(asio::io_context& io, const std::string& name, const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    spdlog::critical("part={} died: {}", name, e.what());
  }
  io.stop();
}

void cancelled_root_ended(asio::io_context& io, const std::string& name,
                          const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const boost::system::system_error& e) {
    if (e.code() == asio::error::operation_aborted) return;
  } catch (...) {
  }
  root_ended(io, name, error);
}

}  // namespace lb
