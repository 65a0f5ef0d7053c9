// States and messages of the push protocol, compared by what they say.
#pragma once

#include <vector>

#include "relay/message.h"

namespace lb::relay {

inline bool same(const std::vector<ServicePtr>& a, const std::vector<ServicePtr>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (*a[i] != *b[i]) return false;
  return true;
}

inline const IpAddress kPublish = IpAddress::parse("10.9.9.9").value();

// What arrives at a listener that publishes at `publish`.
template <class T>
T sent(const T& message, const IpAddress& publish = kPublish) {
  std::string line = encode(message);
  line.pop_back();  // the newline
  return std::get<T>(decode(line, publish).value().value());
}

}  // namespace lb::relay
