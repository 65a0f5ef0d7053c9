#include "tools/lbctl/doctor.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include <fmt/format.h>

#include "base/capabilities.h"
#include "base/foreign_json.h"
#include "ebpf/hooks.h"
#include "tools/lbctl/client.h"
#include "tools/lbctl/show.h"
#include "tools/lbctl/table.h"

namespace lb::lbctl {
namespace {

using Verdict = Check::Verdict;

constexpr auto kIpvs = "ip_vs", kNfTables = "nf_tables";
constexpr auto kPrivileges =
    "run lbd as root, or give its service AmbientCapabilities=CAP_BPF CAP_NET_ADMIN CAP_PERFMON";

Check yes_or_missing(std::string name, bool ok, std::string found, std::string meaning,
                     std::string remedy) {
  return {.name = std::move(name),
          .verdict = ok ? Verdict::Ok : Verdict::Missing,
          .required = true,
          .found = std::move(found),
          .meaning = std::move(meaning),
          .remedy = ok ? "" : std::move(remedy)};
}

Check kernel_check(const std::string& release) {
  unsigned major = 0, minor = 0;
  const bool parsed = std::sscanf(release.c_str(), "%u.%u", &major, &minor) == 2;
  const bool ok = parsed && (major > 6 || (major == 6 && minor >= 1));
  return yes_or_missing("kernel", ok, release.empty() ? "unknown" : release,
                        "lbd is tested on Linux 6.1 and later", "install a kernel from 6.1 on");
}

Check mount_check(const HostFacts& facts, const char* type, std::string meaning,
                  std::string remedy) {
  const auto point = mount_point(facts.mounts, type);
  return yes_or_missing(type == std::string_view("bpf") ? "bpffs" : type, point.has_value(),
                        point ? "mounted on " + *point : "not mounted", std::move(meaning),
                        std::move(remedy));
}

void add_capabilities(std::vector<Check>& out, std::uint64_t effective) {
  struct Need {
    const char* name;
    unsigned bit;
    bool admin_is_enough;  // CAP_SYS_ADMIN contains it
    const char* meaning;
  };
  constexpr std::array<Need, 3> kNeeds{{
      {"CAP_BPF", kCapBpf, true, "create maps and load programs"},
      {"CAP_NET_ADMIN", kCapNetAdmin, false, "load and attach network programs, destroy sockets"},
      {"CAP_PERFMON", kCapPerfmon, true, "load the tracepoints that count connections"},
  }};
  for (const Need& need : kNeeds) {
    const bool own = holds(effective, need.bit);
    const bool ok = own || (need.admin_is_enough && holds(effective, kCapSysAdmin));
    out.push_back(yes_or_missing(need.name, ok,
                                 own ? "held" : (ok ? "by CAP_SYS_ADMIN" : "not held"),
                                 need.meaning, kPrivileges));
  }
}

// The check's name says already what was tried.
std::string why(const Error& error) { return error.code ? error.code.message() : error.context; }

Check result_check(std::string name, const Result<>& result, std::string meaning,
                   std::string remedy) {
  return yes_or_missing(std::move(name), result.has_value(), result ? "works" : why(result.error()),
                        std::move(meaning), std::move(remedy));
}

// A hook that lbd can do without stops nothing: what is lost is told in its place.
Check hook_check(const HookProbe& probe, std::uint64_t capabilities) {
  const bpf::Hook* hook = bpf::find_hook(probe.hook);
  Check out =
      result_check(probe.hook, probe.result, hook ? hook->meaning : "",
                   probe.result ? "" : bpf::explain_refusal(probe.result.error(), capabilities));
  if (probe.result || !hook || hook->loss == nullptr) return out;
  out.required = false;
  out.remedy = fmt::format("without it {}. {}", hook->loss, out.remedy);
  return out;
}

// The kernel looks for the socket before it asks for the privilege, so that the probe's "no such
// socket" says nothing about the latter.
Check sock_destroy_check(const HostFacts& facts) {
  Result<> result = facts.sock_destroy;
  if (result && !holds(facts.capabilities, kCapNetAdmin)) result = fail(EPERM, "destroy a socket");
  const bool rights = !result && (result.error().code == std::errc::operation_not_permitted ||
                                  result.error().code == std::errc::permission_denied);
  Check out = result_check(
      "INET_DIAG_DESTROY", result,
      "end connections ('lbctl drain --terminate', on_timeout = \"terminate\")",
      rights ? kPrivileges
             : "use a kernel with CONFIG_INET_DIAG_DESTROY=y, or do without --terminate");
  out.required = false;
  return out;
}

// lbd refuses to start beside another one on the same cgroup, and keeps foreign programs working.
Check programs_check(const HostFacts& facts) {
  Check out{.name = "other programs",
            .verdict = Verdict::Ok,
            .required = false,
            .found = "none on connect4",
            .meaning = "programs of others go on working; a second lbd on a cgroup is refused",
            .remedy = ""};
  if (!facts.connect_programs) {
    out.verdict = Verdict::Note;
    out.found = facts.connect_programs.error().message();
    out.remedy = kPrivileges;
    return out;
  }
  const auto& names = *facts.connect_programs;
  const bool ours = std::find(names.begin(), names.end(), "lb_connect4") != names.end();
  if (!names.empty()) out.found = fmt::format("on connect4: {}", fmt::join(names, ", "));
  if (ours) {
    out.verdict = Verdict::Note;
    out.found += " (lbd's: it runs, or its programs steer on without it)";
    out.remedy = "'lbd run' takes over those of its own bpffs folder; 'lbd detach' removes them";
  }
  return out;
}

// Without IPVS lbd still balances; it is the other dataplane, and the better way for clients of other hosts.
Check optional_check(std::string name, const Result<>& result, std::string meaning) {
  return {.name = std::move(name),
          .verdict = result ? Verdict::Ok : Verdict::Note,
          .required = false,
          .found = result ? "works" : "cannot be used",
          .meaning = std::move(meaning),
          .remedy = result ? "" : result.error().message()};
}

// A packet must be accepted by every table: nothing in lbd's own can let it through.
Check forwarding_check(const std::vector<nft::DroppingChain>& chains) {
  Check out{.name = "forwarding",
            .verdict = Verdict::Ok,
            .required = false,
            .found = "no chain drops by its policy",
            .meaning = "answers to clients of other hosts pass through this one",
            .remedy = ""};
  if (chains.empty()) return out;
  std::vector<std::string> names;
  for (const auto& chain : chains)
    names.push_back(fmt::format("{} {} {}", chain.family, chain.table, chain.chain));
  out.verdict = Verdict::Note;
  out.found = fmt::format("dropped by policy in {}", fmt::join(names, ", "));
  out.remedy =
      "only services published beyond loopback with backends on other hosts suffer: accept them in "
      "that firewall, with "
      "Docker by 'iptables -I DOCKER-USER -m conntrack --ctstate DNAT,SNAT -j ACCEPT'";
  return out;
}

Check memlock_check() {
  return {
      .name = "memlock",
      .verdict = Verdict::Ok,
      .required = false,
      .found = "no limit applies",
      .meaning = "since Linux 5.11 maps are charged to the memory cgroup, not to RLIMIT_MEMLOCK",
      .remedy = ""};
}

Check daemon_check(Env& env, const Options& options) {
  Check out{.name = "lbd",
            .verdict = Verdict::Note,
            .required = false,
            .found = "",
            .meaning = "the running daemon",
            .remedy = "start it with 'lbd run' or 'systemctl start lbd'"};
  const auto answer = env.fetch(options.socket, {"GET", "/v1/status", ""});
  if (!answer) {
    out.found = fmt::format("not reachable at {}: {}", options.socket, why(answer.error()));
    return out;
  }
  const Json json = parse_json<Json>(answer->body).value_or(Json());
  if (answer->status != 200 || !json.is_object()) {
    out.found = fmt::format("answered {} at {}", answer->status, options.socket);
    return out;
  }
  out.verdict = Verdict::Ok;
  out.found = fmt::format("{}, pid {}, at {}", json.value("version", "?"), json.value("pid", 0),
                          options.socket);
  out.remedy.clear();
  // The programs themselves may be refused where a trivial one of their kind is not.
  const Json lost = json.value("dataplane", Json::object()).value("lost", Json::array());
  if (lost.empty()) return out;
  std::vector<std::string> losses;
  for (const Json& l : lost)
    losses.push_back(fmt::format("{} ({}): {}", l.value("what", "?"), l.value("why", "?"),
                                 l.value("loss", "?")));
  out.verdict = Verdict::Note;
  out.found += fmt::format(", runs without {}", lost.size() == 1
                                                    ? lost[0].value("what", "?")
                                                    : fmt::format("{} of its parts", lost.size()));
  out.remedy = fmt::format("lbd could not have {}", fmt::join(losses, "; "));
  return out;
}

std::string_view to_string(Verdict verdict) {
  constexpr std::array<std::string_view, 3> kNames{"ok", "missing", "note"};
  return kNames.at(static_cast<std::size_t>(verdict));
}

Json to_json(const std::vector<Check>& checks) {
  Json list = Json::array();
  for (const Check& c : checks)
    list.push_back({{"name", c.name},
                    {"verdict", to_string(c.verdict)},
                    {"required", c.required},
                    {"found", c.found},
                    {"meaning", c.meaning},
                    {"remedy", c.remedy}});
  return {{"can_run", can_run(checks)},
          {"can_run_ebpf", can_run_ebpf(checks)},
          {"can_run_ipvs", can_run_ipvs(checks)},
          {"checks", std::move(list)}};
}

std::string_view verdict_of(const std::vector<Check>& checks) {
  if (can_run_ebpf(checks)) return "\nlbd can run here with its eBPF dataplane.\n";
  if (can_run_ipvs(checks))
    return "\nlbd's eBPF dataplane cannot run here: see what is missing. Its IPVS dataplane can.\n";
  return "\nlbd's eBPF dataplane cannot run here: see what is missing.\n";
}

void show(Env& env, const std::vector<Check>& checks) {
  Table table({{"VERDICT", Table::Align::Left, true}, {"CHECK"}, {"FOUND"}, {"FOR"}});
  for (const Check& c : checks)
    table.add({std::string(to_string(c.verdict)), c.name, c.found, c.meaning});
  table.print(env.out, use_colour(env));
  std::vector<std::string> told;  // one remedy serves many checks
  for (const Check& c : checks) {
    if (c.remedy.empty() || std::find(told.begin(), told.end(), c.remedy) != told.end()) continue;
    env.out << fmt::format("{}{}: {}\n", told.empty() ? "\n" : "", c.name, c.remedy);
    told.push_back(c.remedy);
  }
  env.out << verdict_of(checks);
}

}  // namespace

std::vector<Check> diagnose(const HostFacts& facts) {
  std::vector<Check> out{kernel_check(facts.kernel)};
  out.push_back(mount_check(facts, "cgroup2", "where the hooks are attached",
                            "mount -t cgroup2 none /sys/fs/cgroup (or another folder)"));
  out.push_back(mount_check(facts, "bpf", "what is pinned there survives a restart of lbd",
                            "mount -t bpf bpf /sys/fs/bpf"));
  out.push_back(yes_or_missing("BTF", facts.btf,
                               facts.btf ? "/sys/kernel/btf/vmlinux" : "not readable",
                               "lets tracepoints read the kernel's structures",
                               "use a kernel with CONFIG_DEBUG_INFO_BTF=y"));
  add_capabilities(out, facts.capabilities);
  out.push_back(memlock_check());
  for (const HookProbe& probe : facts.hooks) out.push_back(hook_check(probe, facts.capabilities));
  // Without it lbd waits for a tenth of a second instead.
  out.push_back(result_check(
      "membarrier", facts.membarrier, "know when no program uses a drained backend any more",
      "use a kernel with CONFIG_MEMBARRIER=y, or allow it in the seccomp filter"));
  out.back().required = false;
  out.push_back(sock_destroy_check(facts));
  out.push_back(programs_check(facts));
  out.push_back(
      optional_check(kIpvs, facts.ipvs, "the IPVS dataplane, and clients of other hosts"));
  out.push_back(optional_check(kNfTables, facts.nf_tables,
                               "beside IPVS, or in its place for clients of other hosts"));
  out.push_back(forwarding_check(facts.dropping_chains));
  return out;
}

bool can_run_ebpf(const std::vector<Check>& checks) {
  return std::none_of(checks.begin(), checks.end(),
                      [](const Check& c) { return c.required && c.verdict == Verdict::Missing; });
}

bool can_run_ipvs(const std::vector<Check>& checks) {
  return std::all_of(checks.begin(), checks.end(), [](const Check& c) {
    const bool needed = c.name == kIpvs || c.name == kNfTables || c.name == "CAP_NET_ADMIN";
    return !needed || c.verdict == Verdict::Ok;
  });
}

bool can_run(const std::vector<Check>& checks) {
  return can_run_ebpf(checks) || can_run_ipvs(checks);
}

int doctor(Env& env, const Options& options) {
  std::vector<Check> checks = diagnose(env.look_at_host());
  checks.push_back(daemon_check(env, options));
  if (options.json)
    env.out << to_json(checks).dump(-1, ' ', false, Json::error_handler_t::replace) << '\n';
  else
    show(env, checks);
  return can_run(checks) ? kExitOk : kExitFailed;
}

}  // namespace lb::lbctl
