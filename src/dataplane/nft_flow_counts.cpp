#include "dataplane/nft_flow_counts.h"

#include <algorithm>

namespace lb {

Result<const NftFlowCounts::Counts*> NftFlowCounts::read(const nft::DnatServices& services) {
  constexpr auto kFresh = std::chrono::milliseconds(200);
  constexpr int kShare = 20;  // reading takes at most one twentieth of the time
  const auto began = Clock::now();
  if (began < valid_until_) return &counts_;
  LB_TRY(const std::vector<nft::Flow> flows, flows_.translated());
  const FrontendIndex index(services);
  counts_.clear();
  for (const nft::Flow& flow : flows)
    if (const ServiceKey* key = flow.is_open() ? index.find(flow.protocol, flow.frontend) : nullptr)
      ++counts_[{*key, flow.backend}];
  const auto now = Clock::now();
  valid_until_ = now + std::max<Clock::duration>(kFresh, kShare * (now - began));
  return &counts_;
}

Result<std::uint64_t> NftFlowCounts::end(const nft::DnatServices& services,
                                         const std::set<Id>& backends) {
  LB_TRY(const std::vector<nft::Flow> flows, flows_.translated());
  const FrontendIndex index(services);
  std::uint64_t ended = 0;
  for (const nft::Flow& flow : flows) {
    const ServiceKey* key = index.find(flow.protocol, flow.frontend);
    if (!key || !backends.contains({*key, flow.backend})) continue;
    // Also those that are about to open, or are only remembered.
    LB_TRY(const bool was_there, flows_.forget(flow));
    if (was_there && flow.is_open()) ++ended;
  }
  forget();
  return ended;
}

Result<std::uint64_t> NftFlowCounts::renew(const std::set<ServiceKey>& frontends) {
  LB_TRY(const std::vector<nft::Flow> flows, flows_.untranslated());
  std::uint64_t forgotten = 0;
  for (const nft::Flow& flow : flows) {
    if (flow.protocol != Protocol::Udp ||
        !frontends.contains({Protocol::Udp, flow.frontend.ip, flow.frontend.port}))
      continue;
    LB_TRY(const bool was_there, flows_.forget(flow));
    if (was_there) ++forgotten;
  }
  return forgotten;
}

FrontendIndex::FrontendIndex(const nft::DnatServices& services) {
  for (const auto& [key, service] : services) {
    for (const IpAddress& address : service.addresses)
      by_frontend_.try_emplace({key.protocol, address, key.port}, key);
    by_frontend_.insert_or_assign(key, key);
  }
}

const ServiceKey* FrontendIndex::find(Protocol protocol, const Address& frontend) const {
  const auto at = [&](const IpAddress& address) {
    const auto it = by_frontend_.find({protocol, address, frontend.port});
    return it == by_frontend_.end() ? nullptr : &it->second;
  };
  if (const ServiceKey* named = at(frontend.ip)) return named;
  // Its flows stay when a service gives an address up, or the host does.
  const IpAddress any_v4 = IpAddress::v4(0), any_v6;
  const ServiceKey* any = frontend.ip.is_v4() ? at(any_v4) : nullptr;
  return any ? any : at(any_v6);
}

}  // namespace lb
