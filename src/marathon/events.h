// The event stream: bytes to events, events to what they mean for us. Pure. An event is only a hint: what
// it says of a task's end is used at once, everything else makes us read again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lb::marathon {

struct SseEvent {
  std::string type;  // of the line `event:`; Marathon 0.9 and 0.10 have none
  std::string data;
  bool cut = false;  // was larger than the limit: `data` is empty

  bool operator==(const SseEvent&) const = default;
};

// Lines end with CR LF, LF or CR; Marathon's heartbeat is a CR and an LF in two segments. What belongs to
// an event above the limit is counted and dropped as it comes.
class SseParser {
 public:
  explicit SseParser(std::size_t limit) : limit_(limit) {}
  // The events that these bytes complete.
  [[nodiscard]] std::vector<SseEvent> feed(std::string_view bytes);

 private:
  void end_line(std::vector<SseEvent>& out);
  void add(std::string_view bytes);

  std::size_t limit_;
  std::string line_;
  SseEvent event_;
  bool has_data_ = false;
  bool cut_line_ = false;  // the line is above the limit: the rest of it is dropped
  bool after_cr_ = false;
  bool at_start_ = true;  // a byte order mark may come
};

struct EventHint {
  enum class Kind : std::uint8_t {
    Ignored,
    Read,       // something has changed: read everything
    LostMesos,  // what Marathon says may be old until FoundMesos
    FoundMesos,
  };
  enum class Fate : std::uint8_t {
    None,
    Starts,
    Ends,  // is being killed
    Gone,  // has ended
  };
  Kind kind = Kind::Ignored;
  Fate fate = Fate::None;
  // Whose fate: a task's, else an instance's, else an app's; "" each where the event does not say.
  std::string task{}, instance{}, app{};

  bool operator==(const EventHint&) const = default;
};

// Never fails: an event of a known type that cannot be read is still a reason to read.
[[nodiscard]] EventHint read_event(const SseEvent& event);

// Does this task belong to that instance? "a.instance-1._app.2" does to "a.instance-1", and "a.1" does to
// "a.marathon-1".
[[nodiscard]] bool is_of_instance(std::string_view task, std::string_view instance);

// What to ask for, as a query: "event_type=...&plan-format=light". Versions that do not know it ignore it.
[[nodiscard]] std::string events_query();

}  // namespace lb::marathon
