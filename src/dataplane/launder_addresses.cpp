#include "dataplane/launder_addresses.h"

#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/addr.h>
#include <netlink/cache.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/socket.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "nft/ipvs_rules.h"

namespace lb {
namespace {

using Socket = std::unique_ptr<nl_sock, decltype(&nl_socket_free)>;
using RouteAddress = std::unique_ptr<rtnl_addr, decltype(&rtnl_addr_put)>;

Result<Socket> open_socket() {
  Socket nl(nl_socket_alloc(), &nl_socket_free);
  if (!nl || nl_connect(nl.get(), NETLINK_ROUTE) < 0) return fail(EIO, "open rtnetlink");
  return nl;
}

RouteAddress address_on_lo(const char* text, int family) {
  RouteAddress out(rtnl_addr_alloc(), &rtnl_addr_put);
  nl_addr* local = nullptr;
  if (!out || nl_addr_parse(text, family, &local) < 0) bug(std::string("launder address ") + text);
  rtnl_addr_set_local(out.get(), local);
  nl_addr_put(local);
  rtnl_addr_set_prefixlen(out.get(), family == AF_INET ? 32 : 128);
  rtnl_addr_set_ifindex(out.get(), static_cast<int>(::if_nametoindex("lo")));
  if (family == AF_INET) {
    rtnl_addr_set_scope(out.get(), RT_SCOPE_HOST);
  } else {
    rtnl_addr_set_valid_lifetime(out.get(), 0xffffffff);
    rtnl_addr_set_preferred_lifetime(out.get(), 0);
    rtnl_addr_set_flags(out.get(), IFA_F_NODAD);
  }
  return out;
}

struct Launder {
  const char* text;
  int family;
};

bool has_ipv6() { return std::filesystem::exists("/proc/net/if_inet6"); }

// In order: IPv6 may be absent.
std::vector<Launder> launder_addresses() {
  std::vector<Launder> out{{nft::kLaunderV4, AF_INET}};
  if (has_ipv6()) out.push_back({nft::kLaunderV6, AF_INET6});
  return out;
}

Result<> failed(const char* what, const char* text, int code) {
  return fail(code == -NLE_PERM ? EPERM : EIO,
              std::string(what) + " " + text + " on lo: " + nl_geterror(code));
}

}  // namespace

IpAddress unlaundered(const IpAddress& address) {
  static const IpAddress v4 = *IpAddress::parse(nft::kLaunderV4);
  static const IpAddress v6 = *IpAddress::parse(nft::kLaunderV6);
  if (address == v4) return *IpAddress::parse("127.0.0.1");
  return address == v6 ? *IpAddress::parse("::1") : address;
}

bool is_launder_address(const IpAddress& address) { return unlaundered(address) != address; }

Result<> add_launder_addresses() {
  LB_TRY(const Socket nl, open_socket());
  for (const Launder& launder : launder_addresses()) {
    const auto address = address_on_lo(launder.text, launder.family);
    const int done = rtnl_addr_add(nl.get(), address.get(), NLM_F_CREATE | NLM_F_REPLACE);
    if (done < 0 && done != -NLE_EXIST) return failed("add", launder.text, done);
  }
  return {};
}

Result<> remove_launder_addresses() {
  LB_TRY(const Socket nl, open_socket());
  for (const Launder& launder : launder_addresses()) {
    const auto address = address_on_lo(launder.text, launder.family);
    const int done = rtnl_addr_delete(nl.get(), address.get(), 0);
    if (done < 0 && done != -NLE_NOADDR && done != -NLE_OBJ_NOTFOUND)
      return failed("remove", launder.text, done);
  }
  return {};
}

Result<bool> have_launder_addresses() {
  LB_TRY(const Socket nl, open_socket());
  nl_cache* raw = nullptr;
  if (const int done = rtnl_addr_alloc_cache(nl.get(), &raw); done < 0)
    return fail(EIO, std::string("read addresses: ") + nl_geterror(done));
  const std::unique_ptr<nl_cache, decltype(&nl_cache_free)> cache(raw, &nl_cache_free);
  for (const Launder& launder : launder_addresses()) {
    const auto wanted = address_on_lo(launder.text, launder.family);
    bool found = false;
    for (nl_object* each = nl_cache_get_first(cache.get()); each != nullptr;
         each = nl_cache_get_next(each)) {
      const auto* have = reinterpret_cast<rtnl_addr*>(each);
      nl_addr* local = rtnl_addr_get_local(const_cast<rtnl_addr*>(have));
      found =
          found || (local != nullptr && nl_addr_cmp(local, rtnl_addr_get_local(wanted.get())) == 0);
    }
    if (!found) return false;
  }
  return true;
}

}  // namespace lb
