#include "daemon/changes.h"

#include <utility>

#include <nlohmann/json.hpp>

#include "base/foreign_json.h"
#include "state/json_codec.h"

namespace lb {
namespace {

// Keeps the order of the fields, so that a person reads what happened first.
using Json = nlohmann::ordered_json;

Json head(const char* change, const Service& service) {
  return {{"change", change}, {"service", service.key.to_string()}, {"name", service.name}};
}

Json head(const char* change, const Service& service, const Backend& backend) {
  Json out = head(change, service);
  out["backend"] = backend.address.to_string();
  out["id"] = backend.id;
  return out;
}

template <class T>
void note(Json& out, const char* field, const T& before, const T& after) {
  if (before != after) out[field] = {{"from", before}, {"to", after}};
}

void compare(const Service& service, const Backend& before, const Backend& after, Json& changes) {
  Json out = head("backend-changed", service, after);
  const std::size_t nothing = out.size();
  note(out, "task", before.id, after.id);
  note(out, "host", before.host, after.host);
  note(out, "weight", before.weight, after.weight);
  note(out, "state", to_string(before.state), to_string(after.state));
  note(out, "reason", to_string(before.reason), to_string(after.reason));
  if (out.size() > nothing) changes.push_back(std::move(out));
}

Json settings_of(const Service& service) {
  nlohmann::json all = to_json(service);
  for (const char* other : {"key", "name", "origin", "backends", "default_address"})
    all.erase(other);
  return Json(std::move(all));
}

void compare_settings(const Service& before, const Service& after, Json& changes) {
  const Json was = settings_of(before);
  const Json is = settings_of(after);
  if (was == is && before.name == after.name) return;
  Json out = head("service-changed", after);
  note(out, "renamed", before.name, after.name);
  note(out, "settings", was, is);
  changes.push_back(std::move(out));
}

// Walks two lists that are sorted in the same way.
template <class List, class Less, class Gone, class Fresh, class Both>
void walk(const List& before, const List& after, Less less, Gone gone, Fresh fresh, Both both) {
  auto b = before.begin();
  auto a = after.begin();
  while (b != before.end() || a != after.end()) {
    if (a == after.end() || (b != before.end() && less(*b, *a)))
      gone(*b++);
    else if (b == before.end() || less(*a, *b))
      fresh(*a++);
    else
      both(*b++, *a++);
  }
}

void compare(const Service& before, const Service& after, Json& changes) {
  compare_settings(before, after, changes);
  walk(
      before.backends, after.backends,
      [](const Backend& x, const Backend& y) { return x.address < y.address; },
      [&](const Backend& b) { changes.push_back(head("backend-removed", after, b)); },
      [&](const Backend& b) {
        Json added = head("backend-added", after, b);
        added["host"] = b.host;
        added["weight"] = b.weight;
        added["state"] = to_string(b.state);
        changes.push_back(std::move(added));
      },
      [&](const Backend& b, const Backend& a) { compare(after, b, a, changes); });
}

std::string dump(Json json) { return dump_printable(std::move(json)); }

}  // namespace

std::string describe_changes(const std::vector<ServicePtr>& before,
                             const std::vector<ServicePtr>& after, SysTime time,
                             const std::string& from) {
  Json changes = Json::array();
  walk(
      before, after, [](const ServicePtr& x, const ServicePtr& y) { return x->key < y->key; },
      [&](const ServicePtr& s) {
        changes.push_back(head("service-removed", *s));
        for (const Backend& b : s->backends) changes.push_back(head("backend-removed", *s, b));
      },
      [&](const ServicePtr& s) {
        Json added = head("service-added", *s);
        added["settings"] = settings_of(*s);
        changes.push_back(std::move(added));
        Service bare = *s;
        bare.backends.clear();
        compare(bare, *s, changes);
      },
      [&](const ServicePtr& b, const ServicePtr& a) {
        if (b != a) compare(*b, *a, changes);
      });
  if (changes.empty()) return {};
  return dump({{"time", format_iso8601(time)}, {"from", from}, {"changes", std::move(changes)}});
}

std::string describe_state(const std::vector<ServicePtr>& services, SysTime time,
                           const std::string& from) {
  Json list = Json::array();
  for (const ServicePtr& service : services) list.push_back(Json(to_json(*service)));
  return dump({{"time", format_iso8601(time)}, {"from", from}, {"services", std::move(list)}});
}

}  // namespace lb
