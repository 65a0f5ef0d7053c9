#include "base/capabilities.h"

#include <charconv>
#include <vector>

#include <fmt/format.h>

#include "base/file.h"

namespace lb {

std::uint64_t parse_effective_capabilities(std::string_view proc_status) {
  constexpr std::string_view kName = "CapEff:\t";
  const auto at = proc_status.find(kName);
  if (at == std::string_view::npos) return 0;
  const std::string_view digits = proc_status.substr(at + kName.size(), 16);
  std::uint64_t out = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), out, 16);
  return out;
}

std::uint64_t effective_capabilities() {
  const auto text = read_file("/proc/self/status");
  return text ? parse_effective_capabilities(*text) : 0;
}

std::string missing_for_bpf(std::uint64_t capabilities) {
  const bool admin = holds(capabilities, kCapSysAdmin);
  std::vector<std::string_view> missing;
  if (!admin && !holds(capabilities, kCapBpf)) missing.emplace_back("CAP_BPF");
  if (!holds(capabilities, kCapNetAdmin)) missing.emplace_back("CAP_NET_ADMIN");
  if (!admin && !holds(capabilities, kCapPerfmon)) missing.emplace_back("CAP_PERFMON");
  return fmt::format("{}", fmt::join(missing, ", "));
}

}  // namespace lb
