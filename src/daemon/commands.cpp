#include "daemon/commands.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <functional>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <CLI/CLI.hpp>
#include <boost/asio/io_context.hpp>

#include "base/being_written.h"
#include "base/capabilities.h"
#include "base/direct_socket.h"
#include "base/file.h"
#include "base/loop_watch.h"
#include "daemon/app.h"
#include "daemon/dataplane_factory.h"
#include "daemon/logger.h"
#include "daemon/logging.h"
#include "daemon/preset_options.h"
#include "daemon/privileges.h"
#include "daemon/rights.h"
#include "daemon/secrets.h"
#include "daemon/source_factory.h"
#include "daemon/upgrade_check.h"
#include "daemon/yield_users.h"
#include "ebpf/hooks.h"
#include "reconcile/held_ports.h"

namespace lb {
namespace {

template <class T>
T or_throw(Result<T> result) {
  if (!result) throw StartError(result.error());
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

struct Arguments {
  std::string config = kDefaultConfig;
  Overrides overrides;
  bool check_upgrade = false;
};

void add_overrides(CLI::App& command, Overrides& o) {
  const char* group = "Instead of what the configuration says";
  command.add_option("--runtime-dir", o.runtime_dir, "Folder of the socket lbd.sock")->group(group);
  command.add_option("--state-dir", o.state_dir, "Folder of saved snapshots and drains")
      ->group(group);
  command.add_option("--cgroup", o.cgroup, "cgroup2 folder whose programs are balanced")
      ->group(group);
  command.add_option("--bpffs", o.bpffs, "Folder for pinned programs and maps, on a bpffs")
      ->group(group);
  command.add_option("--dataplane", o.dataplane, "auto, ebpf, ipvs or none")->group(group);
  command.add_option("--log-level", o.log_level, "trace, debug, info, warn, error or critical")
      ->group(group);
}

Result<Config> read_config(const Arguments& arguments) {
  LB_TRY(Config config, load_config(arguments.config));
  return with_overrides(std::move(config), arguments.overrides);
}

LoopHealth health_of(const LoopWatch& watch) {
  LoopHealth out;
  out.longest_stall = std::chrono::duration_cast<std::chrono::microseconds>(watch.longest());
  if (out.longest_stall.count() > 0)
    out.stalled_at = std::chrono::time_point_cast<SysTime::duration>(watch.when());
  out.dropped_log_lines = dropped_log_lines();
  return out;
}

// Each once. `warned`: those of the configuration before.
void warn_of_secrets(const Config& config, std::vector<std::string>& warned) {
  auto now = secret_warnings(config);
  for (const std::string& warning : now)
    if (std::find(warned.begin(), warned.end(), warning) == warned.end())
      spdlog::warn("{}", warning);
  warned = std::move(now);
}

// `name` is what the configuration is called in `lbctl status`; `read` is asked again at SIGHUP.
int run_daemon(const std::string& name, const std::function<Result<Config>()>& read,
               bool exit_without_config) {
  const Config config = or_throw(read());
  // Before the first thread: each has capabilities and a filter of its own.
  const auto refused = give_up_privileges(config.dataplane.scope == Scope::All);
  setup_logging(config.daemon);
  dial_directly();
  for (const std::string& what : refused) spdlog::warn("{}", what);
  asio::io_context io{1};
  LoopWatch watch;
  std::vector<std::string> warned;
  warn_of_secrets(config, warned);
  AppParts parts;
  parts.loop_health = [&watch] { return health_of(watch); };
  parts.open_dataplane = open_dataplane;
  parts.remove_former_dataplane = remove_former_dataplane;
  parts.make_source = make_source;
  parts.reload = [&]() -> Result<Config> {
    if (is_being_written(name)) return fail(EBUSY, name + " is being written");
    auto fresh = read();
    if (fresh) warn_of_secrets(*fresh, warned);
    return fresh;
  };
  parts.exit_without_config = exit_without_config;
  const auto app = or_throw(App::open(io, config, name, std::move(parts)));
  app->start();
  bool asked = false;
  app->on_stopped([&] { asked = true; });
  watch.run(io);
  or_throw(app->finish(detach_dataplane));
  // A part that died has stopped the loop: the service manager shall start us again.
  return asked ? kExitOk : kExitFailed;
}

int run(const Arguments& arguments) {
  return run_daemon(
      arguments.config, [&] { return read_config(arguments); }, false);
}

int say_what_an_upgrade_changes(const Config& config) {
  auto addresses = or_throw(read_local_addresses());
  std::sort(addresses.begin(), addresses.end());
  const UpgradeCheck found = check_upgrade(config, {std::move(addresses), true});
  std::cout << render(found);
  const bool same = found.narrowed.empty() && found.unknown.empty() && found.certificates.empty();
  return same ? kExitOk : kExitFailed;
}

// A preset's words are checked before anything starts: what is wrong with them is a usage error.
int run_preset(const std::string& command, const std::string& words,
               const std::function<Result<Config>()>& make, const Arguments& arguments,
               bool exit_without_config = false) {
  if (const auto config = make(); !config) {
    std::cerr << fmt::format("lbd {}: {}\n", command, config.error().message());
    return kExitUsage;
  }
  const auto read = [&]() -> Result<Config> {
    LB_TRY(Config config, make());
    return with_overrides(std::move(config), arguments.overrides);
  };
  if (arguments.check_upgrade) return say_what_an_upgrade_changes(or_throw(read()));
  return run_daemon(fmt::format("lbd {} {}", command, words), read, exit_without_config);
}

int run_merlion(const MerlionPreset& preset, const Arguments& arguments) {
  return run_preset(
      "merlion", fmt::format("{}", fmt::join(preset.prefixes, " ")),
      [&] { return merlion_config(preset); }, arguments, preset.exit_without_config);
}

int run_updater(const UpdaterPreset& preset, const std::string& file, const Arguments& arguments) {
  if (file.empty())
    return run_preset(
        "updater", fmt::format("-m {}", fmt::join(preset.marathons, ",")),
        [&] { return updater_config(preset); }, arguments);
  const auto read = [&]() -> Result<Config> {
    LB_TRY(Config config, load_config(file));
    make_updater(config, preset.listen);
    return with_overrides(std::move(config), arguments.overrides);
  };
  return run_daemon(file, read, false);
}

int run_listener(const ListenerPreset& preset, const Arguments& arguments) {
  return run_preset(
      "listener", fmt::format("-u {}", fmt::join(preset.updaters, ",")),
      [&] { return listener_config(preset); }, arguments);
}

int run_logger_command(const LoggerPreset& preset, const std::string& log_level) {
  auto config = listener_config(preset.listener);
  auto level = parse_log_level(log_level);
  if (!config || !level) {
    std::cerr << fmt::format("lbd logger: {}\n",
                             !config ? config.error().message() : level.error().message());
    return kExitUsage;
  }
  setup_logging({.log_level = *level});
  dial_directly();
  return run_logger(std::get<RelaySourceConfig>(config->sources.front().settings), preset.full,
                    std::cout);
}

int check_config(const std::string& path, const Arguments& arguments) {
  auto config = load_config(path);
  if (config) config = with_overrides(*std::move(config), arguments.overrides);
  if (!config) {
    std::cerr << config.error().message() << '\n';
    return kExitFailed;
  }
  std::cout << fmt::format("{}: ok, {} sources\n", path, config->sources.size());
  for (const SourceConfig& source : config->sources) {
    std::cout << fmt::format("  {} ({}) may claim ports {} at {}\n", source.name, type_of(source),
                             source.ports.to_string(),
                             reach_for(source, *config)->claims.to_string());
    if (source.backends)
      std::cout << fmt::format("    and have backends in {}\n",
                               fmt::join(source.backends->texts(), ", "));
  }
  std::cout << fmt::format("  listeners that keep their port: those of {}\n",
                           describe(resolve_yield_to(config->dataplane.yield_to)));
  for (const auto& [may, group] :
       {std::pair("read and drain", config->api.group), std::pair("read", config->api.read_group)})
    if (!group.empty())
      std::cout << fmt::format("  members of {} may {}{}\n", group, may,
                               resolve_group(group) ? "" : ": this host has no such group");
  for (const std::string& warning : secret_warnings(*config))
    std::cout << fmt::format("  warning: {}\n", warning);
  if (arguments.check_upgrade) return say_what_an_upgrade_changes(*config);
  return kExitOk;
}

int detach(const Arguments& arguments) {
  // Without a configuration the defaults and flags say what is meant.
  Config config;
  if (auto loaded = load_config(arguments.config))
    config = *std::move(loaded);
  else if (arguments.config != kDefaultConfig ||
           loaded.error().code != std::errc::no_such_file_or_directory)
    throw StartError(loaded.error());
  config = or_throw(with_overrides(std::move(config), arguments.overrides));
  setup_logging(config.daemon);
  // A running lbd would only put everything back.
  std::optional<FolderLock> lock;
  if (auto taken = FolderLock::take(config.daemon.state_dir))
    lock = *std::move(taken);
  else if (taken.error().code == std::errc::resource_unavailable_try_again)
    throw StartError(taken.error().context, "stop it first, or name another one with --state-dir");
  or_throw(detach_dataplane(config));
  // The ports are free: who listens there when lbd starts again was there first.
  ::unlink(HeldPorts::path_in(config.daemon.state_dir).c_str());
  std::cout << fmt::format("nothing of lbd is left in the kernel (bpffs folder {})\n",
                           config.dataplane.bpffs);
  return kExitOk;
}

}  // namespace

StartError::StartError(const Error& error)
    : StartError(error.message(), hint_for(error, effective_capabilities())) {}

std::string hint_for(const Error& error, std::uint64_t capabilities) {
  if (error.code == std::errc::permission_denied && error.context.starts_with("mkdir "))
    return "run lbd as root, or name folders that it may write with --state-dir and --runtime-dir";
  const bool bpf = error.context.find("BPF") != std::string::npos;
  if (bpf || error.code == std::errc::operation_not_permitted ||
      error.code == std::errc::permission_denied) {
    constexpr auto kMore =
        "`lbctl doctor` says what is missing, and --dataplane none runs without the kernel";
    if (const std::string missing = missing_for_bpf(capabilities); !missing.empty())
      return fmt::format(
          "{} not held: run lbd as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON and "
          "folders "
          "that it may write; {}",
          missing, kMore);
    // Rights are not what is missing, and root would be told the same.
    if (bpf) return fmt::format("{}; {}", bpf::explain_refusal(error, capabilities), kMore);
  }
  if (error.code == std::errc::read_only_file_system)
    return "name folders that can be written with --state-dir and --runtime-dir";
  if (error.code == std::errc::address_in_use)
    return "is another program using the socket? name another folder with --runtime-dir";
  return {};
}

Result<Config> with_overrides(Config config, const Overrides& o) {
  if (o.runtime_dir) config.daemon.runtime_dir = *o.runtime_dir;
  if (o.state_dir) config.daemon.state_dir = *o.state_dir;
  if (o.cgroup) config.dataplane.cgroup = *o.cgroup;
  if (o.bpffs) config.dataplane.bpffs = *o.bpffs;
  if (o.dataplane) {
    auto mode = parse_dataplane_mode(*o.dataplane);
    if (!mode) return fail(EINVAL, "--dataplane: " + mode.error().message());
    config.dataplane.mode = *mode;
  }
  if (o.log_level) {
    auto level = parse_log_level(*o.log_level);
    if (!level) return fail(EINVAL, "--log-level: " + level.error().message());
    config.daemon.log_level = *level;
  }
  return config;
}

int run_command(int argc, const char* const* argv) {
  CLI::App cli{
      "lbd balances connections to local service ports in the kernel.\n"
      "It reads backends from Marathon, etcd, files or another lbd, and needs no proxy in between; "
      "lbctl shows and drains.",
      "lbd"};
  cli.set_version_flag("--version", std::string("lbd ") + LB_VERSION);
  cli.require_subcommand(1);
  cli.footer(
      "A first try: lbd check-config FILE, then lbd run --config FILE.\n"
      "Coming from Marathoner: lbd updater -m URL, lbd listener -u HOST:7676.\n"
      "Coming from Merlion: lbd merlion PREFIX.");

  Arguments arguments;
  auto* run_cli = cli.add_subcommand("run", "Run the daemon in the foreground");
  run_cli->add_option("--config", arguments.config, "Configuration file")->capture_default_str();
  add_overrides(*run_cli, arguments.overrides);

  MerlionPreset merlion;
  auto* merlion_cli = cli.add_subcommand(
      "merlion", "Serve Merlion's services: all that is needed is the prefix of the configuration");
  add_merlion_options(*merlion_cli, merlion);
  add_overrides(*merlion_cli, arguments.overrides);
  constexpr auto kCheckUpgrade =
      "Say which of the services that are saved would be refused, or be for local clients only, "
      "and "
      "which line allows them; nothing is started";
  merlion_cli->add_flag("--check-upgrade", arguments.check_upgrade, kCheckUpgrade);

  std::string checked;
  UpdaterPreset updater;
  std::string updater_file;
  auto* updater_cli = cli.add_subcommand(
      "updater", "Read Marathon (or any sources) and serve what is there to listeners");
  add_updater_options(*updater_cli, updater, updater_file);
  add_overrides(*updater_cli, arguments.overrides);

  ListenerPreset listener;
  auto* listener_cli =
      cli.add_subcommand("listener", "Balance on this host what updaters say, in the kernel");
  add_listener_options(*listener_cli, listener);
  add_overrides(*listener_cli, arguments.overrides);
  listener_cli->add_flag("--check-upgrade", arguments.check_upgrade, kCheckUpgrade);

  LoggerPreset logger;
  std::string logger_level = "warn";
  auto* logger_cli =
      cli.add_subcommand("logger", "Print each change that updaters tell as a line of JSON");
  add_logger_options(*logger_cli, logger);
  logger_cli
      ->add_option("--log-level", logger_level, "Of what is said on stderr: trace to critical")
      ->capture_default_str();

  auto* check_cli = cli.add_subcommand("check-config", "Say what is wrong with a configuration");
  check_cli->add_option("FILE", checked, "Configuration file")->required();
  check_cli->add_flag("--upgrade", arguments.check_upgrade, kCheckUpgrade);
  check_cli->add_option("--state-dir", arguments.overrides.state_dir,
                        "Folder of the saved snapshots, instead of what the file says");

  auto* detach_cli =
      cli.add_subcommand("detach", "Remove everything that lbd has put into the kernel");
  detach_cli->add_option("--config", arguments.config, "Configuration file")->capture_default_str();
  add_overrides(*detach_cli, arguments.overrides);

  try {
    cli.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return cli.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  if (*run_cli) return run(arguments);
  if (*merlion_cli) return run_merlion(merlion, arguments);
  if (*updater_cli) return run_updater(updater, updater_file, arguments);
  if (*listener_cli) return run_listener(listener, arguments);
  if (*logger_cli) return run_logger_command(logger, logger_level);
  if (*check_cli) return check_config(checked, arguments);
  return detach(arguments);
}

}  // namespace lb
