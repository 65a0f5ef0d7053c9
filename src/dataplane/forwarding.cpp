#include "dataplane/forwarding.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace lb {
namespace {

constexpr auto kIpv4 = "net/ipv4/ip_forward";
constexpr auto kIpv6 = "net/ipv6/conf/all/forwarding";

std::string ipv4_of(const std::string& interface) {
  return "net/ipv4/conf/" + interface + "/forwarding";
}

// The value before lbd came; "" where there is no such setting (no IPv6, an interface without IPv4).
std::string original(const Sysctls& sysctls, const std::string& name) {
  if (auto before = sysctls.before(name)) return *std::move(before);
  return sysctls.get(name).value_or("");
}

std::vector<std::string> interfaces() {
  const std::unique_ptr<struct if_nameindex[], decltype(&if_freenameindex)> all(if_nameindex(),
                                                                                &if_freenameindex);
  std::vector<std::string> out;
  for (const struct if_nameindex* each = all.get(); each && each->if_name; ++each)
    if (std::string name = each->if_name; name != "lo") out.push_back(std::move(name));
  return out;
}

// 127/8 and 169.254/16 are not routed to.
bool is_global_v4(const sockaddr* address) {
  if (!address || address->sa_family != AF_INET) return false;
  const std::uint32_t ip = ntohl(reinterpret_cast<const sockaddr_in*>(address)->sin_addr.s_addr);
  return ip >> 24 != 127 && ip >> 16 != 0xa9fe;
}

Result<std::set<std::string>> interfaces_with_ipv4() {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return fail(errno, "read the interfaces' addresses");
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(list, &::freeifaddrs);
  std::set<std::string> out;
  for (const ifaddrs* each = list; each; each = each->ifa_next) {
    const std::string label = each->ifa_name;  // "eth0:1" for an address with a label
    const std::string name = label.substr(0, label.find(':'));
    if (name != "lo" && is_global_v4(each->ifa_addr)) out.insert(name);
  }
  return out;
}

Result<> forward_v4(Sysctls& sysctls) {
  if (sysctls.get(kIpv4).value_or("") == "1") return {};
  LB_TRY(const auto names, interfaces_with_ipv4());
  for (const std::string& name : names) LB_CHECK(sysctls.set(ipv4_of(name), "1"));
  return {};
}

Result<> forward_v6(Sysctls& sysctls) {
  if (sysctls.get(kIpv6).value_or("") == "1") return {};
  for (const std::string& name : interfaces()) {
    const std::string accept_ra = "net/ipv6/conf/" + name + "/accept_ra";
    if (sysctls.get(accept_ra).value_or("") == "1") LB_CHECK(sysctls.set(accept_ra, "2"));
  }
  return sysctls.set(kIpv6, "1");
}

}  // namespace

Result<> forward_for(Sysctls& sysctls, ForwardingNeed need) {
  if (need.v4) LB_CHECK(forward_v4(sysctls));
  if (need.v6) LB_CHECK(forward_v6(sysctls));
  return {};
}

bool forwarding_was_off(const Sysctls& sysctls) {
  // Somebody who switches all of IPv4 on after lbd has changed single interfaces wants it so.
  if (original(sysctls, kIpv4) == "1" || original(sysctls, kIpv6) == "1") return false;
  for (const std::string& name : interfaces())
    if (original(sysctls, ipv4_of(name)) == "1") return false;
  return true;
}

}  // namespace lb
