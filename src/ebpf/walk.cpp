#include "ebpf/walk.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <map>
#include <random>
#include <set>
#include <string>
#include <thread>

#include <lbd.skel.h>

#include "ebpf/sock_diag.h"

namespace lb::bpf {
namespace {

namespace fs = std::filesystem;

// Runs an iterator program over all its sockets and returns what it wrote.
Result<std::vector<lb_socket>> run_iterator(const bpf_program* program) {
  const UniqueFd link(::bpf_link_create(bpf_program__fd(program), 0, BPF_TRACE_ITER, nullptr));
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
  if (!out.empty()) std::memcpy(out.data(), bytes.data(), out.size() * sizeof(lb_socket));
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

void append(std::vector<lb_socket>& to, std::vector<lb_socket> more) {
  to.insert(to.end(), more.begin(), more.end());
}

lb_addr peer_of(const lb_socket& socket) {
  lb_addr out{};
  std::memcpy(out.ip, socket.peer_ip, sizeof out.ip);
  out.port = socket.peer_port;
  out.proto = socket.proto;
  return out;
}

// Tells the line of each socket by its peer's address, and drops the others.
std::vector<lb_socket> with_backends(std::vector<lb_socket> sockets, const Maps& maps) {
  std::erase_if(sockets, [&](lb_socket& socket) {
    const auto id = maps.address_ids.find(peer_of(socket));
    if (!id || *id >= maps.backends.size()) return true;
    socket.backend = *id;
    socket.generation = maps.backends[*id].generation;
    return false;
  });
  return sockets;
}

// An owner's line counts the connections of all services on its address.
std::map<std::uint32_t, std::uint32_t> count_by_line(const std::vector<lb_socket>& sockets,
                                                     const Maps& maps) {
  std::map<std::uint32_t, std::uint32_t> counts;
  for (const lb_socket& socket : sockets) {
    ++counts[socket.backend];
    const std::uint32_t owner = maps.backends[socket.backend].owner;
    if (owner != socket.backend) ++counts[owner];
  }
  return counts;
}

}  // namespace

// An iterator shows the namespace of the thread that opens it, and SOCK_DESTROY acts there: hence a
// thread that moves.
Result<> SocketWalk::in_namespaces(const std::function<Result<>()>& visit) const {
  if (!all_namespaces_) return visit();
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
      if (auto visited = visit(); !visited) outcome = std::move(visited);
    }
  });
  mover.join();
  return outcome;
}

Result<std::uint64_t> SocketWalk::recount_by_list(Maps& maps,
                                                  const std::vector<std::uint32_t>& lines) const {
  std::vector<std::uint32_t> before;
  for (const auto id : lines)
    before.push_back(std::atomic_ref(maps.backends[id].active).load(std::memory_order_relaxed));
  LB_TRY(const auto sockets, steered_tcp(maps));
  auto counts = count_by_line(sockets, maps);
  std::uint64_t wrong = 0;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const std::uint32_t counted = counts[lines[i]];
    std::uint32_t expected = before[i];
    if (counted == expected) continue;
    if (std::atomic_ref(maps.backends[lines[i]].active).compare_exchange_strong(expected, counted))
      wrong += static_cast<std::uint64_t>(std::abs(static_cast<std::int32_t>(counted - before[i])));
  }
  return wrong;
}

Result<std::uint64_t> SocketWalk::recount(Maps& maps,
                                          const std::vector<std::uint32_t>& lines) const {
  if (!can_.counting || !can_.tcp) return recount_by_list(maps, lines);
  // Sockets keep the mark of the last recount that saw them, also one of an earlier lbd, whose pid and
  // start time may have been the same (in a container they are).
  const std::uint32_t epoch = std::random_device{}() | 1;
  lb_control& control = maps.control[0];

  for (const auto id : lines) std::atomic_ref(maps.cold[id].recounted).store(0);
  std::atomic_ref(control.recount_epoch).store(epoch);
  // From here on every program follows the recount, and sockets that opened before are all in the
  // kernel's tables, where the walk finds them.
  Result<> walked = wait_for_grace_period();
  if (walked)
    walked = in_namespaces([this]() -> Result<> {
      LB_CHECK(run_iterator(skeleton_.progs.lb_walk_tcp));
      return {};
    });

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

Result<std::vector<lb_socket>> SocketWalk::steered_tcp(const Maps& maps) const {
  std::vector<lb_socket> out;
  LB_CHECK(in_namespaces([&]() -> Result<> {
    LB_TRY(auto here, can_.tcp ? run_iterator(skeleton_.progs.lb_walk_tcp) : list_tcp());
    append(out, std::move(here));
    return {};
  }));
  return can_.tcp ? out : with_backends(std::move(out), maps);
}

Result<std::vector<lb_socket>> SocketWalk::steered_udp() const {
  std::vector<lb_socket> out;
  if (!can_.udp) return out;
  LB_CHECK(in_namespaces([&]() -> Result<> {
    LB_TRY(auto here, run_iterator(skeleton_.progs.lb_walk_udp));
    append(out, std::move(here));
    return {};
  }));
  return out;
}

Result<std::uint64_t> SocketWalk::end(Protocol protocol, const Matches& matches) const {
  const bool udp = protocol == Protocol::Udp;
  if (udp ? !can_.udp : !can_.tcp)
    return fail(ENOTSUP, udp ? "end UDP sockets: this kernel refuses iter/udp, so that lbd cannot "
                               "know which ones it steered"
                             : "end connections: this kernel refuses iter/tcp, so that lbd cannot "
                               "know which ones it steered");
  std::uint64_t ended = 0;
  LB_CHECK(in_namespaces([&]() -> Result<> {
    LB_TRY(auto here,
           run_iterator(udp ? skeleton_.progs.lb_walk_udp : skeleton_.progs.lb_walk_tcp));
    std::erase_if(here, [&](const lb_socket& socket) { return !matches(socket); });
    LB_TRY(const std::uint64_t count, destroy(here));
    ended += count;
    return {};
  }));
  return ended;
}

}  // namespace lb::bpf
