#include "options.h"

#include <charconv>
#include <map>
#include <stdexcept>

namespace lb::bench {
namespace {

std::uint64_t parse_number(const std::string& flag, const std::string& text) {
  std::uint64_t value = 0;
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, value);
  if (parsed.ec != std::errc{} || parsed.ptr != end) {
    throw std::invalid_argument(flag + ": '" + text + "' is not a number");
  }
  return value;
}

Mode parse_mode(const std::string& word) {
  static const std::map<std::string, Mode> kModes = {
      {"serve", Mode::Serve}, {"connect", Mode::Connect}, {"pingpong", Mode::PingPong},
      {"bulk", Mode::Bulk},   {"help", Mode::Help},       {"--help", Mode::Help},
      {"-h", Mode::Help},
  };
  const auto found = kModes.find(word);
  if (found == kModes.end()) throw std::invalid_argument(word + ": no such mode, see --help");
  return found->second;
}

ServerKind parse_kind(const std::string& word) {
  static const std::map<std::string, ServerKind> kKinds = {
      {"reply", ServerKind::Reply},
      {"echo", ServerKind::Echo},
      {"sink", ServerKind::Sink},
      {"source", ServerKind::Source},
  };
  const auto found = kKinds.find(word);
  if (found == kKinds.end()) throw std::invalid_argument("--kind: reply, echo, sink or source");
  return found->second;
}

bool set_switch(Options& options, const std::string& flag) {
  if (flag == "--gate") return options.gate = true;
  if (flag == "--down") return options.down = true;
  return false;
}

void set_value(Options& options, const std::string& flag, const std::string& text) {
  const auto number = [&] { return parse_number(flag, text); };
  const auto milliseconds = [&] {
    return std::chrono::milliseconds(static_cast<std::int64_t>(number()));
  };
  if (flag == "--listen") {
    options.listen.push_back(parse_address(text));
  } else if (flag == "--to") {
    options.targets.push_back(parse_address(text));
  } else if (flag == "--kind") {
    options.kind = parse_kind(text);
  } else if (flag == "--count") {
    options.count = number();
  } else if (flag == "--concurrency") {
    options.concurrency = static_cast<std::uint32_t>(number());
  } else if (flag == "--bytes") {
    options.bytes = number();
  } else if (flag == "--duration-ms") {
    options.duration = milliseconds();
  } else if (flag == "--timeout-ms") {
    options.timeout = milliseconds();
  } else if (flag == "--cpu") {
    options.cpu = static_cast<int>(number());
  } else {
    throw std::invalid_argument(flag + ": no such option, see --help");
  }
}

void check(const Options& options) {
  if (options.mode == Mode::Help) return;
  if (options.mode == Mode::Serve) {
    if (options.listen.empty()) throw std::invalid_argument("serve: --listen is missing");
    return;
  }
  if (options.targets.empty()) throw std::invalid_argument("--to is missing");
  if (options.concurrency == 0) throw std::invalid_argument("--concurrency: at least 1");
  if (options.mode == Mode::Bulk && options.bytes == 0 && options.duration.count() == 0) {
    throw std::invalid_argument("bulk: --bytes or --duration-ms is missing");
  }
}

}  // namespace

Options parse_options(std::span<const std::string> args) {
  Options options;
  if (args.empty()) return options;
  options.mode = parse_mode(args[0]);
  for (std::size_t i = 1; i < args.size(); ++i) {
    if (args[i] == "--help" || args[i] == "-h") return Options{};
    if (set_switch(options, args[i])) continue;
    if (i + 1 == args.size()) throw std::invalid_argument(args[i] + ": a value is missing");
    set_value(options, args[i], args[i + 1]);
    ++i;
  }
  check(options);
  return options;
}

std::string usage() {
  return R"(loadgen: one epoll thread that serves or loads TCP ports, for tools/bench/run

loadgen serve    --listen ADDR:PORT [--listen ...] [--kind reply|echo|sink|source]
    reply   64 bytes for each 64 bytes received (default)
    echo    every byte comes back
    sink    reads all; at the client's end of file answers with the count, 8 bytes
    source  writes until the client closes
loadgen connect  --to ADDR:PORT [--to ...] [--count N] [--concurrency C]
    N new connections, C at a time; each sends 64 bytes, reads 64, closes
loadgen pingpong --to ADDR:PORT [--to ...] [--count N] [--concurrency C]
    N round trips of 64 bytes over C connections that are opened before
loadgen bulk     --to ADDR:PORT [--to ...] [--bytes N | --duration-ms T] [--concurrency C] [--down]
    64 KiB writes to a sink over C connections, or reads from a source with --down

Options
  --cpu N          pin to one CPU
  --timeout-ms T   a connection without progress for T is counted as ETIMEDOUT (default 5000)
  --gate           print "ready", wait for a line on stdin, run, print the result, wait for the
                   end of stdin: keeps start and exit of the process out of a CPU measurement

Several --to are used in turn. Clients print one JSON line: count (successes), failed, failures
by errno, elapsed_ns, p50_ns, p99_ns, bytes. A failure is counted, never fatal.
connect: latency is connect() to the last byte of the reply. bulk: latency is per connection.
)";
}

}  // namespace lb::bench
