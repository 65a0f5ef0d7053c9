// Rise and fall: how many probes in a row it takes to believe them. Pure.
#pragma once

#include <cstdint>
#include <optional>

namespace lb {

class Dampener {
 public:
  // `up`: the verdict of an earlier run. Without one a backend is in use until `fall` bad probes.
  Dampener(std::uint32_t rise, std::uint32_t fall, std::optional<bool> up = std::nullopt)
      : rise_(rise), fall_(fall), up_(up) {}

  // What a probe has found. True: the verdict is another one now, or the first.
  bool add(bool good);
  [[nodiscard]] std::optional<bool> up() const { return up_; }

 private:
  std::uint32_t rise_, fall_;
  std::optional<bool> up_;
  bool last_good_ = false;
  std::uint32_t in_a_row_ = 0;  // probes that found the same as the last one
};

}  // namespace lb
