// lbctl doctor: can lbd run here, and if not, what is missing and how to get it. The judgement is a
// pure function of what was found.
#pragma once

#include <string>
#include <vector>

#include "tools/lbctl/options.h"

namespace lb::lbctl {

struct Check {
  enum class Verdict { Ok, Missing, Note };  // Note: worth knowing, stops nothing
  std::string name;
  Verdict verdict = Verdict::Ok;
  bool required = true;  // a Missing that is required keeps lbd's eBPF dataplane from starting
  std::string found;
  std::string meaning;  // what lbd needs it for
  std::string remedy;   // how to get it; empty when nothing is to be done
};

[[nodiscard]] std::vector<Check> diagnose(const HostFacts& facts);
// With either dataplane, and with the one or the other.
[[nodiscard]] bool can_run(const std::vector<Check>& checks);
[[nodiscard]] bool can_run_ebpf(const std::vector<Check>& checks);
[[nodiscard]] bool can_run_ipvs(const std::vector<Check>& checks);

[[nodiscard]] int doctor(Env& env, const Options& options);

}  // namespace lb::lbctl
