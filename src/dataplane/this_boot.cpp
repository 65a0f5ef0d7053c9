#include "dataplane/this_boot.h"

#include <sys/stat.h>

#include <fmt/format.h>

#include "base/boot_id.h"

namespace lb {

std::string this_boot() {
  struct stat ns {};
  if (::stat("/proc/self/ns/net", &ns) != 0) ns.st_ino = 0;
  return fmt::format("{} netns {}", boot_id(), ns.st_ino);
}

}  // namespace lb
