#include "sources/marathon_source.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fmt/format.h>
#include <boost/asio/cancellation_signal.hpp>

#include "base/event.h"
#include "base/spawn.h"
#include "marathon/client.h"
#include "marathon/view.h"
#include "sources/marathon_reader.h"
#include "sources/marathon_stream.h"
#include "sources/name_cache.h"

namespace lb {
namespace {

using std::chrono::steady_clock;
using namespace std::chrono_literals;

// The first snapshot waits this long for DNS, later ones for new names; then they come without.
constexpr auto kFirstTaskNames = 3s;
constexpr auto kNewNames = 200ms;
constexpr auto kMarathonCannotStart = 5s;

}  // namespace

// Shared with the coroutines, which end some turns of the loop after the source.
class MarathonSource::Impl : public std::enable_shared_from_this<MarathonSource::Impl> {
 public:
  Impl(asio::io_context& io, MarathonSourceConfig config, const std::optional<Snapshot>& saved,
       Clocks clocks);

  void stop();
  asio::awaitable<Result<Snapshot>> next();
  [[nodiscard]] SourceStatus status() const;
  void admitted(const Snapshot& in_force);

 private:
  void start();
  Result<> take(std::vector<marathon::App> apps);
  void take_events(const std::vector<marathon::SseEvent>& events);
  void stream_closed(bool was_open);
  void build();
  std::optional<Error> take_error();
  std::optional<Snapshot> take_snapshot();
  // Until when to wait for names; nullopt: no longer.
  [[nodiscard]] std::optional<steady_clock::time_point> names_due() const;

