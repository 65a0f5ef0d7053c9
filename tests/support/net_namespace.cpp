#include "support/net_namespace.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <stdexcept>
#include <thread>

#include <fmt/format.h>

#include "support/sandbox.h"

namespace lb::test {

void run_or_throw(const Command& command) {
  const Finished done = lb::test::run(command);
  if (done.code != 0)
    throw std::runtime_error(
        fmt::format("{}: exit {}: {}", fmt::join(command, " "), done.code, done.all()));
}

NetNamespace::NetNamespace() {
  // unshare() moves the calling thread alone; the namespace then lives by the descriptor.
  std::thread([this] {
    if (::unshare(CLONE_NEWNET) != 0) return;
    bring_up_loopback();
    fd_ = UniqueFd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  }).join();
  if (!fd_) throw std::runtime_error("cannot make a network namespace");
}

std::string NetNamespace::path() const {
  return fmt::format("/proc/{}/fd/{}", ::getpid(), fd_.get());
}

Command NetNamespace::wrap(Command command) const {
  command.insert(command.begin(), {"nsenter", "--net=" + path(), "--"});
  return command;
}

void NetNamespace::run(const Command& command) const { run_or_throw(wrap(command)); }

}  // namespace lb::test
