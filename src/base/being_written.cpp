#include "base/being_written.h"

#include <fcntl.h>

#include <cerrno>
#include <csignal>

#include "base/unique_fd.h"

namespace lb {

// A lease for reading is refused while there is a writer. It is given back at once, so that none has to
// wait for us; should one come in between, the kernel tells us by a signal that is ignored by default.
bool is_being_written(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!fd || ::fcntl(fd.get(), F_SETSIG, SIGURG) != 0) return false;
  if (::fcntl(fd.get(), F_SETLEASE, F_RDLCK) != 0) return errno == EAGAIN;
  ::fcntl(fd.get(), F_SETLEASE, F_UNLCK);
  return false;
}

}  // namespace lb
