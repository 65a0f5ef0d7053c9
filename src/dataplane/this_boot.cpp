#include "dataplane/this_boot.h"

#include <sys/stat.h>

#include <fmt/format.h>

#include "base/file.h"

namespace lb {

std::string this_boot() {
  auto boot = read_file("/proc/sys/kernel/random/boot_id").value_or("unknown");
  while (!boot.empty() && boot.back() == '\n') boot.pop_back();
  struct stat ns {};
  if (::stat("/proc/self/ns/net", &ns) != 0) ns.st_ino = 0;
  return fmt::format("{} netns {}", boot, ns.st_ino);
}

}  // namespace lb
