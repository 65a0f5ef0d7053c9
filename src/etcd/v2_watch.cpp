#include "etcd/v2_watch.h"

#include <algorithm>
#include <cerrno>
#include <functional>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/this_coro.hpp>

#include "base/beside.h"
#include "base/event.h"
#include "etcd/lines.h"

// What X-Etcd-Index says: etcd looks through its history from waitIndex on and takes its current index
// under one lock, and from then on tells the poll of what comes. A poll that was answered with index I
// and ended without an event has seen everything up to I. While it is open it cannot become stale,
// however far other keys advance etcd's window of 1,000 events: therefore idle polls are left alone.
//
// `stream=true` has a trap: etcd sends the first event that it finds in its history and, having found
// one, never enters the stream among those it tells of new ones. Such an event is not newer than I; then
// the stream is ended, which costs its connection, and what is left of the history is read by single
// polls, which cost none. An event that is newer shows that the stream lives.
namespace lb::etcd::v2 {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr auto kHeaderTimeout = 5s;
// How long a poll outlives its watch at most; its connection does not.
constexpr auto kLookAround = 1s;
constexpr std::size_t kMaxEvent = std::size_t{16} << 20;
// Nobody reads: stop before memory does.
constexpr std::size_t kMaxWaiting = 100'000;

// Where to go on.
struct Place {
  std::int64_t index = 0;
  bool behind = false;  // etcd has newer events, of other keys at least: they are read one by one
};

// What the reader and its polls share. A poll is a coroutine of its own, because etcd holds only 1,000
// events: the next poll must not wait until the reader has time.
struct Shared {
  Shared(const asio::any_io_executor& executor, WatchTarget t, std::vector<WatchRequest> r)
      : target(std::move(t)),
        requests(std::move(r)),
        streams(requests.size()),
        changed(executor),
        confirmed(requests.size()) {}

  asio::awaitable<Result<Place>> poll(std::size_t which, Place from);
  asio::awaitable<Result<Place>> events(std::size_t which, Header header, bool stream);
  asio::awaitable<Error> refusal(std::size_t which);
  asio::awaitable<Result<std::string>> some(std::size_t which);
  Result<Header> check(const HttpStream& stream, std::int64_t from) const;
  Result<std::int64_t> take(WatchEvent told, Header header);
  void end(Error error);
  [[nodiscard]] std::string where(const std::string& prefix) const {
    return fmt::format("{}: watch of {}", target.endpoint, prefix);
  }

