// The second half of MerlionView: from keys to a Service.
#include <algorithm>

#include <fmt/format.h>

#include "base/text.h"
#include "model/host_address.h"
#include "sources/merlion_view.h"

namespace lb {
namespace {

std::string last_part(const std::string& prefix) {
  return prefix.substr(prefix.rfind('/') + 1);  // npos + 1 is 0
}

const Backend* find_by_id(const ServicePtr& service, const std::string& id) {
  if (!service) return nullptr;
  for (const Backend& backend : service->backends)
    if (backend.id == id) return &backend;
  return nullptr;
}

MerlionView::Lookup address_of(const std::string& host, const MerlionView::LookupFn& lookup) {
  const auto literal = IpAddress::parse(host);
  if (!literal) return lookup(host);
  MerlionView::Lookup out;
  out.ip = *literal;
  return out;
}

// The same for what one connects to. A literal was looked at when it was read; a name may turn out to
// mean a wildcard.
MerlionView::Lookup host_of(const std::string& host, const MerlionView::LookupFn& lookup) {
  MerlionView::Lookup out = address_of(host, lookup);
  if (!out.ip || why_no_host(*out.ip).empty()) return out;
  out.error = fmt::format("host name '{}' is {}, which is {}", printable(host), out.ip->to_string(),
                          why_no_host(*out.ip));
  out.ip.reset();
  return out;
}

// By address; of two with the same one that is in use first, then by name.
bool better(const Backend& a, const Backend& b) {
  const auto rank = [](const Backend& x) { return x.state == BackendState::Active ? 0 : 1; };
  if (a.address != b.address) return a.address < b.address;
  if (rank(a) != rank(b)) return rank(a) < rank(b);
  return a.id < b.id;
}

// lbd's own look at each, for as long as what etcd and clients say is no evidence.
HealthCheck direct_probe() {
  HealthCheck out;
  out.interval = std::chrono::seconds(1);
  out.rise = 1;
  return out;
}

}  // namespace

std::optional<Backend> MerlionView::make_backend(const std::string& name,
                                                 const MerlionBackend& known,
                                                 const LookupFn& lookup, Built& out) const {
  for (const auto& [key, error] : known.errors())
    out.warnings.push_back(fmt::format("etcd key {}: {}", key_name(name, key), error));
  if (printable(name, 4096) != name || name.empty()) {
    out.warnings.push_back(
        fmt::format("etcd key {}: the name is not printable; ignored", key_name(name, "")));
    return std::nullopt;
  }
  if (!known.address()) {
    // Junk in the address is no evidence that the backend has gone; its absence is.
    if (known.errors().contains("listen-address"))
      out.absence = Absence::Guarded;
    else if (known.is_incomplete())
      out.warnings.push_back(
          fmt::format("etcd key {}: missing; the backend is ignored until it "
                      "is there",
                      key_name(name, "listen-address")));
    return std::nullopt;
  }
  Backend backend;
  backend.id = name;
  backend.host = known.address()->host;
  backend.address.port = known.address()->port;
  backend.origin = key_name(name, "");
  backend.state = known.state();
  backend.reason = known.reason();
  const Lookup found = host_of(known.address()->host, lookup);
  const Backend* before = find_by_id(built_, name);
  if (before != nullptr && !why_no_host(before->address.ip).empty()) before = nullptr;
  if (found.ip) {
    backend.address.ip = *found.ip;
  } else if (before != nullptr) {
    backend.address.ip = before->address.ip;
  }
  if (!found.ip && !found.pending)
    out.warnings.push_back(fmt::format("etcd key {}: {}{}", key_name(name, "listen-address"),
                                       found.error, before ? "; the last address stays" : ""));
  if (found.ip || before != nullptr) return backend;
  out.absence = Absence::Guarded;  // it is there, we only do not know where
  return std::nullopt;
}

void MerlionView::add_backends(Service& service, const LookupFn& lookup, Built& out) const {
  std::vector<Backend> all;
  for (const auto& [name, known] : backends_)
    if (auto backend = make_backend(name, known, lookup, out)) all.push_back(std::move(*backend));
  std::sort(all.begin(), all.end(), better);
  for (Backend& backend : all) {
    if (!service.backends.empty() && service.backends.back().address == backend.address) {
      out.warnings.push_back(fmt::format("etcd key {}: {} is already the address of {}; ignored",
                                         key_name(backend.id, "listen-address"),
                                         backend.address.to_string(), service.backends.back().id));
      continue;
    }
    service.backends.push_back(std::move(backend));
  }
}

// When all of two or more disagree with this host's clock in the same way, it is the one to look at.
void MerlionView::add_clock_warnings(Built& out) const {
  std::size_t count = 0;
  std::size_t ahead = 0;
  std::size_t behind = 0;
  for (const auto& [name, known] : backends_) {
    if (!known.last_seen()) continue;
    ++count;
    ahead += known.is_ahead() ? 1 : 0;
    behind += known.is_behind() ? 1 : 0;
  }
  if (count > 1 && (ahead == count || behind == count)) {
    out.warnings.push_back(
        fmt::format("etcd prefix {}: the last-seen-at of all {} backends is more than 60 s {} this "
                    "host's clock, which is the likelier one to be wrong; the backends are judged "
                    "by when it changes",
                    config_->upstream_prefix, count, ahead == count ? "ahead of" : "behind"));
    return;
  }
  for (const auto& [name, known] : backends_)
    if (known.is_ahead() || known.is_behind())
      out.warnings.push_back(
          fmt::format("etcd key {}: more than 60 s {} this host's clock; the backend is judged by "
                      "when it changes, but one of the two clocks is wrong",
                      key_name(name, "last-seen-at"), known.is_ahead() ? "ahead of" : "behind"));
}

void MerlionView::add_common_faults(const Service& service, Built& out) const {
  const auto count = [&](BackendState state, Reason reason) {
    return std::count_if(service.backends.begin(), service.backends.end(),
                         [&](const Backend& b) { return b.state == state && b.reason == reason; });
  };
  if (all_silent_)
    out.warnings.push_back(fmt::format(
        "etcd prefix {}: {} backends fell silent together, within upstream-freshness ({} s): etcd "
        "or the way to it is the likelier fault; each stays in use until lbd's own probe of it "
        "fails",
        config_->upstream_prefix, count(BackendState::Unknown, Reason::NotSeen),
        config_->freshness.count()));
  if (!all_failed_) return;
  std::string last;
  for (const auto& [name, known] : backends_)
    if (known.is_last_resort()) last = known.exit()->reason;
  out.warnings.push_back(fmt::format(
      "etcd prefix {}: connects to all {} backends failed within 10 s ({}): this host's own "
      "network is the likelier fault; they take connections as the last resort until one is heard "
      "of",
      config_->upstream_prefix, count(BackendState::Exited, Reason::Unreachable), last));
}

std::string MerlionView::full_text(std::string_view why) {
  return fmt::format(
      "etcd takes no writes ({}): heartbeats cannot arrive, so freshness stands still; compact and "
      "defragment it, and disarm the alarm",
      why);
}

MerlionView::Built MerlionView::build(const LookupFn& lookup) {
  dirty_ = false;
  Built out;
  if (!full_.empty())
    out.warnings.push_back(fmt::format("etcd prefix {}: {}", prefix_, full_text(full_)));
  if (!config_error_.empty())
    out.warnings.push_back(config_error_ + (config_ ? "; the last good configuration stays"
                                                    : "; there is no service until it is valid"));
  if (!config_) {
    // A service of an earlier run, and a configuration that says nothing about it.
    if (built_) out.absence = Absence::Guarded;
    return out;
  }
  if (loaded_range_ != backend_range()) {  // a range of the new prefix is under way
    out.service = built_;
    out.absence = Absence::Guarded;
    return out;
  }
  Service service;
  service.name = last_part(prefix_);
  service.origin = prefix_;
  service.key.port = config_->listen.port;
  const Lookup listen = address_of(config_->listen.host, lookup);
  if (listen.ip)
    service.key.address = *listen.ip;
  else if (built_)
    service.key.address = built_->key.address;
  if (!listen.ip && !listen.pending)
    out.warnings.push_back(fmt::format("etcd key {}/listen-address: {}", prefix_, listen.error));
  if (!listen.ip && !built_) {
    out.absence = Absence::Guarded;
    return out;
  }
  add_backends(service, lookup, out);
  add_clock_warnings(out);
  if (all_silent_ || all_failed_) {
    add_common_faults(service, out);
    service.check = direct_probe();
  }
  for (const auto& [key, value] : config_values_)
    if (const std::string meant = misspelt_config_key(key); !meant.empty())
      out.warnings.push_back(fmt::format("etcd key {}/{}: {}", prefix_, printable(key), meant));
  if (!built_ || *built_ != service) built_ = std::make_shared<const Service>(std::move(service));
  out.service = built_;
  return out;
}

}  // namespace lb
