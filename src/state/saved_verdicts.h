// Which backends lbd itself has found to be down. Saved, so that a restart does not bring them back.
// Pure but for open() and what unsaved() returns.
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "base/result.h"
#include "health/verdict.h"

namespace lb {

class SavedVerdicts {
 public:
  // In memory only, for tests.
  SavedVerdicts() = default;
  // A broken file is an error that names it, and is put aside as PATH.broken, if that can
  // be done.
  [[nodiscard]] static Result<SavedVerdicts> open(std::string path);
  // None, for a file that cannot be used.
  [[nodiscard]] static SavedVerdicts without(std::string path);

  // Takes over those that are down. True: another set is down now, or since another time.
  bool set(const HealthVerdicts& verdicts);
  [[nodiscard]] const HealthVerdicts& down() const { return down_; }

  // As Departures::unsaved() and its companions.
  [[nodiscard]] std::function<Result<>()> unsaved();
  void save_failed() { dirty_ = true; }
  [[nodiscard]] bool has_unsaved() const { return dirty_ && !path_.empty(); }

 private:
  std::string path_;
  HealthVerdicts down_;
  bool dirty_ = false;
};

}  // namespace lb
