#include "tools/lbctl/options.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <vector>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "model/service.h"

namespace lb::lbctl {
namespace {

constexpr std::array<std::string_view, 19> kOptionsWithValue{
    "--socket",   "--service", "--timeout",       "--accept",        "--etcd",
    "--api",      "--ca",      "--cert",          "--key",           "--username",
    "--prefix",   "--name",    "--password-file", "--drain-timeout", "--address",
    "--interval", "--check",   "--ready-timeout", "--state"};

// CLI11 hands an option of the program up from behind the noun, but none of a command down from
// before it. With the noun first, options may stand anywhere.
std::vector<std::string> noun_first(std::span<const std::string> args) {
  std::vector<std::string> out(args.begin(), args.end());
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (out[i] == "--") break;
    if (out[i].rfind('-', 0) != 0) {
      std::rotate(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(i),
                  out.begin() + static_cast<std::ptrdiff_t>(i) + 1);
      break;
    }
    if (std::find(kOptionsWithValue.begin(), kOptionsWithValue.end(), out[i]) !=
        kOptionsWithValue.end())
      ++i;
  }
  return out;
}

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "";
}

// What stands behind the first "--" is the command that `register` runs, and none of our options.
// Null: there is no "--".
std::optional<std::vector<std::string>> cut_command(std::vector<std::string>& args) {
  const auto dashes = std::find(args.begin(), args.end(), "--");
  if (dashes == args.end()) return std::nullopt;
  std::vector<std::string> out(dashes + 1, args.end());
  args.erase(dashes, args.end());
  return out;
}

class Parser {
 public:
  explicit Parser(const Env& env) {
    options_.socket = env.default_socket;
    app_.name("lbctl");
    app_.fallthrough();
    app_.require_subcommand(1);
    app_.set_version_flag("--version", "lbctl " LB_VERSION);
    app_.add_option("--socket", options_.socket, "lbd's socket (also: LBD_SOCKET)")
        ->type_name("PATH")
        ->capture_default_str();
    app_.add_flag("--json", options_.json, "print JSON (the schema is that of the HTTP API)");
    app_.footer(
        "Exit codes: 0 ok, 1 failed, 2 usage, 3 lbd unreachable, 4 timed out waiting.\n"
        "'lbctl COMMAND --help' shows an example.");
    add_reading();
    add_writing();
    CLI::App* sub = command("register",
                            "keep a backend in etcd while the COMMAND behind -- runs, and drain it "
                            "before that is stopped",
                            "register --prefix /services/web --address 10.0.0.1:8023 -- python3 -m "
                            "http.server 8023");
    register_.add_to(*sub);
  }

  tl::expected<Options, int> parse(Env& env, std::span<const std::string> args) {
    std::vector<std::string> reversed = noun_first(args);
    if (!reversed.empty() && reversed[0].rfind('-', 0) != 0 && !knows(reversed[0])) {
      env.err << fmt::format("lbctl: no command '{}'; there is {}\n", reversed[0], commands());
      return tl::unexpected(kExitUsage);
    }
    if (!reversed.empty() && reversed[0] == "register") {
      auto command = cut_command(reversed);
      if (command && command->empty()) {
        env.err << "lbctl: no command behind --\n";
        return tl::unexpected(kExitUsage);
      }
      command_ = std::move(command).value_or(std::vector<std::string>{});
    }
    std::reverse(reversed.begin(), reversed.end());  // CLI11 pops from the back
    try {
      app_.parse(std::move(reversed));
      options_.command = app_.get_subcommands().at(0)->get_name();
    } catch (const CLI::ParseError& error) {
      return tl::unexpected(app_.exit(error, env.out, env.err) == 0 ? kExitOk : kExitUsage);
    }
    if (Result<> valid = check(); !valid) {
      env.err << fmt::format("{}\nRun with --help for more information.\n",
                             valid.error().message());
      return tl::unexpected(kExitUsage);
    }
    return options_;
  }

 private:
  [[nodiscard]] std::string commands() const {
    std::string out;
    for (const CLI::App* sub : app_.get_subcommands(nullptr))
      out += (out.empty() ? "" : ", ") + sub->get_name();
    return out;
  }

  [[nodiscard]] bool knows(const std::string& name) const {
    const auto all = app_.get_subcommands(nullptr);
    return std::any_of(all.begin(), all.end(), [&](auto* sub) { return sub->get_name() == name; });
  }

