// Runs histories. `--seed S` repeats one and tells it line by line.
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>
#include <CLI/CLI.hpp>

#include "sim/history.h"

namespace lb::sim {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::uint64_t first = 1, seeds = 1'000;
  std::optional<std::uint64_t> seed;
  unsigned jobs = std::thread::hardware_concurrency();
  bool go_on = false;
  std::uint64_t known = 0;
  std::vector<std::string> without;
};

// In memory: what a history saves is small, and there are many.
fs::path make_folder_for(pid_t pid) {
  const fs::path base = fs::exists("/dev/shm") ? fs::path("/dev/shm") : fs::temp_directory_path();
  const fs::path folder = base / fmt::format("lbd-sim-{}", pid);
  fs::remove_all(folder);
  fs::create_directory(folder);
  return folder;
}

bool run_one(const Options& options, std::uint64_t seed, const fs::path& folder, bool trace) {
  for (const auto& entry : fs::directory_iterator(folder)) fs::remove_all(entry);
  History history(seed, folder.string(), trace, {options.without.begin(), options.without.end()});
  try {
    history.run();
    return true;
  } catch (const Violation& violation) {
    std::cout << fmt::format("seed {} fails after {} events: {}\n  tools/sim --seed {}{}\n", seed,
                             history.steps(), violation.what(), seed,
                             options.without.empty()
                                 ? ""
                                 : fmt::format(" --without {}", fmt::join(options.without, ",")))
              << std::flush;
    history.describe();
  }
  return false;
}

// Every jobs-th seed; the exit status is how many failed, 200 at most.
int run_share(const Options& options, unsigned share) {
  const fs::path folder = make_folder_for(::getpid());
  std::uint64_t failed = 0;
  for (std::uint64_t i = share;
       i < options.seeds && (failed == 0 || options.go_on || options.known > 0); i += options.jobs)
    if (!run_one(options, options.first + i, folder, false)) ++failed;
  fs::remove_all(folder);
  return static_cast<int>(std::min<std::uint64_t>(failed, 200));
}

int run_all(const Options& options) {
  const auto begin = std::chrono::steady_clock::now();
  std::vector<pid_t> children;
  for (unsigned share = 0; share < options.jobs; ++share) {
    const pid_t pid = ::fork();
    if (pid == 0) ::_exit(run_share(options, share));
    if (pid > 0) children.push_back(pid);
  }
  bool good = children.size() == options.jobs;
  std::uint64_t failed = 0;
  for (const pid_t child : children) {
    int status = 0;
    if (::waitpid(child, &status, 0) == child && WIFEXITED(status)) {
      failed += static_cast<std::uint64_t>(WEXITSTATUS(status));
      continue;
    }
    good = false;
    std::cout << fmt::format("a share of the histories died of signal {}\n", WTERMSIG(status));
  }
  good = good && failed <= options.known;
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  std::cout << fmt::format("{} histories, seeds {} to {}: {} in {:.1f} s, {:.0f} a second\n",
                           options.seeds, options.first, options.first + options.seeds - 1,
                           failed == 0 ? std::string("all good") : fmt::format("{} fail", failed),
                           took.count(), static_cast<double>(options.seeds) / took.count());
  return good ? 0 : 1;
}

int run(int argc, char** argv) {
  Options options;
  CLI::App app{
      "Random histories of one lbd in virtual time. Exit code 1: an invariant did not hold."};
  app.add_option("--seeds", options.seeds, "How many histories")->capture_default_str();
  app.add_option("--from", options.first, "The first seed")->capture_default_str();
  app.add_option("--seed", options.seed, "Only this one, told line by line");
  app.add_option("--jobs", options.jobs, "Processes")
      ->capture_default_str()
      ->check(CLI::Range(1, 256));
  app.add_option("--without", options.without, "Kinds of faults to leave out")
      ->delimiter(',')
      ->check(CLI::IsMember(std::vector<std::string>(std::begin(kFaults), std::end(kFaults))));
  app.add_option("--known", options.known,
                 "So many may fail: of faults that are known and not repaired yet");
  app.add_flag("--go-on", options.go_on, "Do not stop at the first that fails");
  CLI11_PARSE(app, argc, argv);
  spdlog::set_level(options.seed ? spdlog::level::warn : spdlog::level::off);
  spdlog::set_pattern("             lbd: %v");
  if (!options.seed) return run_all(options);
  const fs::path folder = make_folder_for(::getpid());
  const bool good = run_one(options, *options.seed, folder, true);
  fs::remove_all(folder);
  return good ? 0 : 1;
}

}  // namespace
}  // namespace lb::sim

int main(int argc, char** argv) { return lb::sim::run(argc, argv); }
