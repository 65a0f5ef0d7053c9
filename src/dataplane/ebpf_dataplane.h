// The eBPF dataplane: hooks at connect time. Joins the parts of ebpf/ and keeps their order.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>

#include "dataplane/dataplane.h"

namespace lb {

namespace asio = boost::asio;

struct EbpfOptions {
  std::string cgroup;      // empty: the root of the cgroup2 mount
  std::string bpffs;       // our own folder below a bpffs mount
  bool host_scope = true;  // serve only sockets of this process's network namespace
  std::uint32_t max_services = 16384;
  std::uint32_t max_backends = 131072;
  std::uint32_t max_slots = 1048576;
  std::uint32_t max_ejected = 50;  // per cent of a service's backends; 0: none is ejected
  bool end_udp = true;             // destroy connected UDP sockets of a backend that has left
  // Below the cgroup2 mount, of lbds without privileges: what they dial is not steered. Those that are not there are waited for.
  std::vector<std::string> own_cgroups{};
  std::set<std::string>
      refuse{};  // sections of BPF programs treated as refused by the kernel: for tests
};

// Whether the folders that the options name can hold hooks and pins. Empty names are not looked at.
[[nodiscard]] Result<> check_places(const EbpfOptions& options);

// Loads what the kernel accepts (only the two connect hooks are indispensable), takes over what an earlier lbd left, recounts. Errors say what is missing and what to do.
// The hooks stay in force when the object goes; detach_ebpf() removes them. `io` outlives the object.
[[nodiscard]] Result<std::unique_ptr<Dataplane>> open_ebpf_dataplane(asio::io_context& io,
                                                                     EbpfOptions options);

// Removes every hook, program and map pinned in `bpffs`. Nothing may be using the folder.
[[nodiscard]] Result<> detach_ebpf(const std::string& bpffs);

}  // namespace lb
