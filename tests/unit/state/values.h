// A moment, a service and a backend of tests.
#pragma once

#include <chrono>

#include "base/time.h"
#include "model/address.h"
#include "model/service.h"
#include "sources/clocks.h"

namespace lb {

constexpr SysTime at(int seconds) { return SysTime(std::chrono::seconds(seconds)); }
// Both clocks, which go on together.
constexpr Moment moment(int seconds) {
  return {at(seconds), std::chrono::steady_clock::time_point(std::chrono::seconds(seconds))};
}
inline const ServiceKey kWeb = ServiceKey::parse("127.0.0.1:80").value();
inline const Address kOne = Address::parse("10.0.0.1:80").value();

}  // namespace lb
