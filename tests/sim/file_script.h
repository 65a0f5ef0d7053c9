// Services files: what they say is an order, and comes a moment after the edit.
#pragma once

#include <map>

#include "sim/script.h"

namespace lb::sim {

class FileScript final : public Script {
 public:
  FileScript(World& world, std::size_t index, bool checks, milliseconds first)
      : Script(world, index), checks_(checks), due_(world.now.steady + first) {}

  void step() override;
  [[nodiscard]] SteadyTime next_due() const override { return due_; }
  void ended(const Instance&) override { edited(); }
  void edited() override;
  void heal() override { edited(); }

 private:
  bool checks_;
  SteadyTime due_;
  std::map<ServiceKey, ServicePtr> last_;
};

}  // namespace lb::sim
