#include "tools/lbctl/progress.h"

#include <fmt/format.h>

#include "tools/lbctl/table.h"

namespace lb::lbctl {

void Progress::show(const std::string& words, std::chrono::milliseconds elapsed) {
  std::string line = fmt::format("{}: {}", human(elapsed), words);
  if (env_.err_is_tty) {
    // A line that wraps could not be redrawn.
    if (line.size() >= env_.columns) line.resize(env_.columns - 1);
    env_.err << "\r\x1b[K" << line << std::flush;
    drawn_ = true;
  } else if (words != last_) {
    env_.err << line << std::endl;
  }
  last_ = words;
}

void Progress::clear() {
  if (drawn_) env_.err << "\r\x1b[K" << std::flush;
  drawn_ = false;
}

}  // namespace lb::lbctl
