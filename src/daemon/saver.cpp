#include "daemon/saver.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

namespace lb {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

// Up to here a save is done after each change: some thousand backends. After one that took longer the
// next waits twenty times as long, so that a stream of changes does not keep a CPU or a disk busy.
constexpr milliseconds kQuickSave{20};
constexpr milliseconds kLongestWait{1'000};  // what a crash may make us forget; also after an error
constexpr milliseconds kSaveAnswers{
    2'000};  // at the end: a stop must not wait for a disk that hangs

nanoseconds wait_after(nanoseconds took, bool good) {
  if (!good) return kLongestWait;
  return took < kQuickSave ? nanoseconds(0) : std::min<nanoseconds>(20 * took, kLongestWait);
}

}  // namespace

void log_change(std::string& last, std::string error) {
  if (!error.empty() && error != last) spdlog::error("{}", error);
  last = std::move(error);
}

bool Saver::has_unsaved(const SourceSlots& slots) const {
  return departures_.has_unsaved() || verdicts_.has_unsaved() ||
         std::any_of(orders_.begin(), orders_.end(),
                     [](const auto& o) { return o.has_unsaved(); }) ||
         std::any_of(slots.begin(), slots.end(), [](const auto& s) { return s->has_unsaved(); });
}

std::optional<SteadyTime> Saver::next_save(const SourceSlots& slots) const {
  if (running_) return std::nullopt;
  if (!waiters_.empty()) return SteadyTime::min();
  if (!has_unsaved(slots)) return std::nullopt;
  return not_before_;
}

void Saver::save(const SourceSlots& slots, SteadyTime now) {
  const auto due = next_save(slots);
  if (!due || now < *due) return;
  running_ = begin(slots);
  background_([round = running_, clock = clock_] { return write(*round, clock); },
              [this, round = running_, now](const Result<>& result) {
                if (running_ != round) return;  // save_all() did not wait for the news
                running_.reset();
                end(*round, now, result);
              });
}

void Saver::save_orders(const SourceSlots& slots, SteadyTime now, Done done) {
  waiters_.push_back(std::move(done));
  save(slots, now);
}

void Saver::save_all(const SourceSlots& slots) {
  bool answers = wait_(kSaveAnswers);
  if (const auto untold = std::exchange(running_, nullptr)) {
    take_back(*untold);
    std::move(untold->waiters.begin(), untold->waiters.end(), std::back_inserter(waiters_));
  }
  if (!has_unsaved(slots)) return;
  if (answers) {
    const auto round = begin(slots);
    const auto result = std::make_shared<Result<>>();
    background_([round, result, clock = clock_] { return *result = write(*round, clock); },
                [](const Result<>&) {});
    answers = wait_(kSaveAnswers);
    if (answers) return end(*round, not_before_, *result);
  }
  spdlog::error("the disk does not answer: what has changed last is not saved");
}

std::shared_ptr<Saver::Round> Saver::begin(const SourceSlots& slots) {
  auto round = std::make_shared<Round>();
  round->waiters = std::exchange(waiters_, {});
  for (const SavedOrders& orders : orders_)
    if (auto job = orders.unsaved()) {
      round->orders.push_back(&orders);
      round->order_jobs.push_back(std::move(job));
    }
  if (auto job = departures_.unsaved()) {
    round->departures = true;
    round->jobs.push_back(std::move(job));
  }
  if (auto job = verdicts_.unsaved()) {
    round->verdicts = true;
    round->jobs.push_back(std::move(job));
  }
  for (const auto& slot : slots)
    if (auto job = slot->unsaved(store_)) {
      round->slots.push_back(slot);
      round->jobs.push_back(std::move(job));
    }
  return round;
}

Result<> Saver::write(Round& round, const std::function<SteadyTime()>& clock) {
  const SteadyTime begin = clock();
  for (const auto& job : std::exchange(round.order_jobs, {}))
    if (auto saved = job(); !saved) round.orders_saved = std::move(saved);
  Result<> others = write_others(round);
  round.took = clock() - begin;
  return round.orders_saved ? others : round.orders_saved;
}

// In this order, and no further than a departure that cannot be saved: a snapshot that lacks a backend
// whose departure is not on disk would forget its connections after a crash.
Result<> Saver::write_others(Round& round) {
  Result<> result;
  for (std::size_t i = 0; i < round.jobs.size(); ++i) {
    auto saved = round.jobs[i]();
    if (saved) continue;
    result = std::move(saved);
    if (i == 0 && round.departures) break;
  }
  round.jobs.clear();  // here, and not on the loop, dies what they held
  return result;
}

void Saver::end(const Round& round, SteadyTime began, const Result<>& result) {
  not_before_ = began + round.took + wait_after(round.took, result.has_value());
  problems_.set("saves", result
                             ? ""
                             : fmt::format("what is in force is not saved, so that a restart would "
                                           "know less: {}",
                                           result.error().message()));
  if (result)
    problems_.set("state_dir", "");  // it can be used after all
  else
    take_back(round);
  for (const Done& done : round.waiters) done(round.orders_saved);
}

void Saver::take_back(const Round& round) {
  for (const SavedOrders* orders : round.orders) orders->save_failed();
  if (round.departures) departures_.save_failed();
  if (round.verdicts) verdicts_.save_failed();
  for (const auto& slot : round.slots) slot->save_failed();
}

}  // namespace lb
