// The end of each wait of asio's loop, for LoopWatch. The linker puts this function in the place of
// libc's (--wrap), because asio has no hook between its wait and the first handler after it.
#include <sys/epoll.h>

#include <cerrno>

#include "base/loop_watch.h"

extern "C" {

int __real_epoll_wait(int fd, epoll_event* events, int size, int timeout);  // NOLINT(*-identifier)

int __wrap_epoll_wait(int fd, epoll_event* events, int size, int timeout);  // NOLINT(*-identifier)

int __wrap_epoll_wait(int fd, epoll_event* events, int size, int timeout) {  // NOLINT(*-identifier)
  const int count = __real_epoll_wait(fd, events, size, timeout);
  const int error = errno;
  lb::LoopWatch::wait_ended();
  errno = error;
  return count;
}

}  // extern "C"
