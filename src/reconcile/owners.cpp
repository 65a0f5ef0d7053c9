#include "reconcile/owners.h"

#include <algorithm>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "base/audit.h"

namespace lb {

Holder find_holder(const WantedOwner& wanted, const std::vector<Listener>& listeners,
                   const HostView& host) {
  if (!host.has(wanted.backend.ip))
    return {host.known ? Holder::Kind::Elsewhere : Holder::Kind::Unknown};
  const Frontend to{wanted.service.protocol, wanted.backend.ip, wanted.backend.port};
  Holder out{Holder::Kind::Nothing};
  for (const Listener& listener : on_port(listeners, to.protocol, to.port)) {
    if (!receives(listener, to)) continue;
    if (listener.uid != wanted.uid) return {Holder::Kind::Other, listener.uid};
    out.kind = Holder::Kind::Own;
  }
  return out;
}

bool Owners::want(std::vector<WantedOwner> wanted) {
  std::map<OwnerVerdicts::key_type, Entry> next;
  for (WantedOwner& w : wanted) {
    const OwnerVerdicts::key_type id{w.service, w.backend};
    const auto before = entries_.find(id);
    const bool same = before != entries_.end() && before->second.wanted.uid == w.uid;
    Entry entry = same ? std::move(before->second) : Entry{};
    entry.wanted = std::move(w);
    next.insert_or_assign(id, std::move(entry));
  }
  entries_ = std::move(next);
  (void)publish();  // without those that are wanted no more
  return std::any_of(entries_.begin(), entries_.end(),
                     [](const auto& entry) { return !entry.second.seen; });
}

void Owners::look_again() {
  for (auto& [id, entry] : entries_) entry.seen = false;
}

bool Owners::looked(const Result<std::vector<Listener>>& listeners, const HostView& host,
                    Time began, Time now) {
  if (began < began_) return false;  // what came later is known
  began_ = began;
  if (listeners) good_ = began;
  error_ = listeners ? "" : listeners.error().message();
  stale_ = !listeners && now - good_ > kKept;
  for (auto& [id, entry] : entries_) {
    entry.seen = true;
    if (listeners)
      entry.holder = find_holder(entry.wanted, *listeners, host);
    else if (stale_)
      entry.holder = {};
    tell(entry, now);
  }
  return publish();
}

bool Owners::publish() {
  OwnerVerdicts next;
  for (const auto& [id, entry] : entries_)
    if (entry.seen) next.emplace(id, text_of(entry));
  if (next == verdicts_) return false;
  verdicts_ = std::move(next);
  return true;
}

std::string Owners::text_of(const Entry& entry) const {
  const std::string wants = user(entry.wanted.uid);
  switch (entry.holder.kind) {
    case Holder::Kind::Own:
      return {};
    case Holder::Kind::Other:
      return fmt::format("port is held by {}, wants {}", user(entry.holder.uid), wants);
    case Holder::Kind::Nothing:
      return fmt::format("nothing listens on the port, wants {}", wants);
    case Holder::Kind::Elsewhere:
      return "uid is for backends at an address of this host, and this is none";
    case Holder::Kind::Unknown:
      return fmt::format("who holds the port cannot be found out, wants {}", wants);
  }
  bug("holder of a port");
}

std::string Owners::user(Uid uid) const {
  const auto name = names_.find(uid);
  return name == names_.end() || name->second.empty()
             ? fmt::format("uid {}", uid)
             : fmt::format("uid {} ({})", uid, name->second);
}

void Owners::tell(Entry& entry, Time now) const {
  std::erase_if(entry.told_at, [&](const auto& t) { return now - t.second >= kToldAgain; });
  if (entry.told == entry.holder || entry.told_at.contains(entry.holder)) return;
  entry.told = entry.holder;
  entry.told_at.emplace(entry.holder, now);
  const bool own = entry.holder.kind == Holder::Kind::Own;
  const auto holder = [&]() -> std::string {
    if (own) return fmt::format("uid={}", entry.wanted.uid);
    return entry.holder.kind == Holder::Kind::Other ? fmt::format("uid={}", entry.holder.uid)
                                                    : "uid=?";
  };
  const Audit audit{.event = own ? "port-owner-back" : "port-owner-wrong",
                    .who = holder(),
                    .from = "socket-table",
                    .what = fmt::format("{} service={}", entry.wanted.backend.to_string(),
                                        entry.wanted.service.to_string()),
                    .why = text_of(entry),
                    .result = own ? "used" : "not-used"};
  spdlog::log(own ? spdlog::level::info : spdlog::level::warn, "{}", to_string(audit));
}

std::set<Uid> Owners::unnamed() const {
  std::set<Uid> out;
  for (const auto& [id, entry] : entries_) {
    out.insert(entry.wanted.uid);
    if (entry.holder.kind == Holder::Kind::Other) out.insert(entry.holder.uid);
  }
  std::erase_if(out, [&](Uid uid) { return names_.contains(uid); });
  return out;
}

bool Owners::named(Names names) {
  std::set<Uid> used;
  for (const auto& [id, entry] : entries_) {
    used.insert(entry.wanted.uid);
    if (entry.holder.kind == Holder::Kind::Other) used.insert(entry.holder.uid);
  }
  names_.merge(names);
  std::erase_if(names_, [&](const auto& name) { return !used.contains(name.first); });
  return publish();
}

std::string Owners::problem() const {
  if (error_.empty() || entries_.empty()) return {};
  return fmt::format("who holds the ports of backends with uid cannot be read: {}: {}", error_,
                     stale_ ? "they get no new connections"
                            : "for 10 s they stay as they were seen last, then they get no new "
                              "connections");
}

std::vector<std::string> Owners::warnings() const {
  std::vector<std::string> out;
  for (const auto& [id, entry] : entries_)
    if (entry.holder.kind == Holder::Kind::Elsewhere)
      out.push_back(fmt::format("{}: service {} ({}): backend {} gets no new connections: {}",
                                entry.wanted.origin, entry.wanted.service_name,
                                entry.wanted.service.to_string(), entry.wanted.backend.to_string(),
                                text_of(entry)));
  return out;
}

}  // namespace lb
