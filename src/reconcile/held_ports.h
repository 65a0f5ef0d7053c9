// Which addresses and ports lbd has held on this host, over restarts and boots. A listener that comes after that was no server that a
// service would take the port from. Pure but for open() and what unsaved() returns.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "base/result.h"
#include "base/time.h"
#include "reconcile/frontends.h"

namespace lb {

class HeldPorts {
 public:
  // A port that no service has claimed for so long is free for everybody.
  static constexpr std::chrono::hours kRemembered{24 * 7};

  // In memory only, for tests.
  HeldPorts() = default;
  // A broken file is an error that names it, and is put aside as PATH.broken, if that can be done.
  [[nodiscard]] static Result<HeldPorts> open(std::string path);
  // None, for a file that cannot be used.
  [[nodiscard]] static HeldPorts without(std::string path);
  [[nodiscard]] static std::string path_in(const std::string& state_dir) {
    return state_dir + "/held.json";
  }

  void take(const Frontend& frontend);
  void release(const Frontend& frontend, SysTime now);
  // Of what an earlier run held, this is all that is still held; the rest is free from now on.
  void release_all_but(const std::function<bool(const Frontend&)>& held, SysTime now);
  // Held now, or until lately.
  [[nodiscard]] bool contains(const Frontend& frontend, SysTime now) const;
  [[nodiscard]] std::size_t size() const { return held_.size(); }

  // As Departures::unsaved() and its companions.
  [[nodiscard]] std::function<Result<>()> unsaved();
  void save_failed() { dirty_ = true; }
  [[nodiscard]] bool has_unsaved() const { return dirty_ && !path_.empty(); }

 private:
  using Held = std::map<Frontend, std::optional<SysTime>>;  // since when it is not held
  void forget_old(SysTime now);

  std::string path_;
  Held held_;
  bool dirty_ = false;
};

}  // namespace lb
