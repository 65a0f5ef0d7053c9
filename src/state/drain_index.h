// Which of many drains mean a backend, without a look at each of them: another lbd may have told of
// 10,000. A value.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "model/address.h"
#include "model/service.h"
#include "state/drain.h"

namespace lb {

class DrainIndex {
 public:
  DrainIndex() = default;
  // Of positions in `drains`, which must stay as they are while the index is asked.
  explicit DrainIndex(const std::vector<Drain>& drains);

  [[nodiscard]] bool empty() const { return addresses_.empty() && hosts_.empty(); }

  // Positions of the drains that cover this backend of this service, ascending.
  [[nodiscard]] std::vector<std::size_t> covering(const std::vector<Drain>& drains,
                                                  const Backend& backend, const ServiceKey& key,
                                                  std::string_view service_name) const;

 private:
  using Positions = std::vector<std::size_t>;
  // By what they say of the service, "" for every one.
  using ByService = std::map<std::string, Positions, std::less<>>;

  std::map<Address, ByService> addresses_;
  std::map<std::string, ByService, std::less<>> hosts_;
  std::map<IpAddress, ByService> ips_;  // of the hosts that are IP addresses
};

}  // namespace lb
