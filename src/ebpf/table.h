// The bookkeeping of services, lines and slots, and the one writer of the maps. Works on memory and
// AddressMaps only: it loads nothing and attaches nothing. Every change is ordered as bpf/lb_maps.h
// says, so that a connecting client sees the old set or the new one.
//
// A *line* is one backend of one service (struct lb_backend). The first line of an address owns it:
// `address_ids` points to it and it counts the connections of all services; lines of further services
// on the same address are its members and count their own. UDP has no counts, hence no owners.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "ebpf/maps.h"
#include "ebpf/slot_space.h"
#include "ebpf/slots.h"
#include "model/programmed.h"

namespace lb::bpf {

// A 32-bit counter of the kernel, widened: it must be read at least once per wrap.
class WideCounter {
 public:
  std::uint64_t read(std::uint32_t now) {
    total_ += static_cast<std::uint32_t>(now - last_);
    last_ = now;
    return total_;
  }

 private:
  std::uint32_t last_ = 0;
  std::uint64_t total_ = 0;
};

class Table {
 public:
  // How long a line that left all slots stays known: covers the way from the connect hook, which the
  // grace period of the programs ends with, to SYN_SENT.
  static constexpr std::chrono::seconds kGrace{1};

  // Bounds how long a count may be wrong unnoticed; far below the time in which 32 bits wrap.
  static constexpr std::chrono::seconds kFullCollect{10};

  // `counting`: the kernel counts TCP connections. If not, `active` holds what the last walk over the
  // sockets found: good enough to free lines by, and shown to no one.
  explicit Table(Maps maps, bool counting = true);

  // Takes over what the maps hold; repairs what a crash left half done.
  [[nodiscard]] Result<> restore(Clock::time_point now);

  [[nodiscard]] Result<> upsert(const ProgrammedService& service, Clock::time_point now);
  [[nodiscard]] Result<> remove(const ServiceKey& key, Clock::time_point now);

  // No hook uses what was replaced at or before `began`.
  void grace_passed(Clock::time_point began);

  // Frees retired lines without connections; call about once a second. Within kFullCollect it also
  // looks at every count, at some in each call. True: one was seen below 0, which only a gap in the counting can cause.
  [[nodiscard]] Result<bool> collect(Clock::time_point now);
  // Compares the keys of both hashes in the kernel with what must be there, some in each call and all within kFullCollect, and puts
  // back what a stray tool removed or changed: how many.
  [[nodiscard]] Result<std::size_t> put_back_keys(Clock::time_point now);
  // UDP lines that collect() would free; their sockets are to be destroyed first.
  [[nodiscard]] std::vector<std::uint32_t> retired_udp(Clock::time_point now) const;

  [[nodiscard]] std::optional<ObservedService> observe(const ServiceKey& key);
  [[nodiscard]] std::vector<ServiceKey> keys() const;
  // Of both hashes in the kernel.
  [[nodiscard]] std::size_t used_keys() const { return keys_.size() + owned_.size(); }

  // Whose line it is: for events and socket walks; nullopt when it was given to another meanwhile.
  struct Place {
    ServiceKey service;
    Address backend;
  };
  [[nodiscard]] std::optional<Place> place_of(std::uint32_t id, std::uint32_t generation) const;

  // ---- ejection (table_eject.cpp) ----

  // lbd looks that much earlier than the hooks would try by themselves.
  static constexpr std::chrono::milliseconds kLookAhead{250};

  struct Ejected {
    Place place;
    std::chrono::milliseconds lasts;
    std::chrono::milliseconds look_after;
    bool again = false;  // it was out already: another look has failed
  };
  // Per cent of a service's lines; 0: none is ever passed over.
  void set_max_ejected(std::uint32_t per_cent);
  // A line that the hooks have ejected, once for each time.
  [[nodiscard]] std::optional<Ejected> notice_ejection(std::uint32_t id, Clock::time_point now);
  // Those that collect() and restore() have met.
  [[nodiscard]] std::vector<Ejected> take_ejected(Clock::time_point now);
  // lbd has looked itself. Both return after how long it must look again; nullopt: no more.
  [[nodiscard]] std::optional<std::chrono::milliseconds> eject(const ServiceKey& key,
                                                               const Address& backend, bool hangs,
                                                               Clock::time_point now);
  [[nodiscard]] std::optional<std::chrono::milliseconds> readmit(const ServiceKey& key,
                                                                 const Address& backend,
                                                                 Clock::time_point now);
  [[nodiscard]] bool is_ejected(const ServiceKey& key, const Address& backend) const;

  // Ids of the lines that count TCP connections.
  [[nodiscard]] std::vector<std::uint32_t> counting_lines() const;
  // Whether lines wait for the end of their TCP connections.
  [[nodiscard]] bool has_retired_tcp() const;

  // Of this host: which backends a client with a loopback source can reach. 127/8 and ::1 go without saying.
  void set_own_addresses(std::set<IpAddress> own);

  [[nodiscard]] Maps& maps() { return maps_; }
  [[nodiscard]] std::size_t used_services() const { return indices_used_; }
  [[nodiscard]] std::size_t used_lines() const { return lines_.size(); }
  [[nodiscard]] std::uint32_t used_slots() const { return space_.used(); }

