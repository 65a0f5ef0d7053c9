// What a line of the push protocol is, told before a tree of it is built: a line of brackets would become
// gigabytes of nodes. Pure.
#pragma once

#include <cstddef>
#include <string_view>

namespace lb::relay {

enum class Kind {
  Hello,
  Feed,
  Ack,
  Resync,
  Counts,
  Report,
  Snapshot,
  Delta,
  Orders,
  Ping,
  Goodbye,
  Unknown,  // of a later version
  None      // says no "t" as a text
};
enum class From { Listener, Updater, Anyone };  // Anyone: both, for tests and the fuzzer

struct LineShape {
  Kind kind = Kind::None;
  std::size_t values = 0;  // at least so many nodes
  int depth = 0;           // of brackets
  bool twice = false;      // says "t" more than once
};
// One pass. Of what is no JSON anything may come out: it is refused when it is parsed.
[[nodiscard]] LineShape shape_of(std::string_view line);

[[nodiscard]] Kind kind_of(std::string_view type);
[[nodiscard]] std::string_view name_of(Kind kind);  // "message" of what is none of ours
// The longest line of this kind that is taken from there; 0: none, they do not send it.
[[nodiscard]] std::size_t line_limit(Kind kind, From from);
[[nodiscard]] std::size_t line_limit(From from);  // of any kind

}  // namespace lb::relay
