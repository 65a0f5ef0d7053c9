#include "sources/marathon_reader.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>

#include <fmt/format.h>

namespace lb {
namespace {

using std::chrono::steady_clock;
using namespace std::chrono_literals;

// Parsed on the loop below this size: some milliseconds.
constexpr std::size_t kLarge = std::size_t{1} << 20;
// The first reading waits so long for the event stream.
constexpr auto kStreamFirst = 2s;
constexpr std::chrono::milliseconds kLongestRest{30'000};
// One that hangs must not keep us from those that work.
constexpr std::chrono::milliseconds kWithOthers{5'000};
// Apps that a reading lacks: what it has waits for the answers to their names no longer than this.
constexpr std::chrono::milliseconds kNames{1'000};
constexpr std::size_t kNamesAtMost = 16;

// What stays the same when the same thing fails again: times and sizes do not.
std::string without_digits(std::string text) {
  std::erase_if(text, [](char c) { return c >= '0' && c <= '9'; });
  return text;
}

}  // namespace

MarathonReader::MarathonReader(asio::io_context& io, marathon::Client& client, const Clocks& clocks,
                               std::string label, std::chrono::milliseconds interval, Hooks hooks)
    : client_(client),
      clocks_(clocks),
      label_(std::move(label)),
      hooks_(std::move(hooks)),
      plan_(interval),
      endpoints_(client.access().endpoints.size(), std::min(interval, kLongestRest)),
      worker_(io, "lbd-marathon"),
      wake_(io.get_executor()),
      random_(std::random_device{}()) {}

void MarathonReader::start() {
  if (!std::exchange(started_, true)) wake_.notify();
}

void MarathonReader::hint() {
  plan_.hint(clocks_.steady());
  wake_.notify();
}

void MarathonReader::at_once() {
  plan_.at_once();
  wake_.notify();
}

void MarathonReader::doubt() {
  plan_.doubt(clocks_.steady());
  wake_.notify();
}

void MarathonReader::trust() { plan_.trust(); }

asio::awaitable<void> MarathonReader::run() {
  const auto patience = steady_clock::now() + kStreamFirst;
  while (!started_ && steady_clock::now() < patience) {
    const auto woken = co_await wake_.wait(patience);
    if (woken == Event::Woken::Cancelled) co_return;
  }
  for (;;) {
    const auto now = clocks_.steady();
    const auto due = plan_.due();
    if (due > now) {
      // Bounded, because "never" cannot be added to the loop's own clock.
      const auto pause = std::min<steady_clock::duration>(due - now, 1h);
      const auto woken = co_await wake_.wait(steady_clock::now() + pause);
      if (woken == Event::Woken::Cancelled) co_return;
      continue;
    }
    const auto choice = endpoints_.choose(now, random(), plan_.doubts() ? last_ : std::nullopt);
    if (choice.not_before > now) {
      plan_.failed(choice.not_before);
      continue;
    }
    co_await read(choice.index);
    const auto cancellation = co_await asio::this_coro::cancellation_state;
    if (cancellation.cancelled() != asio::cancellation_type::none) co_return;
  }
}

asio::awaitable<void> MarathonReader::read(std::size_t index) {
  const Moment began = clocks_.now();
  const std::string endpoint = client_.access().endpoints.at(index);
  plan_.begin(began.steady);
  last_ = index;
  const auto patience = endpoints_.has_other(index) ? kWithOthers : marathon::Client::kPatience;
  auto apps = co_await ask(endpoint, patience);
  if (!apps && apps.error().code.value() == ECANCELED) co_return;
  Result<> taken;
  if (apps)
    taken = hooks_.take(*std::move(apps));
  else
    taken = tl::unexpected(std::move(apps.error()));
  const auto now = clocks_.steady();
  good_ = taken.has_value();
  if (good_) {
    endpoints_.succeeded(index);
    failures_.erase(endpoint);
    error_.clear();
    endpoint_ = endpoint;
    read_at_ = began.wall;
    began_at_ = began.steady;
    plan_.succeeded(now, random());
    co_await ask_by_name(index);
  } else {
    endpoints_.failed(index, now, random());
    error_ = taken.error().message();
    failures_[endpoint] = without_digits(error_);
    plan_.failed(endpoints_.choose(now, random()).not_before);
  }
  hooks_.ended();
}

// Elsewhere, if that is possible. No answer is no evidence; the next reading asks again.
asio::awaitable<void> MarathonReader::ask_by_name(std::size_t index) {
  const auto end = steady_clock::now() + kNames;
  std::vector<std::string> ids = hooks_.doubtful();
  if (ids.size() > kNamesAtMost) ids.resize(kNamesAtMost);
  for (const std::string& id : ids) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(end - steady_clock::now());
    if (left.count() <= 0) co_return;
    const auto now = clocks_.steady();
    const auto other = endpoints_.choose(now, random(), index);
    const std::string& endpoint =
        client_.access().endpoints.at(other.not_before > now ? index : other.index);
    auto app = co_await client_.app(endpoint, id, left);
    if (app)
      hooks_.named(id, *std::move(app));
    else if (app.error().code.value() == ECANCELED)
      co_return;
  }
}

asio::awaitable<Result<std::vector<marathon::App>>> MarathonReader::ask(
    std::string endpoint, std::chrono::milliseconds patience) {
  auto answer = co_await client_.apps(endpoint, label_, patience);
  if (!answer) co_return tl::unexpected(std::move(answer.error()));
  leader_ = std::move(answer->leader);
  auto apps = co_await parse(std::move(answer->body));
  if (!apps)
    apps.error().context = fmt::format("GET {}/v2/apps: {}", endpoint, apps.error().context);
  co_return apps;
}

// What is large is parsed beside the loop, which has connections to count meanwhile.
asio::awaitable<Result<std::vector<marathon::App>>> MarathonReader::parse(std::string body) {
  if (body.size() < kLarge) co_return marathon::parse_apps(body);
  struct Job {
    explicit Job(const asio::any_io_executor& executor) : done(executor) {}
    std::string body;
    Result<std::vector<marathon::App>> apps = fail(ECANCELED, "parse");
    Event done;
  };
  const auto job = std::make_shared<Job>(co_await asio::this_coro::executor);
  job->body = std::move(body);
  worker_.run(
      [job] {
        job->apps = marathon::parse_apps(job->body);
        job->body = std::string();
        return Result<>{};
      },
      [job](const Result<>&) { job->done.notify(); });
  const auto woken = co_await job->done.wait();
  if (woken == Event::Woken::Cancelled) co_return fail(ECANCELED, "parse");
  co_return std::move(job->apps);
}

}  // namespace lb