  CLI::App* command(const std::string& name, const std::string& what, const std::string& example) {
    CLI::App* sub = app_.add_subcommand(name, what);
    sub->fallthrough();
    sub->footer("Every command takes --socket PATH and --json.\nExample: lbctl " + example);
    return sub;
  }

  void add_reading() {
    command("list", "services and their backends", "list web")
        ->add_option("filter", options_.subject,
                     "part of a name, address, source, host, state or condition")
        ->type_name("FILTER");
    command("status", "lbd itself: dataplane, problems, drains", "status");
    command("sources", "where the backends come from", "sources --json");
    command("listeners", "of an updater: who listens, how far they are, their connections",
            "listeners host-7 --socket /run/lbd-updater/lbd.sock")
        ->add_option("filter", options_.subject,
                     "part of a name or address: shows the connections of each backend, too")
        ->type_name("FILTER");
    command("explain", "what a connect to this address would do now",
            "explain 127.0.0.1:8080, or: lbctl explain udp://[::1]:53")
        ->add_option("address", options_.subject, "[tcp://|udp://]address:port")
        ->type_name("ADDR:PORT")
        ->required();
    command("doctor", "what this kernel and these privileges allow; needs no lbd", "doctor");
  }

  void add_writing() {
    CLI::App* drain = command("drain", "no new connections to a backend or host",
                              "drain 10.0.0.1:9001 --wait --timeout 60s");
    add_target(drain);
    drain->add_flag("--wait", options_.wait, "return when no connection is left");
    drain
        ->add_option("--timeout", timeout_,
                     "stop waiting after this time (exit 4, the drain stays)")
        ->type_name("D");
    drain->add_flag("--terminate", options_.terminate,
                    "destroy the connections left at --timeout, else at drain.timeout");
    add_fleet(drain);
    CLI::App* undrain = command("undrain", "end a drain", "undrain 10.0.0.1:9001");
    add_target(undrain);
    add_fleet(undrain);
    CLI::App* resync = command("resync", "believe that the backends missing from a source are gone",
                               "resync --accept etcd");
    add_reason(resync);
    CLI::App* trust =
        command("trust", "whose drains of the fleet are taken; with a name: take them",
                "trust updater-1:7676");
    add_reason(trust);
    trust
        ->add_option("who", options_.subject,
                     "an updater that shows another key than before, or a key")
        ->type_name("UPDATER|KEY");
    trust->add_flag("--forget", options_.forget, "trust it no more");
    resync->add_option("--accept", options_.subject, "the source, as 'lbctl sources' names it")
        ->type_name("SOURCE")
        ->required();
  }

  void add_fleet(CLI::App* sub) {
    sub->add_flag("--fleet", options_.fleet, "at an updater: on every listener that it has");
  }

  void add_reason(CLI::App* sub) {
    sub->add_option("--reason", options_.reason, "why, for lbd's log")->type_name("TEXT");
  }

  void add_target(CLI::App* sub) {
    add_reason(sub);
    sub->add_option("target", options_.subject, "a backend's ADDR:PORT, or a host")
        ->type_name("TARGET")
        ->required();
    sub->add_option("--service", options_.service, "only in this service (name or ADDR:PORT)")
        ->type_name("S");
  }

  Result<> check() {
    if (!timeout_.empty()) {
      LB_TRY(options_.timeout, parse_duration(timeout_));
      if (!options_.wait && !options_.terminate)
        return fail("--timeout bounds --wait or --terminate: give one of them");
    }
    if (options_.fleet && options_.terminate)
      return fail("--fleet drains; it does not --terminate: do that on the host that is left");
    if (options_.command == "register") {
      LB_TRY(options_.registration, register_.check(command_, host_name()));
    }
    if (options_.forget && options_.subject.empty())
      return fail("--forget needs the UPDATER or KEY that is not to be trusted any more");
    if (options_.command == "explain") LB_CHECK(ServiceKey::parse(options_.subject));
    return {};
  }

  CLI::App app_{"Shows and steers a running lbd."};
  Options options_;
  std::string timeout_;
  RegisterFlags register_;
  std::vector<std::string> command_;  // COMMAND of register
};

}  // namespace

tl::expected<Options, int> parse_options(Env& env, std::span<const std::string> args) {
  return Parser(env).parse(env, args);
}

}  // namespace lb::lbctl
