// What one turn costs: 10,000 services of 10 backends, one of them changed. The bar is 3 ms.
#include <benchmark/benchmark.h>

#include "state/guard.h"
#include "state/json_codec.h"
#include "state/merge.h"
#include "support/snapshot_builder.h"

namespace lb {
namespace {

ServicePtr service(int n, std::uint32_t weight) {
  std::vector<Backend> backends;
  for (int i = 1; i <= 10; ++i)
    backends.push_back(listed("10." + std::to_string(n / 250) + "." + std::to_string(n % 250) +
                                  "." + std::to_string(i) + ":8080",
                              weight));
  return offered("127.0.0.1:" + std::to_string(10'000 + n), std::move(backends));
}

Snapshot many() {
  std::vector<ServicePtr> services;
  for (int n = 0; n < 10'000; ++n) services.push_back(service(n, 100));
  return snapshot(std::move(services));
}

class Turns {
 public:
  explicit Turns(bool drained) : snapshot_(many()) {
    if (drained)
      (void)drains_.add({Drain::parse_target("10.0.1.1").value(), {}, SysTime{}, {}, {}});
    guard_.restore(snapshot_);
    turn();
  }
  // As during a deployment: something is always draining.
  void depart_one() {
    snapshot_.services[9'000] = offered("127.0.0.1:19000", {});
    turn();
  }
  void change_one(std::uint32_t weight) { snapshot_.services[5'000] = service(5'000, weight); }
  // As the daemon makes it, from a new reading to the state.
  void turn() {
    const Snapshot admitted = guard_.admit(snapshot_, Guard::Clock::now()).admitted;
    const SourceInput source{"file:/x", &admitted, {}, false};
    View view = resolve_claims({&source, 1}, &view_);
    view_ = std::move(view);
    departures_.update(view_, Clocks{}.now());
    result_ = merge({.view = &view_,
                     .drains = &drains_,
                     .departures = &departures_,
                     .previous = &result_,
                     .now = Clocks{}.now()});
  }

  Snapshot snapshot_;
  Guard guard_;
  Drains drains_;
  Departures departures_{std::chrono::seconds(60)};
  View view_;
  MergeResult result_;
};

void one_changed(benchmark::State& state) {
  Turns turns(state.range(0) != 0);
  if (state.range(0) != 0) turns.depart_one();
  std::uint32_t weight = 1;
  for (auto _ : state) {
    turns.change_one(1 + weight++ % 100);
    turns.turn();
  }
}

void guard_only(benchmark::State& state) {
  Turns turns(false);
  for (auto _ : state)
    benchmark::DoNotOptimize(turns.guard_.admit(turns.snapshot_, Guard::Clock::now()));
}
BENCHMARK(guard_only)->Unit(benchmark::kMillisecond);

void claims_only(benchmark::State& state) {
  Turns turns(false);
  const SourceInput source{"file:/x", &turns.snapshot_, {}, false};
  for (auto _ : state) benchmark::DoNotOptimize(resolve_claims({&source, 1}, &turns.view_));
}
BENCHMARK(claims_only)->Unit(benchmark::kMillisecond);

void departures_only(benchmark::State& state) {
  Turns turns(false);
  for (auto _ : state) turns.departures_.update(turns.view_, Moment{});
}
BENCHMARK(departures_only)->Unit(benchmark::kMillisecond);

void merge_only(benchmark::State& state) {
  Turns turns(false);
  for (auto _ : state)
    turns.result_ = merge({.view = &turns.view_,
                           .drains = &turns.drains_,
                           .departures = &turns.departures_,
                           .previous = &turns.result_,
                           .now = Moment{}});
}
BENCHMARK(merge_only)->Unit(benchmark::kMillisecond);

BENCHMARK(one_changed)->Arg(0)->Arg(1)->Unit(benchmark::kMillisecond);

void all_read_anew(benchmark::State& state) {
  Turns turns(false);
  for (auto _ : state) {
    state.PauseTiming();
    turns.snapshot_ = many();
    state.ResumeTiming();
    turns.turn();
  }
}
BENCHMARK(all_read_anew)->Unit(benchmark::kMillisecond);

void save(benchmark::State& state) {
  const Snapshot all = many();
  for (auto _ : state) benchmark::DoNotOptimize(encode_snapshot(all));
}
BENCHMARK(save)->Unit(benchmark::kMillisecond);

void load(benchmark::State& state) {
  const std::string text = encode_snapshot(many());
  for (auto _ : state) benchmark::DoNotOptimize(decode_snapshot(text));
}
BENCHMARK(load)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace lb

BENCHMARK_MAIN();