  WatchTarget target;
  std::vector<WatchRequest> requests;
  std::vector<std::optional<HttpStream>> streams;  // of each poll that has been answered
  lb::Event changed;                               // for the reader
  std::vector<bool> confirmed;
  Batch ready;
  bool has_ready = false;
  bool closed = false;  // the watch has gone; nothing of `target` may be used any more
  std::optional<Error> ended;
};

// An event of index 0 for an empty line. What is large is parsed beside the loop.
asio::awaitable<Result<WatchEvent>> event_of(std::string prefix, std::string line) {
  if (line.find_first_not_of(" \r\n") == std::string::npos) co_return WatchEvent{};
  if (line.size() < kLargeText) co_return parse_watch_event(line, prefix);
  std::function<Result<WatchEvent>()> job = [prefix, line = std::move(line)] {
    return parse_watch_event(line, prefix);
  };
  auto told = co_await off_loop<WatchEvent>(std::move(job));
  co_return told;
}

void Shared::end(Error error) {
  if (!ended) ended = std::move(error);
  changed.notify();
}

Result<Header> Shared::check(const HttpStream& stream, std::int64_t from) const {
  LB_TRY(Header header, parse_header(answer_of(stream.status(), stream.headers(), "")));
  if (header.cluster != target.cluster) return fail(ESTALE, "another cluster answers there now");
  // A poll of the future would be silent for ever.
  if (header.revision < from - 1)
    return fail(ESTALE, fmt::format("etcd is at index {} and was at {}: an older or emptied store",
                                    header.revision, from - 1));
  return header;
}

// The next piece of the body, "" at its end. ECANCELED when the watch is closed.
asio::awaitable<Result<std::string>> Shared::some(std::size_t which) {
  while (!closed) {
    auto bytes = co_await streams[which]->read_some(steady_clock::now() + kLookAround);
    if (closed) break;
    if (bytes || bytes.error().code.value() != ETIMEDOUT) co_return bytes;
  }
  co_return fail(ECANCELED, "the watch was closed");
}

// What went wrong, in etcd's words.
asio::awaitable<Error> Shared::refusal(std::size_t which) {
  std::string all;
  while (all.size() <= kMaxEvent) {
    auto bytes = co_await some(which);
    if (!bytes) co_return std::move(bytes.error());
    if (bytes->empty()) break;
    all += *bytes;
  }
  const HttpStream& stream = *streams[which];
  co_return failure(answer_of(stream.status(), stream.headers(), all));
}

// Until the answer ends, or cannot go on.
asio::awaitable<Result<Place>> Shared::events(std::size_t which, Header header, bool stream) {
  const std::string prefix = requests[which].prefix;
  Place next{header.revision + 1, false};
  LineSplitter lines(kMaxEvent);
  for (bool over = false; !over;) {
    auto bytes = co_await some(which);
    if (!bytes) co_return tl::unexpected(std::move(bytes.error()));
    over = bytes->empty();
    lines.feed(over ? "\n" : *bytes);
    for (;;) {
      auto line = lines.next();
      if (!line) co_return tl::unexpected(std::move(line.error()));
      if (!*line) break;
      auto told = co_await event_of(prefix, std::move(**line));
      if (closed) co_return fail(ECANCELED, "the watch was closed");
      if (!told) co_return tl::unexpected(std::move(told.error()));
      auto after = take(std::move(*told), header);
      if (!after) co_return tl::unexpected(std::move(after.error()));
      if (*after == 0) continue;
      next = {*after, *after <= header.revision};
      const bool from_history = *after <= header.revision + 1;
      if (stream && from_history) co_return next;
    }
  }
  co_return next;
}

// The index after the event's, 0 for an empty line.
Result<std::int64_t> Shared::take(WatchEvent told, Header header) {
  if (told.index == 0) return 0;
  ready.header.cluster = header.cluster;
  ready.header.revision = std::max({ready.header.revision, header.revision, told.index});
  if (told.event) ready.events.push_back(std::move(*told.event));
  if (ready.events.size() > kMaxWaiting) return fail(ENOBUFS, "events that nobody reads");
  has_ready = true;
  changed.notify();
  return told.index + 1;
}

asio::awaitable<Result<Place>> Shared::poll(std::size_t which, Place from) {
  const std::string prefix = requests[which].prefix;
  auto path = directory_path(prefix);
  if (!path) co_return tl::unexpected(path.error());
  const bool stream = !from.behind;
  auto request = target.get(
      *path, fmt::format("wait=true&{}recursive=true&waitIndex={}", stream ? "stream=true&" : "",
                         std::max(from.index, std::int64_t{1})));
  if (!request) co_return tl::unexpected(request.error());
  request->timeout = kHeaderTimeout;
  auto opened = co_await target.http.open(std::move(*request));
  if (closed) co_return fail(ECANCELED, "the watch was closed");
  if (!opened) co_return tl::unexpected(opened.error());
  streams[which].emplace(std::move(*opened));
  if (streams[which]->status() != 200) {
    Error refused = co_await refusal(which);
    co_return tl::unexpected(std::move(refused));
  }
  auto checked = check(*streams[which], from.index);
  if (!checked) co_return tl::unexpected(checked.error());
  if (!confirmed[which]) changed.notify();
  confirmed[which] = true;
  auto next = co_await events(which, *checked, stream);
  co_return next;
}

asio::awaitable<void> poll_on(std::shared_ptr<Shared> shared, std::size_t which) {
  Place from{shared->requests[which].start_revision, false};
  while (!shared->closed) {
    auto next = co_await shared->poll(which, from);
    shared->streams[which].reset();
    if (!next) {
      Error error = std::move(next.error());
      error.context = shared->where(shared->requests[which].prefix) + ": " + error.context;
      shared->end(std::move(error));
      co_return;
    }
    // Without an event: whoever is between does not like long polls. Not as fast as it can refuse.
    if (next->index == from.index) {
      asio::steady_timer pause(co_await asio::this_coro::executor, kLookAround);
      co_await pause.async_wait(asio::as_tuple(asio::use_awaitable));
    }
    from = *next;
  }
}

class V2Watch final : public Watch {
 public:
  explicit V2Watch(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}
  ~V2Watch() override {
    shared_->closed = true;
    shared_->streams = std::vector<std::optional<HttpStream>>(shared_->requests.size());
  }
  V2Watch(const V2Watch&) = delete;
  V2Watch& operator=(const V2Watch&) = delete;

