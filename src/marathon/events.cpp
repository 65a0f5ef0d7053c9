#include "marathon/events.h"

#include <algorithm>
#include <array>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/foreign_json.h"

namespace lb::marathon {
namespace {

using Json = nlohmann::json;
using Kind = EventHint::Kind;
using Fate = EventHint::Fate;

constexpr std::string_view kStatus = "status_update_event";
constexpr std::string_view kAppTerminated = "app_terminated_event";
constexpr std::string_view kUnknownTerminated = "unknown_instance_terminated_event";
constexpr std::string_view kLostMesos = "scheduler_disconnected_event";
constexpr std::array<std::string_view, 2> kUnhealthyKill{"unhealthy_task_kill_event",
                                                         "unhealthy_instance_kill_event"};
constexpr std::array<std::string_view, 2> kFoundMesos{"scheduler_reregistered_event",
                                                      "scheduler_registered_event"};

// Asked for. instance_changed_event says nothing that status_update_event does not.
constexpr std::array<std::string_view, 12> kAsked{
    kStatus,
    "health_status_changed_event",
    "instance_health_changed_event",
    kUnknownTerminated,
    "unhealthy_task_kill_event",
    "unhealthy_instance_kill_event",
    "api_post_event",
    kAppTerminated,
    "deployment_info",
    "deployment_success",
    "deployment_failed",
    "deployment_step_success",
};
// Come from versions that ignore the filter, and say that something may have changed.
constexpr std::array<std::string_view, 5> kAlso{"instance_changed_event", "group_change_success",
                                                "group_change_failed", "deployment_step_failure",
                                                "failed_health_check_event"};

template <class List>
bool contains(const List& list, std::string_view text) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

std::string text_at(const Json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
}

Fate fate_of(std::string_view status) {
  // TASK_LOST and TASK_UNREACHABLE are no ends: the agent may come back.
  constexpr std::array<std::string_view, 7> kEnds{
      "TASK_FINISHED", "TASK_FAILED", "TASK_KILLED",          "TASK_ERROR",
      "TASK_DROPPED",  "TASK_GONE",   "TASK_GONE_BY_OPERATOR"};
  constexpr std::array<std::string_view, 3> kStarts{"TASK_STAGING", "TASK_STARTING",
                                                    "TASK_RUNNING"};
  if (status == "TASK_KILLING") return Fate::Ends;
  if (contains(kEnds, status)) return Fate::Gone;
  return contains(kStarts, status) ? Fate::Starts : Fate::None;
}

void read_fate(EventHint& hint, std::string_view type, const Json& data) {
  if (type == kAppTerminated) {
    hint.app = text_at(data, "appId");
    if (!hint.app.empty()) hint.fate = Fate::Gone;
    return;
  }
  hint.task = text_at(data, "taskId");
  if (hint.task.empty()) hint.instance = text_at(data, "instanceId");
  if (hint.task.empty() && hint.instance.empty()) return;
  if (type == kStatus)
    hint.fate = fate_of(text_at(data, "taskStatus"));
  else if (type == kUnknownTerminated)
    hint.fate = Fate::Gone;
  else
    hint.fate = Fate::Ends;
}

}  // namespace

void SseParser::add(std::string_view bytes) {
  if (cut_line_) return;
  if (line_.size() + event_.data.size() + bytes.size() <= limit_) {
    line_.append(bytes);
    return;
  }
  cut_line_ = true;
  event_.cut = true;
  event_.data.clear();
  event_.data.shrink_to_fit();
  line_.clear();
}

void SseParser::end_line(std::vector<SseEvent>& out) {
  const bool cut = std::exchange(cut_line_, false);
  std::string line = std::exchange(line_, {});
  if (std::exchange(at_start_, false) && line.starts_with("\xef\xbb\xbf")) line.erase(0, 3);
  if (line.empty() && !cut) {
    SseEvent event = std::exchange(event_, {});
    const bool had_data = std::exchange(has_data_, false);
    if (event.cut) event.data.clear();
    if (had_data || event.cut) out.push_back(std::move(event));
    return;
  }
  const auto colon = line.find(':');
  std::string value = colon == std::string::npos ? std::string() : line.substr(colon + 1);
  if (value.starts_with(' ')) value.erase(0, 1);
  const std::string_view field = std::string_view(line).substr(0, colon);
  if (field == "event") {
    event_.type = std::move(value);
  } else if (field == "data") {
    if (has_data_) event_.data += '\n';
    has_data_ = true;
    if (!event_.cut) event_.data += value;
  }
}

std::vector<SseEvent> SseParser::feed(std::string_view bytes) {
  std::vector<SseEvent> out;
  while (!bytes.empty()) {
    if (std::exchange(after_cr_, false) && bytes.front() == '\n') {
      bytes.remove_prefix(1);
      continue;
    }
    const auto end = bytes.find_first_of("\r\n");
    add(bytes.substr(0, end));
    if (end == std::string_view::npos) break;
    after_cr_ = bytes[end] == '\r';
    bytes.remove_prefix(end + 1);
    end_line(out);
  }
  return out;
}

EventHint read_event(const SseEvent& event) {
  EventHint hint;
  std::string type = event.type;
  const bool needs_data = type.empty() || type == kStatus || type == kAppTerminated ||
                          type == kUnknownTerminated || contains(kUnhealthyKill, type);
  Json data;
  if (needs_data) data = parse_json(event.data).value_or(Json());
  // Without a type and unreadable: it may have been anything.
  if (type.empty() && (event.cut || !data.is_object())) {
    hint.kind = event.cut ? Kind::Read : Kind::Ignored;
    return hint;
  }
  if (type.empty()) type = text_at(data, "eventType");
  if (type == kLostMesos) hint.kind = Kind::LostMesos;
  if (contains(kFoundMesos, type)) hint.kind = Kind::FoundMesos;
  if (contains(kAsked, type) || contains(kAlso, type)) hint.kind = Kind::Read;
  const bool tells = type == kStatus || type == kAppTerminated || type == kUnknownTerminated ||
                     contains(kUnhealthyKill, type);
  if (tells && data.is_object()) read_fate(hint, type, data);
  return hint;
}

bool is_of_instance(std::string_view task, std::string_view instance) {
  if (instance.empty()) return false;
  if (task.starts_with(instance)) {
    const auto rest = task.substr(instance.size());
    return rest.empty() || rest.starts_with("._") || rest.starts_with(".$");
  }
  constexpr std::string_view kLegacy = ".marathon-";
  const auto at = instance.rfind(kLegacy);
  if (at == std::string_view::npos) return false;
  const auto app = instance.substr(0, at);
  const auto id = instance.substr(at + kLegacy.size());
  return task.size() == app.size() + 1 + id.size() && task.starts_with(app) &&
         task[app.size()] == '.' && task.ends_with(id);
}

std::string events_query() {
  std::string out;
  for (const std::string_view type : kAsked) out.append("event_type=").append(type).append("&");
  for (const std::string_view type : kFoundMesos)
    out.append("event_type=").append(type).append("&");
  return out.append("event_type=").append(kLostMesos).append("&plan-format=light");
}

}  // namespace lb::marathon
