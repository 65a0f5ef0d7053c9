// A real lbd in a sandbox, and lbctl beside it. What lbctl prints is given as values, so that tests
// need no JSON library.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "support/process.h"
#include "support/sandbox.h"

namespace lb::test {

struct ListedBackend {
  std::string id, host, address;  // address:port
  std::string state, reason, since;
  int weight = 0, effective_weight = 0;
  std::int64_t active = -1;  // -1: null
  std::int64_t total = 0;
};

struct ListedService {
  std::string name, listen, condition, text;
  std::vector<ListedBackend> backends;
};

// The value at a JSON pointer ("/problems/0/text") as text: of strings the plain content. "(none)"
// when it is absent, and "(no JSON)" when that is no JSON.
std::string json_at(const std::string& json, const std::string& pointer);
int json_size(const std::string& json, const std::string& pointer);  // -1: no such list

class Daemon {
 public:
  explicit Daemon(const Sandbox& sandbox);
  // Elsewhere than in the sandbox itself: files in `folder`.
  void live_in(const std::string& folder, const std::string& its_cgroup,
               const std::string& its_bpffs);

  // Beside the flags that keep lbd in its sandbox: sources, [drain], ...
  void configure(const std::string& toml) const { replace_file(config_path(), toml); }
  void reload() const;

  // Returns when lbd answers and has read its files; a test failure and false when it does not start.
  bool start(const Command& more_flags = {}) { return launch(command("run", more_flags)); }
  bool launch(const Command& command);  // likewise, for another command than `run`
  void kill();                          // SIGKILL
  int stop();                           // SIGTERM; the exit code
  Finished run_to_its_end(const Command& more_flags = {}) const;  // for what must not start
  [[nodiscard]] Command command(std::string_view verb, const Command& more_flags = {}) const;
  // `lbd VERB WORDS` without a configuration file, in the sandbox.
  [[nodiscard]] Command preset(std::string_view verb, const Command& words) const;

  // `lbctl --socket ... WORDS`.
  [[nodiscard]] Finished ctl(const Command& words) const;
  [[nodiscard]] std::string json(const Command& words) const;  // with --json; "" when it failed
  [[nodiscard]] std::vector<ListedService> list() const;
  // With condition "(none)", state "(none)": not listed.
  [[nodiscard]] ListedService service(std::string_view name) const;
  [[nodiscard]] ListedBackend backend(std::string_view service, std::string_view address) const;

  [[nodiscard]] bool running() const { return process_ && process_->running(); }
  [[nodiscard]] pid_t pid() const { return process_ ? process_->pid() : -1; }
  [[nodiscard]] std::string log() const { return read_text(folder_ + "/lbd.log"); }
  [[nodiscard]] std::string config_path() const { return folder_ + "/lbd.toml"; }
  [[nodiscard]] std::string socket() const { return runtime_dir + "/lbd.sock"; }

  std::string runtime_dir, state_dir, cgroup, bpffs;
  Command prefix;        // "setpriv ...": what runs lbd
  std::string lbd_path;  // as built

 private:
  [[nodiscard]] bool listens() const;
  [[nodiscard]] bool files_are_read() const;

  std::string folder_;
  std::unique_ptr<Process> process_;
};

// lbd or lbctl, as built; the variable LB_BIN_DIR names the folder of others, e.g. of those with
// sanitizers.
std::string program(std::string_view name);

}  // namespace lb::test
