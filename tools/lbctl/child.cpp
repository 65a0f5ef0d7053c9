#include "tools/lbctl/child.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include <fmt/format.h>

#include "base/text.h"
#include "base/unique_fd.h"

namespace lb::lbctl {
namespace {

// The loop's handlers must not run in the child, whose end of the loop's pipe is ours. What was ignored
// before us (by nohup, by systemd) stays so.
void drop_handlers() {
  for (int number = 1; number < NSIG; ++number) {
    struct sigaction action {};
    if (::sigaction(number, nullptr, &action) == 0 && action.sa_handler != SIG_IGN)
      ::signal(number, SIG_DFL);
  }
}

// Between fork and exec: only calls that are allowed in a copy of a program with threads.
[[noreturn]] void become(char* const* argv, int tell, pid_t parent, const sigset_t& mask) {
  drop_handlers();
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::_exit(1);  // we died before that was set
  ::sigprocmask(SIG_SETMASK, &mask, nullptr);
  ::execvp(argv[0], argv);
  const int err = errno;
  (void)!::write(tell, &err, sizeof err);
  ::_exit(127);
}

}  // namespace

Result<Child> Child::start(const std::vector<std::string>& command) {
  std::vector<char*> argv;
  argv.reserve(command.size() + 1);
  for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return fail(errno, "pipe");
  const UniqueFd hear(fds[0]);
  UniqueFd tell(fds[1]);
  sigset_t all, before;
  ::sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, &before);
  const pid_t self = ::getpid();
  const pid_t pid = ::fork();
  const int fork_error = errno;
  if (pid == 0) become(argv.data(), tell.get(), self, before);
  tell.reset();
  int err = 0;
  // Ends without a byte when exec succeeded, or there is no child.
  const bool told = ::read(hear.get(), &err, sizeof err) == sizeof err;
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) return fail(fork_error, "fork");
  if (!told) return Child(pid);
  ::waitpid(pid, nullptr, 0);
  return fail(err, fmt::format("run {}", printable(command.front())));
}

void Child::signal(int number) const { ::kill(pid_, number); }

std::optional<int> Child::reap() {
  std::optional<int> code;
  const pid_t whom = ::getpid() == 1 ? -1 : pid_;
  int status = 0;
  for (pid_t ended = 0; !code || whom == -1;) {
    ended = ::waitpid(whom, &status, WNOHANG);
    if (ended <= 0) break;
    if (ended == pid_) code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  return code;
}

}  // namespace lb::lbctl
