// Host names of backends and their addresses, asked again every half minute. What DNS once said
// stays in force while DNS fails.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include <boost/asio/io_context.hpp>

#include "model/address.h"

namespace lb {

namespace asio = boost::asio;

class NameCache {
 public:
  struct Answer {
    std::optional<IpAddress> ip;  // the last good one
    bool pending = true;          // never answered yet
    std::string error;            // why the last question failed
  };

  // `on_change` is called from the loop whenever an answer differs from the one before.
  NameCache(asio::io_context& io, std::function<void()> on_change);
  ~NameCache();
  NameCache(const NameCache&) = delete;
  NameCache& operator=(const NameCache&) = delete;

  // An address from an earlier run, used until and unless DNS says something.
  void seed(const std::string& name, IpAddress ip);
  // Exactly these names are of interest from now on; new ones are asked for at once.
  void want(const std::set<std::string>& names);
  [[nodiscard]] Answer find(const std::string& name) const;
  [[nodiscard]] bool any_pending() const;

 private:
  struct State;
  std::shared_ptr<State> state_;  // shared with questions that are under way
};

}  // namespace lb
