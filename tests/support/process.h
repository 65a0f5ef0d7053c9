// Child processes of a test: known by pid only, never outliving it, with their output in a file that a
// failed test shows.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace lb::test {

using Command = std::vector<std::string>;

struct Finished {
  int code = -1;  // as a shell would say: 128 + signal when killed
  std::string out, err;
  [[nodiscard]] std::string all() const { return out + err; }
};

class Process {
 public:
  // Both output streams are appended to `log`.
  Process(const Command& command, std::string log);
  ~Process();  // SIGKILL; prints the log when the test has failed
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] bool running();
  void signal(int number) const;
  // The exit code; nullopt when it still runs after `limit`.
  std::optional<int> wait(std::chrono::milliseconds limit = std::chrono::seconds(10));
  void kill();  // SIGKILL, and waits for the end
  [[nodiscard]] std::string log() const;

 private:
  pid_t pid_ = -1;
  std::string log_path_;
  std::optional<int> code_;
};

// Runs to the end; killed (code 137) after `limit`.
Finished run(const Command& command, std::chrono::milliseconds limit = std::chrono::seconds(20));

std::string read_text(const std::string& path);
// As an editor does: a new file, renamed over the old one.
void replace_file(const std::string& path, const std::string& text);

}  // namespace lb::test
