#include "ebpf/walk.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <random>
#include <set>
#include <string>
#include <thread>

#include <fmt/format.h>
#include <lbd.skel.h>

namespace lb::bpf {
namespace {

namespace fs = std::filesystem;

// Runs an iterator program over all its sockets and returns what it wrote.
Result<std::vector<lb_socket>> run_iterator(const bpf_program* program, int map_fd = -1) {
  bpf_iter_link_info target{};
  target.map.map_fd = static_cast<__u32>(map_fd);
  LIBBPF_OPTS(bpf_link_create_opts, options);
  if (map_fd >= 0) {
    options.iter_info = &target;
    options.iter_info_len = sizeof target;
  }
  const UniqueFd link(::bpf_link_create(bpf_program__fd(program), 0, BPF_TRACE_ITER, &options));
  if (!link) return fail(errno, "create a socket iterator");
  const UniqueFd iterator(::bpf_iter_create(link.get()));
  if (!iterator) return fail(errno, "open a socket iterator");
  std::vector<lb_socket> out;
  std::string bytes;
  std::array<char, 65536> buffer;
  for (;;) {
    const ssize_t n = ::read(iterator.get(), buffer.data(), buffer.size());
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n < 0) return fail(errno, "read a socket iterator");
    if (n == 0) break;
    bytes.append(buffer.data(), static_cast<std::size_t>(n));
  }
  out.resize(bytes.size() / sizeof(lb_socket));
  std::memcpy(out.data(), bytes.data(), out.size() * sizeof(lb_socket));
  return out;
}

// One open descriptor per network namespace in which a process lives.
std::vector<UniqueFd> network_namespaces() {
  std::vector<UniqueFd> out;
  std::set<ino_t> seen;
  std::error_code ec;
  for (const auto& process : fs::directory_iterator("/proc", ec)) {
    UniqueFd fd(::open((process.path() / "ns/net").c_str(), O_RDONLY | O_CLOEXEC));
    struct stat info {};
    if (fd && ::fstat(fd.get(), &info) == 0 && seen.insert(info.st_ino).second)
      out.push_back(std::move(fd));
  }
  return out;
}

// The TCP iterator shows the namespace of the thread that opens it, hence a thread that moves.
Result<> walk_all_namespaces(const bpf_program* program) {
  Result<> outcome;
  std::thread mover([&] {
    for (const auto& ns : network_namespaces()) {
      // Its sockets would look closed, were they not counted.
      if (::setns(ns.get(), CLONE_NEWNET) != 0) {
        outcome = fail(errno,
                       "enter a network namespace to count its connections (scope = \"all\" "
                       "needs CAP_SYS_ADMIN)");
        return;
      }
      if (auto walked = run_iterator(program); !walked) outcome = tl::unexpected(walked.error());
    }
  });
  mover.join();
  return outcome;
}

// `active` and `recounted` follow the same events from different moments on, so that their difference
// stands still; a reading between the two halves of one event is off by one. Hence several readings, so
// far apart that no two of them meet the same event, and the most frequent difference is taken.
constexpr std::size_t kReadings = 15;
using Readings = std::array<std::int32_t, kReadings>;
constexpr std::chrono::microseconds kApart{
    100};  // an event takes 2, the first of a socket some more

std::vector<Readings> read_differences(const Maps& maps, const std::vector<std::uint32_t>& lines) {
  std::vector<Readings> out(lines.size());
  for (std::size_t reading = 0; reading < kReadings; ++reading) {
    const auto begin = std::chrono::steady_clock::now();
    for (std::size_t i = 0; i < lines.size(); ++i) {
      const auto active = std::atomic_ref(maps.backends[lines[i]].active).load();
      const auto recounted = std::atomic_ref(maps.cold[lines[i]].recounted).load();
      out[i][reading] = static_cast<std::int32_t>(active - recounted);
    }
    if (std::chrono::steady_clock::now() - begin < kApart) std::this_thread::sleep_for(kApart);
  }
  return out;
}

std::int32_t most_frequent(Readings readings) {
  std::sort(readings.begin(), readings.end());
  std::int32_t best = readings[0];
  std::ptrdiff_t votes = 0;
  for (auto it = readings.begin(); it != readings.end();) {
    const auto next = std::upper_bound(it, readings.end(), *it);
    if (next - it > votes) {
      best = *it;
      votes = next - it;
    }
    it = next;
  }
  return best;
}

struct DestroyRequest {
  nlmsghdr header;
  inet_diag_req_v2 body;
};

DestroyRequest destroy_request(const lb_socket& socket) {
  DestroyRequest request{};
  request.header.nlmsg_len = sizeof request;
  request.header.nlmsg_type = SOCK_DESTROY;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  auto& id = request.body.id;
  request.body.sdiag_family = static_cast<__u8>(socket.family);
  request.body.sdiag_protocol = socket.proto;
  request.body.idiag_states = ~0u;
  id.idiag_sport = socket.local_port;
  id.idiag_dport = socket.peer_port;
  id.idiag_if = socket.bound_device;
  id.idiag_cookie[0] = static_cast<__u32>(socket.cookie);
  id.idiag_cookie[1] = static_cast<__u32>(socket.cookie >> 32);
  if (socket.family == AF_INET) {
    id.idiag_src[0] = socket.local_ip[3];
    id.idiag_dst[0] = socket.peer_ip[3];
  } else {
    std::memcpy(id.idiag_src, socket.local_ip, sizeof id.idiag_src);
    std::memcpy(id.idiag_dst, socket.peer_ip, sizeof id.idiag_dst);
  }
  return request;
}

// The kernel's answer to one request: 0 or an errno.
int exchange(int fd, const DestroyRequest& request) {
  if (::send(fd, &request, sizeof request, 0) < 0) return errno;
  alignas(nlmsghdr) std::array<char, 4096> answer;
  const ssize_t n = ::recv(fd, answer.data(), answer.size(), 0);
  if (n < 0) return errno;
  const auto* header = reinterpret_cast<const nlmsghdr*>(answer.data());
  if (static_cast<std::size_t>(n) < NLMSG_LENGTH(sizeof(nlmsgerr)) ||
      header->nlmsg_type != NLMSG_ERROR)
    return EBADMSG;
  return -reinterpret_cast<const nlmsgerr*>(NLMSG_DATA(header))->error;
}

}  // namespace

