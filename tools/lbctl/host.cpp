#include "tools/lbctl/host.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <charconv>
#include <sstream>

#include "base/capabilities.h"
#include "base/file.h"
#include "ipvs/client.h"

namespace lb::lbctl {
namespace {

// mountinfo writes space, tab, newline and backslash as three octal digits.
std::string unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned code = 0;
    const auto digits = text.substr(i, 4);
    const bool escaped =
        digits.size() == 4 && digits[0] == '\\' &&
        std::from_chars(digits.data() + 1, digits.data() + 4, code, 8).ptr == digits.data() + 4;
    out += escaped ? static_cast<char>(code) : text[i];
    if (escaped) i += 3;
  }
  return out;
}

}  // namespace

std::vector<Mount> parse_mountinfo(std::string_view text) {
  std::vector<Mount> out;
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    // "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw": type after the lone dash.
    std::istringstream fields(line);
    std::string skipped, point, field, type;
    fields >> skipped >> skipped >> skipped >> skipped >> point;
    while (fields >> field && field != "-") continue;
    if (fields >> type) out.push_back({unescape(point), type});
  }
  return out;
}

std::optional<std::string> mount_point(const std::vector<Mount>& mounts, std::string_view type) {
  for (const Mount& mount : mounts)
    if (mount.type == type) return mount.point;
  return std::nullopt;
}

namespace {

void look_at_netfilter(HostFacts& out) {
  if (auto ipvs = ipvs::Client::open(); !ipvs) out.ipvs = tl::unexpected(ipvs.error());
  auto tables = nft::Tables::open();
  if (!tables) {
    out.nf_tables = tl::unexpected(tables.error());
    return;
  }
  if (auto chains = tables->dropping_chains("lbd"))
    out.dropping_chains = *std::move(chains);
  else
    out.nf_tables = tl::unexpected(chains.error());
}

}  // namespace

HostFacts look_at_host() {
  HostFacts out;
  utsname name{};
  if (::uname(&name) == 0) out.kernel = name.release;
  out.mounts = parse_mountinfo(read_file("/proc/self/mountinfo").value_or(""));
  out.btf = ::access("/sys/kernel/btf/vmlinux", R_OK) == 0;
  out.capabilities = effective_capabilities();
  out.hooks = probe_hooks();
  out.sock_destroy = probe_sock_destroy();
  out.membarrier = probe_membarrier();
  if (const auto root = mount_point(out.mounts, "cgroup2"))
    out.connect_programs = connect_programs(*root);
  look_at_netfilter(out);
  return out;
}

}  // namespace lb::lbctl
