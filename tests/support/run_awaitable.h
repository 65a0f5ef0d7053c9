// Runs one coroutine on a loop of its own until it ends.
#pragma once

#include <exception>
#include <optional>
#include <utility>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

namespace lb::test {

template <class T>
T run_awaitable(boost::asio::awaitable<T> work) {
  boost::asio::io_context io{1};
  std::optional<T> out;
  std::exception_ptr thrown;
  boost::asio::co_spawn(io, std::move(work), [&](std::exception_ptr error, T value) {
    thrown = std::move(error);
    out = std::move(value);
  });
  io.run();
  if (thrown) std::rethrow_exception(thrown);
  return *std::move(out);
}

inline void run_awaitable(boost::asio::awaitable<void> work) {
  boost::asio::io_context io{1};
  std::exception_ptr thrown;
  boost::asio::co_spawn(io, std::move(work), [&](std::exception_ptr error) { thrown = error; });
  io.run();
  if (thrown) std::rethrow_exception(thrown);
}

}  // namespace lb::test