  asio::io_context& io_;
  MarathonSourceConfig config_;
  Clocks clocks_;
  Event changed_;
  NameCache names_;
  marathon::Client client_;
  marathon::View view_;
  MarathonStream stream_;
  MarathonReader reader_;
  asio::cancellation_signal cancel_stream_, cancel_reader_;
  bool started_ = false;
  std::optional<steady_clock::time_point> unnamed_since_;
  steady_clock::time_point next_build_{};
  std::map<std::string, std::string> told_failures_;  // empty: none is told, or it is over
  // After a failure, because an event explained an absence, or as a reading that the guard waits for.
  bool must_deliver_ = false;
  bool held_ = false;  // the guard keeps what the last snapshot lacked
  std::optional<Snapshot> delivered_;
};

MarathonSource::Impl::Impl(asio::io_context& io, MarathonSourceConfig config,
                           const std::optional<Snapshot>& saved, Clocks clocks)
    : io_(io),
      config_(std::move(config)),
      clocks_(std::move(clocks)),
      changed_(io.get_executor()),
      names_(io,
             [this] {
               view_.touch();
               changed_.notify();
             }),
      client_(io, config_.access),
      view_(config_.rules, saved ? saved->services : std::vector<ServicePtr>{}),
      stream_(client_, clocks_,
              {.opened =
                   [this] {
                     reader_.at_once();
                     reader_.start();
                   },
               .closed = [this](bool was_open) { stream_closed(was_open); },
               .events = [this](const auto& events) { take_events(events); }}),
      reader_(io, client_, clocks_, config_.rules.label, config_.interval,
              {.take = [this](auto apps) { return take(std::move(apps)); },
               .doubtful = [this] { return view_.doubtful_apps(); },
               .named = [this](const auto& id, auto app) { view_.named(id, std::move(app)); },
               .ended = [this] { changed_.notify(); }}) {
  if (!saved) return;
  for (const ServicePtr& service : saved->services)
    for (const Backend& backend : service->backends) names_.seed(backend.host, backend.address.ip);
}

void MarathonSource::Impl::start() {
  const auto self = shared_from_this();
  spawn(io_, "marathon events", cancel_stream_, [self] { return self->stream_.run(); });
  spawn(io_, "marathon", cancel_reader_, [self] { return self->reader_.run(); });
}

void MarathonSource::Impl::stop() {
  cancel_stream_.emit(asio::cancellation_type::terminal);
  cancel_reader_.emit(asio::cancellation_type::terminal);
}

Result<> MarathonSource::Impl::take(std::vector<marathon::App> apps) {
  LB_CHECK(view_.replace(std::move(apps), clocks_.steady()));
  must_deliver_ = must_deliver_ || held_;
  return {};
}

void MarathonSource::Impl::admitted(const Snapshot& in_force) {
  held_ = delivered_ && in_force.services != delivered_->services;
  view_.set_in_force(in_force.services);
}

void MarathonSource::Impl::stream_closed(bool was_open) {
  view_.forget_mesos();
  // A stream ends when its Marathon leads no more: the next one may know more.
  if (was_open) reader_.hint();
  reader_.start();
}

void MarathonSource::Impl::take_events(const std::vector<marathon::SseEvent>& events) {
  bool news = false;
  for (const marathon::SseEvent& event : events) {
    const marathon::EventHint hint = marathon::read_event(event);
    news = view_.apply(hint, clocks_.steady()) || news;
    if (hint.kind == marathon::EventHint::Kind::Read ||
        hint.kind == marathon::EventHint::Kind::FoundMesos)
      reader_.hint();
  }
  if (news) changed_.notify();
}

// The rules again: a reading, an event or a name has changed something.
void MarathonSource::Impl::build() {
  const auto began = clocks_.steady();
  const auto resolve = [this](const std::string& name) { return names_.find(name).ip; };
  const marathon::Outcome& outcome = view_.build(resolve, began);
  names_.want(outcome.names);
  if (names_.any_pending() && !unnamed_since_) unnamed_since_ = began;
  if (!names_.any_pending()) unnamed_since_.reset();
  if (view_.take_new_loss())
    reader_.doubt();
  else if (view_.missing() == 0)
    reader_.trust();
  must_deliver_ = view_.take_explained() || must_deliver_;
  // Many events, one after the other, may cost half of the time at most.
  const auto now = clocks_.steady();
  next_build_ = now + (now - began);
}

std::optional<steady_clock::time_point> MarathonSource::Impl::names_due() const {
  if (!unnamed_since_) return std::nullopt;
  const auto due =
      *unnamed_since_ + (delivered_ ? steady_clock::duration(kNewNames) : kFirstTaskNames);
  return due > clocks_.steady() ? std::optional(due) : std::nullopt;
}

std::optional<Error> MarathonSource::Impl::take_error() {
  if (reader_.reads() || !reader_.all_fail()) {
    if (reader_.reads() && !std::exchange(told_failures_, {}).empty()) must_deliver_ = true;
    return std::nullopt;
  }
  if (told_failures_ == reader_.failures()) return std::nullopt;
  told_failures_ = reader_.failures();
  return Error{{}, reader_.error()};
}

std::optional<Snapshot> MarathonSource::Impl::take_snapshot() {
  const marathon::Outcome& outcome = view_.outcome();
  if (delivered_ && !must_deliver_ && delivered_->services == outcome.services &&
      delivered_->warnings == outcome.warnings)
    return std::nullopt;
  must_deliver_ = false;
  Snapshot out;
  out.services = outcome.services;
  out.warnings = outcome.warnings;
  // A complete answer, and yet: a leader that has just begun, or has lost Mesos, may know little.
  out.absence = Absence::Guarded;
  out.gone = view_.gone();
  out.as_of = reader_.read_at().value_or(clocks_.wall());
  out.polled_at = reader_.began_at();
  delivered_ = out;
  return out;
}

asio::awaitable<Result<Snapshot>> MarathonSource::Impl::next() {
  if (config_.access.endpoints.empty()) {
    const auto woken = co_await changed_.wait(
        steady_clock::now() + (started_ ? kMarathonCannotStart : steady_clock::duration()));
    if (woken == Event::Woken::Cancelled) co_return fail(ECANCELED, "marathon");
    started_ = true;
    co_return fail("marathon source without endpoints");
  }
  if (!std::exchange(started_, true)) start();
  for (;;) {
    auto deadline = steady_clock::time_point::max();
    const auto until = [&](steady_clock::time_point due) {
      deadline = std::min(deadline, steady_clock::now() + (due - clocks_.steady()) + 1ms);
    };
    if (auto error = take_error()) co_return tl::unexpected(*std::move(error));
    if (view_.has_read()) {
      if (view_.dirty() && clocks_.steady() >= next_build_) build();
      if (view_.dirty()) until(next_build_);
      const auto names = names_due();
      if (names) until(*names);
      if (!names && !view_.dirty())
        if (auto snapshot = take_snapshot()) co_return *std::move(snapshot);
    }
    const auto woken = co_await changed_.wait(deadline);
    if (woken == Event::Woken::Cancelled) co_return fail(ECANCELED, "marathon");
  }
}

SourceStatus MarathonSource::Impl::status() const {
  SourceStatus out;
  out.connected = reader_.reads();
  out.unreachable = reader_.all_fail();
  if (!out.connected) out.error = reader_.error();
  out.read_at = reader_.read_at();
  if (!reader_.endpoint().empty()) {
    out.position = reader_.endpoint();
    if (const std::string& leader = reader_.leader(); !leader.empty() && leader != out.position)
      out.position += fmt::format(", leader {}", leader);
    out.position += stream_.is_open() ? ", events" : ", polling";
  }
  if (!stream_.is_open() && !stream_.error().empty() && out.connected)
    out.position += fmt::format(" ({})", stream_.error());
  if (out.connected)
    for (const auto& [endpoint, failure] : reader_.failures())
      out.position += fmt::format("; {} fails", endpoint);
  return out;
}

MarathonSource::MarathonSource(asio::io_context& io, MarathonSourceConfig config,
                               std::optional<Snapshot> saved, Clocks clocks)
    : impl_(std::make_shared<Impl>(io, std::move(config), saved, std::move(clocks))) {}

MarathonSource::~MarathonSource() { impl_->stop(); }

asio::awaitable<Result<Snapshot>> MarathonSource::next() {
  const std::shared_ptr<Impl> self = impl_;  // outlives the source while somebody waits
  auto snapshot = co_await self->next();
  co_return snapshot;
}

SourceStatus MarathonSource::status() const { return impl_->status(); }
void MarathonSource::admitted(const Snapshot& in_force) { impl_->admitted(in_force); }

}  // namespace lb
