#include "dataplane/forwarding.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <memory>
#include <set>
#include <string>
#include <string_view>
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

// Sets all of them, whichever cannot be: one interface must not keep the others from forwarding.
class Settings {
 public:
  explicit Settings(Sysctls& sysctls) : sysctls_(sysctls) {}
  void set(const std::string& name, const std::string& value) {
    const auto done = sysctls_.set(name, value);
    if (!done && all_) all_ = tl::unexpected(done.error());
    if (done && *done && all_) ++*all_;
  }
  void fail_with(const Error& error) { all_ = tl::unexpected(error); }
  [[nodiscard]] bool is(const std::string& name, std::string_view value) const {
    return sysctls_.get(name).value_or("") == value;
  }
  [[nodiscard]] Result<std::size_t> put_back() const { return all_; }

 private:
  Sysctls& sysctls_;
  Result<std::size_t> all_ = 0;
};

void forward_v4(Settings& settings) {
  if (settings.is(kIpv4, "1")) return;
  const auto names = interfaces_with_ipv4();
  if (!names) return settings.fail_with(names.error());
  for (const std::string& name : *names) settings.set(ipv4_of(name), "1");
}

void forward_v6(Settings& settings) {
  if (settings.is(kIpv6, "1")) return;
  for (const std::string& name : interfaces()) {
    const std::string accept_ra = "net/ipv6/conf/" + name + "/accept_ra";
    if (settings.is(accept_ra, "1")) settings.set(accept_ra, "2");
  }
  // Without its routes the host would be lost: where those cannot be kept it does not forward IPv6.
  if (settings.put_back()) settings.set(kIpv6, "1");
}

}  // namespace

Result<std::size_t> forward_for(Sysctls& sysctls, ForwardingNeed need) {
  Settings v4(sysctls), v6(sysctls);
  if (need.v4) forward_v4(v4);
  if (need.v6) forward_v6(v6);
  LB_TRY(const std::size_t of_v4, v4.put_back());
  LB_TRY(const std::size_t of_v6, v6.put_back());
  return of_v4 + of_v6;
}

bool forwarding_was_off(const Sysctls& sysctls) {
  // Somebody who switches all of IPv4 on after lbd has changed single interfaces wants it so.
  if (original(sysctls, kIpv4) == "1" || original(sysctls, kIpv6) == "1") return false;
  for (const std::string& name : interfaces())
    if (original(sysctls, ipv4_of(name)) == "1") return false;
  return true;
}

}  // namespace lb
