#include "daemon/saver.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace lb {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

// Up to here a save is done after each change: some thousand backends. After one that took longer the
// next waits twenty times as long, so that a stream of changes does not keep a CPU or a disk busy.
constexpr milliseconds kQuickSave{20};
constexpr milliseconds kLongestWait{1'000};  // what a crash may make us forget; also after an error

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
         std::any_of(slots.begin(), slots.end(), [](const auto& s) { return s->has_unsaved(); });
}

std::optional<SteadyTime> Saver::next_save(const SourceSlots& slots) const {
  if (running_ || !has_unsaved(slots)) return std::nullopt;
  return not_before_;
}

void Saver::save(const SourceSlots& slots, SteadyTime now) {
  const auto due = next_save(slots);
  if (!due || now < *due) return;
  running_ = begin(slots);
  background_([round = running_] { return write(*round); },
              [this, round = running_, now](const Result<>& result) {
                if (running_ != round) return;  // save_all() did not wait for the news
                running_.reset();
                end(*round, now, result);
              });
}

void Saver::save_all(const SourceSlots& slots) {
  if (const auto untold = std::exchange(running_, nullptr)) take_back(*untold);
  if (!has_unsaved(slots)) return;
  const auto round = begin(slots);
  end(*round, not_before_, write(*round));
}

std::shared_ptr<Saver::Round> Saver::begin(const SourceSlots& slots) {
  auto round = std::make_shared<Round>();
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

// In this order, and no further than a departure that cannot be saved: a snapshot that lacks a backend
// whose departure is not on disk would forget its connections after a crash.
Result<> Saver::write(Round& round) {
  const auto begin = std::chrono::steady_clock::now();
  Result<> result;
  for (std::size_t i = 0; i < round.jobs.size(); ++i) {
    auto saved = round.jobs[i]();
    if (saved) continue;
    result = std::move(saved);
    if (i == 0 && round.departures) break;
  }
  round.jobs.clear();  // here, and not on the loop, dies what they held
  round.took = std::chrono::steady_clock::now() - begin;
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
}

void Saver::take_back(const Round& round) {
  if (round.departures) departures_.save_failed();
  if (round.verdicts) verdicts_.save_failed();
  for (const auto& slot : round.slots) slot->save_failed();
}

}  // namespace lb
