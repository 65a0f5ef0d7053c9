// Where the names are that lbd connects to: a service at the same address is worth a warning. It is no reason to take the service
// away, since the DNS server of a name could then take away what runs.
#pragma once

#include <map>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>

#include "base/event.h"
#include "daemon/rights.h"
#include "reconcile/reconciler.h"

namespace lb {

class EndpointNames {
 public:
  explicit EndpointNames(asio::io_context& io) : io_(io), wanted_(io.get_executor()) {}

  // These from now on; those that are addresses are none of its business.
  void want(const std::vector<DialledEndpoint>& endpoints);
  // Asks for all of them every half minute; ends only by cancellation. What DNS once said holds while DNS fails.
  asio::awaitable<void> follow();
  // One sentence for each name that a service stands at.
  [[nodiscard]] std::vector<std::string> warnings(const Reconciler& reconciler) const;

 private:
  asio::awaitable<void> look_up(std::string name);

  asio::io_context& io_;
  Event wanted_;
  std::vector<DialledEndpoint> named_;
  std::map<std::string, std::vector<IpAddress>> found_;
};

}  // namespace lb