Result<std::uint64_t> recount(lbd& skeleton, Maps& maps, const std::vector<std::uint32_t>& lines,
                              bool all_namespaces) {
  // Sockets keep the mark of the last recount that saw them, also one of an earlier lbd, whose pid and
  // start time may have been the same (in a container they are).
  const std::uint32_t epoch = std::random_device{}() | 1;
  lb_control& control = maps.control[0];

  for (const auto id : lines) std::atomic_ref(maps.cold[id].recounted).store(0);
  std::atomic_ref(control.recount_epoch).store(epoch);
  // From here on every program follows the recount, and sockets that opened before are all in the
  // kernel's tables, where the walk finds them.
  Result<> walked = wait_for_grace_period();
  if (walked && all_namespaces)
    walked = walk_all_namespaces(skeleton.progs.lb_walk_tcp);
  else if (walked)
    if (auto sockets = run_iterator(skeleton.progs.lb_walk_tcp); !sockets)
      walked = tl::unexpected(sockets.error());

  std::uint64_t wrong = 0;
  if (walked) {
    const std::vector<Readings> readings = read_differences(maps, lines);
    for (std::size_t i = 0; i < lines.size(); ++i) {
      const std::int32_t difference = most_frequent(readings[i]);
      if (difference == 0) continue;
      std::atomic_ref(maps.backends[lines[i]].active)
          .fetch_sub(static_cast<__u32>(difference), std::memory_order_relaxed);
      wrong += static_cast<std::uint64_t>(std::abs(difference));
    }
  }
  std::atomic_ref(control.recount_epoch).store(0);
  if (!walked) return tl::unexpected(walked.error());
  return wrong;
}

Result<std::vector<lb_socket>> steered_tcp(lbd& skeleton) {
  return run_iterator(skeleton.progs.lb_walk_tcp);
}

Result<std::vector<lb_socket>> steered_udp(lbd& skeleton) {
  return run_iterator(skeleton.progs.lb_walk_udp, bpf_map__fd(skeleton.maps.udp_flows));
}

Result<std::uint64_t> destroy(const std::vector<lb_socket>& sockets) {
  if (sockets.empty()) return 0;
  const UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!fd) return fail(errno, "open a sock_diag socket");
  std::uint64_t destroyed = 0;
  for (const auto& socket : sockets) {
    const int err = exchange(fd.get(), destroy_request(socket));
    if (err == EOPNOTSUPP)
      return fail(err, "this kernel cannot end sockets (CONFIG_INET_DIAG_DESTROY is off)");
    if (err != 0 && err != ENOENT) return fail(err, "end a socket");
    if (err == 0) ++destroyed;
  }
  return destroyed;
}

}  // namespace lb::bpf