 private:
  struct Line {
    ServiceKey service;
    Address address;
    std::uint32_t owner = 0;  // == its own id: it owns the address (or is UDP)
    bool listed = true;
    Clock::time_point retired;  // when it left its service; meaningful when not listed
    WideCounter opened{}, refused{}, timed_out{}, gave_up{}, other{};
    std::uint32_t noticed = 0;       // the `cooldown` that is known; 0: it is not ejected
    Clock::time_point ejected_at{};  // meaningful when it is
    std::uint64_t ejections = 0;
  };
  struct Entry {
    std::optional<std::uint32_t> index;  // into services; none: only its lines are left
    std::set<IpAddress> addresses;       // under which service_ids leads to it
    std::map<Address, std::uint32_t> lines;
    std::vector<std::uint32_t> merged;        // member lines whose place the owner's line has taken
    std::array<Region, LB_FAMILIES> regions;  // count 0: none, or ANY shares another's
  };
  struct Owned {
    std::uint32_t owner = 0;
    std::set<std::uint32_t> members;
  };
  // What an upsert needs, gathered before anything is written, so that a full map changes nothing.
  struct Draft {
    std::vector<std::uint32_t> lines;  // per backend of the service, in its order
    std::set<std::uint32_t> fresh;     // of these, newly taken
    std::vector<std::uint32_t> weights;
    std::array<SlotPlan, LB_FAMILIES> plans;
    std::array<std::optional<Region>, LB_FAMILIES> regions;  // set where a plan changed
    std::optional<std::uint32_t> fresh_index;
  };

  // table.cpp
  Result<> draft_lines(const ProgrammedService& service, const Entry& entry, Draft& draft);
  void draft_slots(const ProgrammedService& service, Draft& draft) const;
  Result<> draft_regions(const Entry& entry, Draft& draft);
  void abandon(const Draft& draft);
  Result<> write_lines(const ProgrammedService& service, Entry& entry, const Draft& draft);
  void switch_sets(Entry& entry, const Draft& draft, Clock::time_point now);
  void retire_absent(const Draft& draft, const Entry& entry, Clock::time_point now);
  Result<> switch_keys(const ServiceKey& key, Entry& entry, std::set<IpAddress> wanted);
  Result<> add_key(const lb_addr& at, std::uint32_t index);
  Result<> remove_key(const lb_addr& at);
  void use_port(const lb_addr& at);
  void leave_port(const lb_addr& at);
  [[nodiscard]] std::uint64_t& port_word(const lb_addr& at);
  bool plan_in_force(const Entry& entry, std::uint32_t family, const SlotPlan& plan) const;
  Result<> write_new_line(std::uint32_t id, const ProgrammedService& service,
                          const Address& address, std::uint32_t weight);
  void retire_line(std::uint32_t id, Clock::time_point now);
  void set_flags(std::uint32_t id, unsigned set, unsigned clear);
  // A service that is reached under other addresses than its own and that one's alias: which one a
  // client used has to be remembered per socket.
  static bool has_many_faces(const ServiceKey& key, const std::set<IpAddress>& addresses);

  // table_collect.cpp
  Result<> free_line(std::uint32_t id);
  bool promote_member(std::uint32_t owner_id, Clock::time_point now);
  [[nodiscard]] std::int64_t own_share(std::uint32_t id) const;
  bool look_at_some(Clock::time_point now);
  // Returns how often it was chosen; the failures go to `failed`.
  std::uint64_t read_counters(std::uint32_t id, Line& line, FailedConnects& failed);
  ObservedBackend observe_line(std::uint32_t id, Line& line);
  ObservedService observe_entry(const ServiceKey& key, Entry& entry);

  // table_eject.cpp
  [[nodiscard]] std::uint32_t max_ejected() const;
  [[nodiscard]] std::optional<std::uint32_t> line_at(const ServiceKey& key,
                                                     const Address& backend) const;
  void end_ejection(std::uint32_t id, Clock::time_point now);
  void show_ejected(const Entry& entry, ObservedService& service, Clock::time_point now) const;

  // table_restore.cpp
  Result<> restore_lines(Clock::time_point now);
  Result<> restore_owners();
  Result<> restore_services();
  [[nodiscard]] bool is_as_written(const ServiceKey& key, const Entry& entry) const;
  [[nodiscard]] bool is_set_as_written(const Entry& entry, std::uint32_t family) const;

  [[nodiscard]] bool counts(Protocol protocol) const {
    return counting_ && protocol == Protocol::Tcp;
  }

  Maps maps_;
  bool counting_;
  SlotSpace space_;
  std::map<ServiceKey, Entry> entries_;
  std::map<std::uint32_t, Line> lines_;
  std::set<std::uint32_t> retired_;  // lines that are not listed
  std::set<std::uint32_t> cold_;     // ejected lines that were met by chance
  std::set<IpAddress> own_;
  std::map<std::pair<__u8, __be16>, std::size_t> ports_;  // protocol, port: how many keys are there
  Clock::time_point looked_;
  std::uint32_t looked_up_to_ = 0;  // the last line that look_at_some() has seen
  Clock::time_point compared_;      // by put_back_keys()
  lb_addr compared_up_to_{};        // in keys_
  Address owned_up_to_{};           // in owned_
  std::map<Address, Owned> owned_;  // TCP addresses
  std::map<lb_addr, ServiceKey, bool (*)(const lb_addr&, const lb_addr&)> keys_;  // service_ids
  std::deque<std::uint32_t> free_lines_;  // oldest first, so that an id rests before reuse
  std::uint32_t next_line_ = 1;           // ids from here on were never used
  std::deque<std::uint32_t> free_indices_;
  std::uint32_t next_index_ = 0;
  struct RetiredIndex {
    std::uint32_t index;
    Clock::time_point since;
  };
  std::deque<RetiredIndex> retired_indices_;
  std::size_t indices_used_ = 0;
};

}  // namespace lb::bpf
