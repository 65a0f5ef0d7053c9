#include "reconcile/held_ports.h"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "state/json_codec.h"
#include "state/saved_file.h"

namespace lb {
namespace {

using nlohmann::json;

constexpr int kHeldVersion = 1;

bool is_old(const std::optional<SysTime>& since, SysTime now) {
  return since && now - *since > HeldPorts::kRemembered;
}

Result<> write_held(const std::string& path,
                    const std::map<Frontend, std::optional<SysTime>>& held) {
  json list = json::array();
  for (const auto& [frontend, since] : held) {
    json item{{"port", frontend.to_string()}};
    if (since) item["free_since"] = format_iso8601(*since);
    list.push_back(std::move(item));
  }
  return write_file_atomically(path,
                               encode_json({{"version", kHeldVersion}, {"held", std::move(list)}}));
}

}  // namespace

Result<HeldPorts> HeldPorts::open(std::string path) {
  HeldPorts out;
  out.path_ = std::move(path);
  LB_CHECK(load_saved(out.path_, [&](std::string_view text) {
    return decode_json(text, kHeldVersion, [&](const json& root) -> Result<> {
      for (const json& item : root.at("held")) {
        LB_TRY(const Frontend frontend, Frontend::parse(item.at("port").get<std::string>()));
        std::optional<SysTime> since;
        if (const auto it = item.find("free_since"); it != item.end()) {
          LB_TRY(since, parse_iso8601(it->get<std::string>()));
        }
        out.held_.insert_or_assign(frontend, since);
      }
      return {};
    });
  }));
  return out;
}

HeldPorts HeldPorts::without(std::string path) {
  HeldPorts out;
  out.path_ = std::move(path);
  return out;
}

void HeldPorts::take(const Frontend& frontend) {
  const auto [it, fresh] = held_.try_emplace(frontend);
  dirty_ = dirty_ || fresh || it->second;
  it->second.reset();
}

void HeldPorts::release(const Frontend& frontend, SysTime now) {
  const auto it = held_.find(frontend);
  if (it == held_.end() || it->second) return;
  it->second = now;
  dirty_ = true;
  forget_old(now);
}

void HeldPorts::release_all_but(const std::function<bool(const Frontend&)>& held, SysTime now) {
  for (auto& [frontend, since] : held_) {
    if (since || held(frontend)) continue;
    since = now;
    dirty_ = true;
  }
  forget_old(now);
}

void HeldPorts::forget_old(SysTime now) {
  const std::size_t gone =
      std::erase_if(held_, [&](const auto& entry) { return is_old(entry.second, now); });
  dirty_ = dirty_ || gone > 0;
}

bool HeldPorts::contains(const Frontend& frontend, SysTime now) const {
  const auto it = held_.find(frontend);
  return it != held_.end() && !is_old(it->second, now);
}

std::function<Result<>()> HeldPorts::unsaved() {
  if (!has_unsaved()) return {};
  dirty_ = false;
  return [path = path_, held = held_] { return write_held(path, held); };
}

}  // namespace lb
