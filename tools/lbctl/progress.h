// What is shown on stderr while waiting: one line that is redrawn on a terminal, else a line per
// change.
#pragma once

#include <chrono>
#include <string>

#include "tools/lbctl/env.h"

namespace lb::lbctl {

class Progress {
 public:
  explicit Progress(Env& env) : env_(env) {}

  void show(const std::string& words, std::chrono::milliseconds elapsed);
  void clear();

 private:
  Env& env_;
  std::string last_;
  bool drawn_ = false;
};

}  // namespace lb::lbctl
