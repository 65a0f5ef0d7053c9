#include "base/direct_socket.h"

#include <sys/socket.h>

#include <atomic>

namespace lb {
namespace {

std::atomic<bool> asked{false};

}  // namespace

void make_direct(int socket) noexcept {
  ::setsockopt(socket, SOL_SOCKET, SO_PRIORITY, &kDirectPriority, sizeof kDirectPriority);
}

void dial_directly() noexcept { asked = true; }

void make_direct_if_asked(int socket) noexcept {
  if (asked) make_direct(socket);
}

}  // namespace lb