  asio::awaitable<Result<>> await_confirmed();
  asio::awaitable<Result<Batch>> read(steady_clock::time_point deadline) override;
  void set_pace(std::chrono::milliseconds pace) override {
    for (auto& stream : shared_->streams)
      if (stream) stream->set_pace(pace);
  }

 private:
  std::shared_ptr<Shared> shared_;
};

asio::awaitable<Result<>> V2Watch::await_confirmed() {
  const std::shared_ptr<Shared> shared = shared_;
  const auto all = [&shared] {
    return std::find(shared->confirmed.begin(), shared->confirmed.end(), false) ==
           shared->confirmed.end();
  };
  while (!all() && !shared->ended) {
    const auto woken = co_await shared->changed.wait();
    if (woken == lb::Event::Woken::Cancelled) co_return fail(ECANCELED, "watch");
  }
  if (!all()) co_return tl::unexpected(*shared->ended);
  co_return Result<>{};
}

asio::awaitable<Result<Batch>> V2Watch::read(steady_clock::time_point deadline) {
  const std::shared_ptr<Shared> shared = shared_;
  while (!shared->has_ready) {
    if (shared->ended) co_return tl::unexpected(*shared->ended);
    const auto woken = co_await shared->changed.wait(deadline);
    if (woken == lb::Event::Woken::Cancelled) co_return fail(ECANCELED, "watch");
    if (woken == lb::Event::Woken::Deadline)
      co_return fail(ETIMEDOUT, shared->target.endpoint + ": no event");
  }
  shared->has_ready = false;
  Batch out = std::exchange(shared->ready, {});
  std::stable_sort(out.events.begin(), out.events.end(),
                   [](const etcd::Event& a, const etcd::Event& b) {
                     return a.kv.mod_revision < b.kv.mod_revision;
                   });
  co_return out;
}

}  // namespace

Answer answer_of(int status, const std::map<std::string, std::string>& headers,
                 std::string_view body) {
  const auto header = [&headers](const char* name) {
    const auto it = headers.find(name);
    return it == headers.end() ? std::string_view() : std::string_view(it->second);
  };
  return {status, header("x-etcd-cluster-id"), header("x-etcd-index"), body};
}

asio::awaitable<Result<std::unique_ptr<Watch>>> open_watch(WatchTarget target,
                                                           std::vector<WatchRequest> requests) {
  const auto executor = co_await asio::this_coro::executor;
  const auto shared = std::make_shared<Shared>(executor, std::move(target), std::move(requests));
  auto watch = std::make_unique<V2Watch>(shared);
  for (std::size_t i = 0; i < shared->requests.size(); ++i)
    asio::co_spawn(executor, poll_on(shared, i), [shared](const std::exception_ptr& error) {
      if (error) shared->end({std::make_error_code(std::errc::io_error), "watch: exception"});
    });
  auto confirmed = co_await watch->await_confirmed();
  if (!confirmed) co_return tl::unexpected(std::move(confirmed.error()));
  co_return watch;
}

}  // namespace lb::etcd::v2
