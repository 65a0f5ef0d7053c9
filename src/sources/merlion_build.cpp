// The second half of MerlionView: from keys to a Service.
#include <algorithm>

#include <fmt/format.h>

#include "base/text.h"
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

// By address; of two with the same one that is in use first, then by name.
bool better(const Backend& a, const Backend& b) {
  const auto rank = [](const Backend& x) { return x.state == BackendState::Active ? 0 : 1; };
  if (a.address != b.address) return a.address < b.address;
  if (rank(a) != rank(b)) return rank(a) < rank(b);
  return a.id < b.id;
}

}  // namespace

std::optional<Backend> MerlionView::make_backend(const std::string& name,
                                                 const MerlionBackend& known,
                                                 const LookupFn& lookup, Built& out) const {
  for (const auto& [key, error] : known.errors())
    out.warnings.push_back(fmt::format("etcd key {}: {}", key_name(name, key), error));
  if (known.is_ahead())
    out.warnings.push_back(
        fmt::format("etcd key {}: more than 60 s ahead of this host's clock; the backend counts as "
                    "fresh, but one "
                    "of the two clocks is wrong",
                    key_name(name, "last-seen-at")));
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
  const Lookup found = address_of(known.address()->host, lookup);
  const Backend* before = find_by_id(built_, name);
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

MerlionView::Built MerlionView::build(const LookupFn& lookup) {
  dirty_ = false;
  Built out;
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
  if (!built_ || *built_ != service) built_ = std::make_shared<const Service>(std::move(service));
  out.service = built_;
  return out;
}

}  // namespace lb
