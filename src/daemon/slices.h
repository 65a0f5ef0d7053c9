// What is done for many services, a slice at a time: between two of them others get their turn.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "model/service.h"

namespace lb {

namespace asio = boost::asio;

// Services that are read from the kernel in a millisecond or two.
constexpr std::size_t kSlice = 64;

// `visit` gets a span of keys; what it refers to outlives the coroutine.
template <class Visit>
asio::awaitable<void> in_slices(std::vector<ServiceKey> keys, Visit visit) {
  for (std::size_t at = 0; at < keys.size(); at += kSlice) {
    if (at > 0) co_await asio::post(asio::use_awaitable);
    visit(std::span<const ServiceKey>(keys).subspan(at, std::min(kSlice, keys.size() - at)));
  }
}

}  // namespace lb
