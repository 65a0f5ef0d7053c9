// Backends that are left alone for a while because they refused or do not answer.
#include <algorithm>
#include <atomic>

#include "ebpf/cooldown.h"
#include "ebpf/table.h"

namespace lb::bpf {
namespace {

std::uint32_t load(std::uint32_t& word) {
  return std::atomic_ref(word).load(std::memory_order_relaxed);
}

// When lbd is to look, before the hooks try by themselves.
std::chrono::milliseconds look_after(std::uint32_t ticks) {
  return std::max(duration_of(ticks) - Table::kLookAhead, std::chrono::milliseconds(0));
}

}  // namespace

std::uint32_t Table::max_ejected() const {
  const std::uint32_t set = maps_.control[0].max_ejected;
  return set == 0 ? 50 : set - 1;
}

void Table::set_max_ejected(std::uint32_t per_cent) {
  std::atomic_ref(maps_.control[0].max_ejected).store(per_cent + 1, std::memory_order_relaxed);
}

std::optional<Table::Ejected> Table::notice_ejection(std::uint32_t id, Clock::time_point now) {
  const auto it = lines_.find(id);
  if (it == lines_.end()) return std::nullopt;
  Line& line = it->second;
  const std::uint32_t cooldown = load(maps_.backends[id].cooldown);
  if (cooldown == 0) line.noticed = 0;  // a trial of the hooks went well
  if (cooldown == line.noticed || (cooldown & LB_COOLDOWN_TRIAL) != 0) return std::nullopt;
  const bool again = line.noticed != 0;
  if (!again) line.ejected_at = now;
  line.noticed = cooldown;
  ++line.ejections;
  const std::uint32_t left = ticks_left(cooldown, tick_at(now)) % LB_HELD_TICKS;
  return Ejected{.place = {line.service, line.address},
                 .lasts = duration_of(left),
                 .look_after = look_after(left),
                 .again = again};
}

std::vector<Table::Ejected> Table::take_ejected(Clock::time_point now) {
  std::vector<Ejected> out;
  for (const auto id : std::exchange(cold_, {}))
    if (auto ejected = notice_ejection(id, now)) out.push_back(*std::move(ejected));
  return out;
}

// Of a service, by its place: nullopt when it has gone meanwhile, or counts nothing.
std::optional<std::uint32_t> Table::line_at(const ServiceKey& key, const Address& backend) const {
  const auto entry = entries_.find(key);
  if (entry == entries_.end()) return std::nullopt;
  const auto line = entry->second.lines.find(backend);
  if (line == entry->second.lines.end() || !counts(key.protocol) || !lines_.at(line->second).listed)
    return std::nullopt;
  return line->second;
}

std::optional<std::chrono::milliseconds> Table::eject(const ServiceKey& key, const Address& backend,
                                                      bool hangs, Clock::time_point now) {
  const auto id = line_at(key, backend);
  if (!id || max_ejected() == 0) return std::nullopt;
  lb_backend& at = maps_.backends[*id];
  lb_backend_cold& line = maps_.cold[*id];
  const Tick tick = tick_at(now);
  std::uint32_t cooldown = load(at.cooldown);
  const std::uint32_t left = ticks_left(cooldown, tick) % LB_HELD_TICKS;
  const bool in_force = (cooldown & LB_COOLDOWN_TRIAL) == 0 && left > 0;
  const bool held = (cooldown & LB_COOLDOWN_HELD) != 0;
  // It is out already, and as it should be: this look was not the one that decides.
  if (in_force && duration_of(left) > 2 * kLookAhead && (held || !hangs)) return look_after(left);
  const bool goes_on = cooldown != 0;
  const std::uint32_t times = goes_on
                                  ? std::min<std::uint32_t>(line.ejections + 1, LB_EJECTION_LONGEST)
                                  : next_ejection(line, tick);
  const std::uint32_t lasts = LB_EJECTION_TICKS(times);
  const std::uint32_t until = cooldown_until(tick + lasts, hangs ? LB_COOLDOWN_HELD : 0);
  // A hook that was quicker has seen the same.
  if (std::atomic_ref(at.cooldown).compare_exchange_strong(cooldown, until))
    std::atomic_ref(line.ejections).store(times, std::memory_order_relaxed);
  (void)notice_ejection(*id, now);
  return look_after(lasts);
}

std::optional<std::chrono::milliseconds> Table::readmit(const ServiceKey& key,
                                                        const Address& backend,
                                                        Clock::time_point now) {
  const auto id = line_at(key, backend);
  if (!id) return std::nullopt;
  const std::uint32_t cooldown = load(maps_.backends[*id].cooldown);
  if (cooldown == 0) return std::nullopt;
  const std::uint32_t left = ticks_left(cooldown, tick_at(now));
  // Refused a moment ago: the time that this costs is served.
  if ((cooldown & LB_COOLDOWN_FLAGS) == 0 && duration_of(left) > 2 * kLookAhead)
    return look_after(left);
  end_ejection(*id, now);
  return std::nullopt;
}

// lbd has seen it well: the next refusal counts as the first. A client that is refused where lbd is not (a rule by
// user sends it elsewhere) could keep the line out for a minute else.
void Table::end_ejection(std::uint32_t id, Clock::time_point now) {
  std::atomic_ref(maps_.cold[id].ejections).store(0, std::memory_order_relaxed);
  std::atomic_ref(maps_.cold[id].back_since).store(tick_at(now), std::memory_order_relaxed);
  std::atomic_ref(maps_.backends[id].cooldown).store(0, std::memory_order_relaxed);
  lines_.at(id).noticed = 0;
}

bool Table::is_ejected(const ServiceKey& key, const Address& backend) const {
  const auto id = line_at(key, backend);
  return id && load(maps_.backends[*id].cooldown) != 0;
}

// What the hooks pass over is shown so; what they use all the same is not.
void Table::show_ejected(const Entry& entry, ObservedService& service,
                         Clock::time_point now) const {
  const Tick tick = tick_at(now);
  std::vector<std::pair<ObservedBackend*, std::uint32_t>> used;  // with the ticks left
  std::vector<std::uint32_t> ranks;
  for (ObservedBackend& b : service.backends) {
    if (!b.listed || b.weight == 0) continue;
    const std::uint32_t id = entry.lines.at(b.address);
    used.emplace_back(&b, ticks_left(load(maps_.backends[id].cooldown), tick));
    ranks.push_back(LB_EJECTED_RANK(used.back().second, id));
  }
  if (std::all_of(ranks.begin(), ranks.end(), [](auto rank) { return rank == 0; })) return;
  const std::uint32_t spared = cutoff(ranks, max_ejected());
  for (std::size_t i = 0; i < used.size(); ++i) {
    if (ranks[i] <= spared) continue;
    const auto& [b, left] = used[i];
    const Line& line = lines_.at(entry.lines.at(b->address));
    b->ejected = {.lasts = duration_of(left % LB_HELD_TICKS),
                  .held = left >= LB_HELD_TICKS,
                  .ago = std::chrono::duration_cast<std::chrono::milliseconds>(
                      line.noticed == 0 ? Clock::duration::zero() : now - line.ejected_at)};
  }
}

}  // namespace lb::bpf
