// Entry point of the load generator: options, pinning, gate, one JSON line.
#include <cstdio>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#include "modes.h"

namespace {

using namespace lb::bench;

void open_gate() {
  std::puts("ready");
  std::fflush(stdout);
  std::string line;
  std::getline(std::cin, line);
}

int run_client(const Options& options) {
  const Gate gate = options.gate ? Gate(open_gate) : Gate([] {});
  Result result = options.mode == Mode::Connect    ? run_connect(options, gate)
                  : options.mode == Mode::PingPong ? run_pingpong(options, gate)
                                                   : run_bulk(options, gate);
  const char* name = options.mode == Mode::Connect    ? "connect"
                     : options.mode == Mode::PingPong ? "pingpong"
                                                      : "bulk";
  std::puts(result.to_json(name).c_str());
  std::fflush(stdout);
  if (options.gate) {
    std::string rest;
    while (std::getline(std::cin, rest)) {
    }
  }
  return 0;
}

int run(const std::vector<std::string>& args) {
  const Options options = parse_options(args);
  if (options.mode == Mode::Help) {
    std::fputs(usage().c_str(), stdout);
    return 0;
  }
  if (options.cpu) pin_to_cpu(*options.cpu);
  if (options.mode == Mode::Serve) run_server(options);
  return run_client(options);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run({argv + 1, argv + argc});
  } catch (const std::invalid_argument& error) {
    std::fprintf(stderr, "loadgen: %s\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "loadgen: %s\n", error.what());
    return 1;
  }
}
