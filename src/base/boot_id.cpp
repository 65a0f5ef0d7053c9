#include "base/boot_id.h"

#include "base/file.h"

namespace lb {

std::string boot_id() {
  auto boot = read_file("/proc/sys/kernel/random/boot_id").value_or("unknown");
  while (!boot.empty() && boot.back() == '\n') boot.pop_back();
  return boot;
}

}  // namespace lb
