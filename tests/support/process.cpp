#include "support/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>
#include <system_error>
#include <thread>

#include <gtest/gtest.h>

#include "base/unique_fd.h"
#include "support/patience.h"

namespace lb::test {
namespace {

using Clock = std::chrono::steady_clock;

int exit_code(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// Dies with the thread that starts it. Between fork and exec only calls that a program with threads
// may make.
pid_t start(const Command& command, int out, int err) {
  std::vector<char*> argv;
  for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const pid_t pid = ::fork();
  if (pid < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (pid > 0) return pid;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::dup2(out, STDOUT_FILENO);
  ::dup2(err, STDERR_FILENO);
  ::execvp(argv[0], argv.data());
  ::dprintf(STDERR_FILENO, "cannot run %s: errno %d\n", argv[0], errno);
  ::_exit(127);
}

std::array<UniqueFd, 2> make_pipe() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0)
    throw std::system_error(errno, std::generic_category(), "pipe2");
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

// Reads both pipes until their writers are gone; false when that takes too long.
bool drain_pipes(const UniqueFd& out, const UniqueFd& err, Finished& into, Clock::time_point end) {
  std::array<pollfd, 2> polls{{{out.get(), POLLIN, 0}, {err.get(), POLLIN, 0}}};
  std::array<std::string*, 2> texts{&into.out, &into.err};
  while (polls[0].fd >= 0 || polls[1].fd >= 0) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now());
    if (left.count() <= 0) return false;
    ::poll(polls.data(), polls.size(), static_cast<int>(left.count()));
    for (std::size_t i = 0; i < polls.size(); ++i) {
      if (polls.at(i).revents == 0) continue;
      char buffer[65536];
      const ssize_t n = ::read(polls.at(i).fd, buffer, sizeof buffer);
      if (n > 0)
        texts.at(i)->append(buffer, static_cast<std::size_t>(n));
      else
        polls.at(i).fd = -1;
    }
  }
  return true;
}

}  // namespace

Process::Process(const Command& command, std::string log) : log_path_(std::move(log)) {
  const UniqueFd fd(::open(log_path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!fd) throw std::system_error(errno, std::generic_category(), log_path_);
  pid_ = start(command, fd.get(), fd.get());
}

Process::~Process() {
  kill();
  if (testing::Test::HasFailure()) std::cerr << "--- " << log_path_ << "\n" << log() << "---\n";
}

bool Process::running() { return !wait(std::chrono::milliseconds(0)); }

void Process::signal(int number) const {
  if (!code_) ::kill(pid_, number);
}

std::optional<int> Process::wait(std::chrono::milliseconds limit) {
  const auto end = Clock::now() + patient(limit);
  while (!code_) {
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_)
      code_ = exit_code(status);
    else if (Clock::now() >= end)
      return std::nullopt;
    else
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return code_;
}

void Process::kill() {
  if (code_) return;
  ::kill(pid_, SIGKILL);
  int status = 0;
  ::waitpid(pid_, &status, 0);
  code_ = exit_code(status);
}

std::string Process::log() const { return read_text(log_path_); }

Finished run(const Command& command, std::chrono::milliseconds limit) {
  auto out = make_pipe();
  auto err = make_pipe();
  const pid_t pid = start(command, out[1].get(), err[1].get());
  out[1].reset();
  err[1].reset();
  Finished finished;
  if (!drain_pipes(out[0], err[0], finished, Clock::now() + patient(limit))) ::kill(pid, SIGKILL);
  int status = 0;
  ::waitpid(pid, &status, 0);
  finished.code = exit_code(status);
  return finished;
}

std::string read_text(const std::string& path) {
  std::ostringstream out;
  out << std::ifstream(path, std::ios::binary).rdbuf();
  return out.str();
}

void replace_file(const std::string& path, const std::string& text) {
  const std::string fresh = path + ".new";
  std::ofstream(fresh, std::ios::binary) << text;
  std::filesystem::rename(fresh, path);
}

}  // namespace lb::test
