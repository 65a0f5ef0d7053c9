#include "sim/marathon_script.h"

namespace lb::sim {
namespace {

constexpr milliseconds kInterval{5'000};
constexpr milliseconds kDoubt{1'000};  // as MarathonReader's

std::vector<ServicePtr> services_of(const Snapshot* snapshot) {
  return snapshot ? snapshot->services : std::vector<ServicePtr>{};
}

}  // namespace

MarathonScript::MarathonScript(World& world, std::size_t index, const Snapshot* saved,
                               milliseconds first)
    : Script(world, index),
      view_(marathon::Rules{}, services_of(saved)),
      next_reading_(world.now.steady + first) {}

// Labels and ports of all apps, and the tasks that run. An app whose tasks have all gone is no more.
std::vector<marathon::App> MarathonScript::apps() const {
  std::map<std::string, marathon::App> by_id;
  for_each_listed([&](const Instance& instance) {
    marathon::App& app = by_id[instance.origin];
    if (app.id.empty()) {
      app.id = instance.origin;
      app.labels = {{"marathoner_haproxy_enabled", "true"}};
      marathon::AppPort port;
      port.service_port = instance.service.port;
      app.ports = {port};
    }
    marathon::Task task;
    task.id = instance.id;
    task.host = instance.address.ip.to_string();
    task.state = "TASK_RUNNING";
    task.ports = {instance.address.port};
    task.started = true;
    app.tasks.push_back(std::move(task));
  });
  std::vector<marathon::App> out;
  for (auto& [id, app] : by_id) out.push_back(std::move(app));
  return out;
}

// Some apps, or some of their tasks, are not in the answer.
void MarathonScript::shorten(std::vector<marathon::App>& apps) {
  const bool whole = world_.random.chance(50);
  for (auto app = apps.begin(); app != apps.end();) {
    if (whole && world_.random.chance(60)) {
      app = apps.erase(app);
      continue;
    }
    if (!whole) std::erase_if(app->tasks, [&](const auto&) { return world_.random.chance(60); });
    ++app;
  }
}

void MarathonScript::begin_reading() {
  next_reading_ = SteadyTime::max();
  Reading reading{
      .began = world_.now.steady,
      .ends = world_.now.steady + world_.random.between(milliseconds(1), milliseconds(200)),
      .apps = apps(),
      .truth = mood() == Mood::True};
  switch (mood()) {
    case Mood::True:
      break;
    case Mood::ShortOnce:
      shorten(*reading.apps);
      world_.say("marathon gives a short answer");
      told_the_lie();
      break;
    case Mood::Empty:
      reading.apps->clear();
      told_the_lie();
      break;
    case Mood::Fails:
      reading.apps.reset();
      break;
  }
  reading_ = std::move(reading);
}

void MarathonScript::end_reading() {
  Reading reading = std::move(*reading_);
  reading_.reset();
  next_reading_ = world_.now.steady + kInterval;
  connected_ = reading.apps && view_.replace(*std::move(reading.apps), world_.now.steady);
  if (!connected_) {
    out_ = fail(ECONNREFUSED, "read Marathon");
    return;
  }
  began_ = reading.began;
  if (reading.truth) told_the_truth();
  must_deliver_ = must_deliver_ || held_;
  // By another endpoint, which tells the truth. Where all lie alike none answers: that an only app is
  // denied by name is evidence.
  if (mood() != Mood::Empty) {
    const std::vector<marathon::App> truth = apps();
    for (const std::string& id : view_.doubtful_apps()) {
      if (world_.random.chance(20)) continue;  // no answer
      const auto found =
          std::find_if(truth.begin(), truth.end(), [&](const auto& app) { return app.id == id; });
      view_.named(id, found == truth.end() ? std::nullopt : std::optional(*found));
    }
  }
  build();
}

// As MarathonSource does it.
void MarathonScript::build() {
  const marathon::Outcome& outcome =
      view_.build([](const std::string&) { return std::nullopt; }, world_.now.steady);
  if (view_.take_new_loss()) next_reading_ = world_.now.steady + kDoubt;
  must_deliver_ = view_.take_explained() || must_deliver_;
  if (delivered_ && !must_deliver_ && delivered_->services == outcome.services) return;
  must_deliver_ = false;
  Snapshot said;
  said.services = outcome.services;
  said.absence = Absence::Guarded;
  said.gone = view_.gone();
  said.as_of = world_.now.wall;
  said.polled_at = began_;
  delivered_ = said;
  out_ = std::move(said);
}

void MarathonScript::step() {
  bool news = false;
  std::erase_if(hints_, [&](const auto& hint) {
    if (hint.first > world_.now.steady) return false;
    news = view_.apply(hint.second, world_.now.steady) || news;
    return true;
  });
  if (reading_ && reading_->ends <= world_.now.steady)
    end_reading();
  else if (news && view_.has_read())
    build();
  if (!reading_ && next_reading_ <= world_.now.steady) begin_reading();
}

SteadyTime MarathonScript::next_due() const {
  SteadyTime next = reading_ ? reading_->ends : next_reading_;
  for (const auto& [at, hint] : hints_) next = std::min(next, at);
  return next;
}

void MarathonScript::ended(const Instance& instance) {
  if (!events_ || world_.random.chance(10)) return;
  marathon::EventHint hint;
  hint.kind = marathon::EventHint::Kind::Read;
  hint.fate = marathon::EventHint::Fate::Gone;
  hint.task = instance.id;
  hints_.emplace_back(world_.now.steady + world_.random.between(milliseconds(1), milliseconds(80)),
                      hint);
  edited();
}

void MarathonScript::edited() {
  if (!events_) return;
  next_reading_ = std::min(next_reading_, world_.now.steady + milliseconds(50));
}

void MarathonScript::befall() {
  events_ = world_.random.chance(50);
  if (!events_) hints_.clear();
}

void MarathonScript::heal() {
  lie(Mood::True, {});
  events_ = true;
  next_reading_ = std::min(next_reading_, world_.now.steady);
}

void MarathonScript::admitted(const Snapshot& in_force) {
  held_ = delivered_ && in_force.services != delivered_->services;
  view_.set_in_force(in_force.services);
}

}  // namespace lb::sim
