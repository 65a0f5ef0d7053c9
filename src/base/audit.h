// Who did what: one line of the log for each act that changes what connections do, always in the same form:
// audit=EVENT who="..." from="..." what="..." why="..." result="..."
#pragma once

#include <string>
#include <string_view>

namespace lb {

struct Audit {
  std::string_view event;  // "drain": words-with-dashes, which stay the same
  std::string who;         // "uid=1000 name=alice pid=123", "source=files", "updater=10.0.0.1:7676"
  std::string from;        // "socket", "signal", "relay", "socket-table"
  std::string what;        // "10.0.0.1:9001", "tcp://127.0.0.1:80"
  std::string why;         // an operator's own words, or lbd's reason; may be empty
  std::string result = "done";
};

// Foreign text in it is made printable, and ends no value.
[[nodiscard]] std::string to_string(const Audit& audit);
// At level info.
void write_audit(const Audit& audit);

}  // namespace lb
