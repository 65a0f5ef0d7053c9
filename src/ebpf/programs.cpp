#include "ebpf/programs.h"

#include <bpf/libbpf.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <deque>
#include <string_view>

#include <fmt/format.h>
#include <lbd.skel.h>
#include <spdlog/spdlog.h>

#include "base/unique_fd.h"

namespace lb::bpf {
namespace {

// libbpf speaks through a callback; the verifier's words are worth reading only when it refuses.
std::deque<std::string>& libbpf_lines() {
  static std::deque<std::string> lines;
  return lines;
}

int keep_libbpf_line(libbpf_print_level level, const char* format, va_list args) noexcept {
  if (level == LIBBPF_DEBUG) return 0;
  char text[2048];
  std::vsnprintf(text, sizeof text, format, args);
  auto& lines = libbpf_lines();
  for (std::string_view rest = text; !rest.empty();) {
    const auto end = rest.find('\n');
    const std::string_view line = rest.substr(0, end);
    rest = end == std::string_view::npos ? "" : rest.substr(end + 1);
    // "try raising ulimit -l": since Linux 5.11 maps are charged to the memory cgroup, and no such limit
    // applies.
    if (line.find("ulimit") != std::string_view::npos) continue;
    lines.emplace_back(line);
    if (lines.size() > 20) lines.pop_front();
  }
  return 0;
}

void set_sizes(lbd& s, const Sizes& sizes) {
  bpf_map__set_max_entries(s.maps.service_ids, sizes.max_keys());
  bpf_map__set_max_entries(s.maps.services, sizes.max_services);
  bpf_map__set_max_entries(s.maps.slots, sizes.max_slots);
  bpf_map__set_max_entries(s.maps.backends, sizes.lines());
  bpf_map__set_max_entries(s.maps.cold, sizes.lines());
  bpf_map__set_max_entries(s.maps.address_ids, sizes.max_backends);
}

// Calls visit(section, program) for each program of the object.
template <class Visit>
void for_each_program(lbd& skeleton, Visit visit) {
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, skeleton.obj)
      visit(std::string_view(bpf_program__section_name(program)), program);
}

// One hook alone. Its maps have one entry each.
Result<> try_alone(const Hook& hook) {
  const Skeleton skeleton(lbd::open(nullptr));
  if (!skeleton) return fail(errno, "open the BPF programs");
  for_each_program(*skeleton, [&](std::string_view section, bpf_program* program) {
    bpf_program__set_autoload(program, section == hook.section);
  });
  return load_programs(*skeleton);
}

}  // namespace

void SkeletonDeleter::operator()(lbd* skeleton) const { lbd::destroy(skeleton); }

Result<std::uint64_t> own_netns_cookie() {
  const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return fail(errno, "socket");
  std::uint64_t cookie = 0;
  socklen_t length = sizeof cookie;
  constexpr int kNetnsCookie = 71;  // SO_NETNS_COOKIE, Linux 5.14; not in Debian 12's libc
  if (::getsockopt(fd.get(), SOL_SOCKET, kNetnsCookie, &cookie, &length) != 0)
    return fail(errno, "getsockopt SO_NETNS_COOKIE");
  return cookie;
}

Result<Skeleton> open_programs(const Options& options, const Refusals& refused) {
  libbpf_set_print(keep_libbpf_line);
  Skeleton skeleton(lbd::open(nullptr));
  if (!skeleton) return fail(errno, "open the BPF programs");
  set_sizes(*skeleton, options.sizes);
  for_each_program(*skeleton, [&](std::string_view section, bpf_program* program) {
    if (refused.contains(section)) bpf_program__set_autoload(program, false);
  });
  if (options.host_scope) {
    LB_TRY(skeleton->rodata->lb_netns_cookie, own_netns_cookie());
  }
  if (options.bpffs.size() >= LB_PIN_FOLDER_MAX)
    return fail(ENAMETOOLONG, fmt::format("[dataplane] bpffs {}", options.bpffs));
  std::memcpy(const_cast<char*>(skeleton->rodata->lb_pin_folder), options.bpffs.c_str(),
              options.bpffs.size());
  return skeleton;
}

Result<> load_programs(lbd& skeleton) {
  libbpf_lines().clear();
  const int rc = lbd::load(&skeleton);
  if (rc == 0) return {};
  for (const auto& line : libbpf_lines()) spdlog::debug("libbpf: {}", line);
  return fail(-rc, "load the BPF programs");
}

Result<Refusals> find_refused(const Options& options, const Refusals& known) {
  Refusals refused = known;
  for (const Hook& hook : all_hooks()) {
    if (refused.contains(hook.section)) continue;
    auto loaded = options.refuse.contains(hook.section)
                      ? Result<>(fail(EPERM, "refused for a test"))
                      : try_alone(hook);
    if (loaded) continue;
    if (hook.loss == nullptr)
      return fail(
          loaded.error().code.value(),
          fmt::format("load the BPF program of {}, which lbd cannot do without", hook.section));
    refused.emplace(hook.section, std::move(loaded).error());
  }
  if (refused.size() == known.size())
    return fail("the kernel refuses to load the BPF programs together, and none of them alone");
  return refused;
}

bool is_loaded(lbd& skeleton, std::string_view section) {
  bool loaded = false;
  for_each_program(skeleton, [&](std::string_view of, bpf_program* program) {
    loaded = loaded || (of == section && bpf_program__fd(program) >= 0);
  });
  return loaded;
}

}  // namespace lb::bpf
