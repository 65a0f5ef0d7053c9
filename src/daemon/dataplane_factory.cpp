#include "daemon/dataplane_factory.h"

#include <cstdlib>
#include <filesystem>
#include <set>
#include <sstream>
#include <string>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/own_folder.h"
#include "dataplane/ebpf_dataplane.h"
#include "dataplane/ipvs_dataplane.h"
#include "dataplane/nft_dataplane.h"
#include "dataplane/none_dataplane.h"
#include "dataplane/publishing_dataplane.h"

namespace lb {
namespace {

IpvsOptions ipvs_options(const Config& config, bool outside_only, std::string why = {}) {
  return {
      .state_dir = config.daemon.state_dir, .outside_only = outside_only, .why = std::move(why)};
}

NftOptions nft_options(const Config& config) { return {.state_dir = config.daemon.state_dir}; }

Result<std::unique_ptr<Dataplane>> open_outside(const Config& config) {
  auto ipvs = open_ipvs_dataplane(ipvs_options(config, true));
  if (ipvs) return ipvs;
  auto nft = open_nft_dataplane(nft_options(config));
  if (nft) return nft;
  return fail(fmt::format("neither IPVS ({}) nor nftables ({}) can be used", ipvs.error().message(),
                          nft.error().message()));
}

// Sections of BPF programs, separated by commas, that tests have refused as a kernel would.
std::set<std::string> refused_for_tests() {
  std::set<std::string> out;
  const char* list = std::getenv("LBD_TEST_REFUSE");
  std::istringstream words(list != nullptr ? list : "");
  for (std::string word; std::getline(words, word, ',');) out.insert(word);
  return out;
}

EbpfOptions ebpf_options(const DataplaneConfig& dataplane) {
  return {.cgroup = dataplane.cgroup,
          .bpffs = dataplane.bpffs,
          .host_scope = dataplane.scope == Scope::Host,
          .max_services = dataplane.max_services,
          .max_backends = dataplane.max_backends,
          .max_slots = dataplane.max_slots,
          .max_ejected = dataplane.max_ejected,
          .end_udp = dataplane.on_udp_leave == OnUdpLeave::End,
          .own_cgroups = dataplane.own_cgroups,
          .refuse = refused_for_tests()};
}

Result<std::unique_ptr<Dataplane>> open_ebpf(asio::io_context& io, const Config& config) {
  LB_TRY(auto hooks, open_ebpf_dataplane(io, ebpf_options(config.dataplane)));
  return make_publishing_dataplane(
      std::move(hooks), [config] { return open_outside(config); },
      ipvs_left_something(config.daemon.state_dir) || nft_left_something(config.daemon.state_dir));
}

// It does not fall back to "none": a daemon that steers nothing while its services look fine is worse
// than one that says why it does not start.
// What the configuration names must be there, whichever dataplane is chosen: what it leaves at the default
// may be missing on a host that has none.
Result<> check_what_is_configured(const DataplaneConfig& dataplane) {
  EbpfOptions named = ebpf_options(dataplane);
  if (named.bpffs == DataplaneConfig().bpffs) named.bpffs.clear();
  LB_CHECK(check_places(named));
  // Not a reason for another dataplane: who put a folder there must not choose it.
  std::error_code ec;
  if (!std::filesystem::exists(dataplane.bpffs, ec)) return {};
  return check_own_folder(dataplane.bpffs);
}

Result<std::unique_ptr<Dataplane>> open_best(asio::io_context& io, const Config& config) {
  LB_CHECK(check_what_is_configured(config.dataplane));
  auto ebpf = open_ebpf(io, config);
  if (ebpf) return ebpf;
  // Another lbd serves this host: beside it no dataplane is the right one. And sizes below what is in use
  // are a mistake in the configuration, for which a dataplane that works is not to be given up.
  if (ebpf.error().code == std::errc::device_or_resource_busy ||
      ebpf.error().code == std::errc::no_space_on_device)
    return ebpf;
  const std::string why = "chosen because eBPF cannot be used: " + ebpf.error().message();
  auto ipvs = open_ipvs_dataplane(ipvs_options(config, false, why));
  if (!ipvs)
    return fail(ebpf.error().code,
                fmt::format("{} (and IPVS, the other dataplane, cannot be used: {})",
                            ebpf.error().context, ipvs.error().message()));
  spdlog::warn("dataplane=ipvs {}", why);
  return ipvs;
}

}  // namespace

Result<std::unique_ptr<Dataplane>> open_dataplane(asio::io_context& io, const Config& config) {
  switch (config.dataplane.mode) {
    case DataplaneMode::None:
      return std::make_unique<NoneDataplane>();
    case DataplaneMode::Ebpf:
      return open_ebpf(io, config);
    case DataplaneMode::Ipvs:
      return open_ipvs_dataplane(ipvs_options(config, false));
    case DataplaneMode::Auto:
      break;
  }
  return open_best(io, config);
}

Result<> remove_former_dataplane(const Config& config, const std::string& mode) {
  // The other way round, leftovers of IPVS have connections that must run out: publishing_dataplane.h.
  if (mode != "ipvs") return {};
  if (nft_left_something(config.daemon.state_dir)) LB_CHECK(detach_nft(nft_options(config)));
  if (!std::filesystem::exists(config.dataplane.bpffs)) return {};
  spdlog::info("dataplane=ebpf is not used any more, removing its hooks");
  return detach_ebpf(config.dataplane.bpffs);
}

Result<> detach_dataplane(const Config& config) {
  if (config.dataplane.mode == DataplaneMode::None) return {};
  LB_CHECK(detach_ebpf(config.dataplane.bpffs));
  LB_CHECK(detach_nft(nft_options(config)));
  return detach_ipvs(ipvs_options(config, false));
}

}  // namespace lb
