// Why the kernel has no IPVS, in words that say what to do. Knows modprobe's files and nothing of netlink.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lb::ipvs {

// What the answer depends on, as read from a host.
struct ModuleFacts {
  struct ConfigFile {
    std::string path, text;
  };

  std::string release;  // uname -r
  std::optional<std::string>
      index;  // /lib/modules/RELEASE/modules.dep; nothing where it cannot be read
  std::vector<ConfigFile> config;  // modprobe.d, in modprobe's order
  std::string command_line;        // the kernel's
  bool loading_disabled = false;   // kernel.modules_disabled
};

[[nodiscard]] ModuleFacts read_module_facts();

// One sentence or two: "module ip_vs is blacklisted in /etc/modprobe.d/x.conf: run `modprobe ip_vs` ...".
[[nodiscard]] std::string why_missing(const ModuleFacts& facts);

}  // namespace lb::ipvs
