// Marathon: readings that take their time, and of which one may lack what is there; events that may be
// lost. What follows from them is marathon::View's.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "marathon/view.h"
#include "sim/script.h"

namespace lb::sim {

class MarathonScript final : public Script {
 public:
  MarathonScript(World& world, std::size_t index, const Snapshot* saved, milliseconds first);

  void step() override;
  [[nodiscard]] SteadyTime next_due() const override;
  void ended(const Instance& instance) override;
  void edited() override;
  void befall() override;
  void heal() override;
  void admitted(const Snapshot& in_force) override;

 private:
  struct Reading {
    SteadyTime began, ends;
    std::optional<std::vector<marathon::App>> apps;  // nullopt: it fails
    bool truth = false;
  };
  [[nodiscard]] std::vector<marathon::App> apps() const;
  void shorten(std::vector<marathon::App>& apps);
  void begin_reading();
  void end_reading();
  void build();

  marathon::View view_;
  bool events_ = true;
  SteadyTime next_reading_;
  std::optional<Reading> reading_;
  SteadyTime began_{};  // the last good one
  std::vector<std::pair<SteadyTime, marathon::EventHint>> hints_;
  bool must_deliver_ = false, held_ = false;
  std::optional<Snapshot> delivered_;
};

}  // namespace lb::sim
