#include "tools/lbctl/register.h"

#include <signal.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <random>

#include <fmt/format.h>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/event.h"
#include "base/secret_file.h"
#include "base/spawn.h"
#include "etcd/cluster.h"
#include "tools/lbctl/acceptor.h"
#include "tools/lbctl/child.h"

namespace lb::lbctl {
namespace {

using namespace asio::experimental::awaitable_operators;
using namespace std::chrono_literals;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Some reads and writes that take milliseconds. A frozen member must not cost more than a part of the
// shortest freshness that is of use.
constexpr auto kLongestAttempt = 5s;
constexpr milliseconds kLook = 250ms;
constexpr int kLookShare = 10;  // a look may take a tenth of the time at most
constexpr auto kToken = asio::as_tuple(asio::use_awaitable);

std::string name_of(int signal) {
  switch (signal) {
    case SIGTERM:
      return "SIGTERM";
    case SIGINT:
      return "SIGINT";
    case SIGQUIT:
      return "SIGQUIT";
    default:
      return "SIGHUP";
  }
}

SessionConfig session_config(const RegisterOptions& options) {
  return {.name = options.name,
          .address = options.address_text,
          .prefix = options.prefix,
          .has_command = !options.command.empty(),
          .wait_ready = options.wait_ready,
          .check = options.check,
          .keep = options.keep,
          .interval = options.interval,
          .ready_timeout = options.ready_timeout,
          .drain_timeout = options.drain_timeout};
}

bool is_ignored(int number) {
  struct sigaction action {};
  return ::sigaction(number, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

class Registration {
 public:
  Registration(Env& env, const RegisterOptions& options, bool json)
      : env_(env),
        options_(options),
        json_(json),
        cluster_(io_, options.access),
        registrar_(cluster_.access().endpoints,
                   [this](std::string endpoint) { return choose_api(std::move(endpoint)); },
                   {options.prefix + "/" + options.name + "/", options.address_text}),
        acceptor_(io_, options.address),
        session_(session_config(options), steady_clock::now()) {}

  int run();

 private:
  void catch_signals();
  asio::awaitable<void> hear_stops();
  asio::awaitable<void> hear_others();
  asio::awaitable<void> turn();
  void start(const Session::Wants& wants);
  void report();

  asio::awaitable<Result<etcd::Api*>> choose_api(std::string endpoint);
  asio::awaitable<void> write(Goal goal);
  asio::awaitable<void> probe();
  asio::awaitable<Result<>> look_for_acceptor();
  asio::awaitable<void> count();
  asio::awaitable<Result<Left>> look_for_connections();
  double random() { return std::uniform_real_distribution<double>(0.0, 1.0)(random_); }

  Env& env_;
  const RegisterOptions& options_;
  bool json_;
  asio::io_context io_{1};
  etcd::Cluster cluster_;
  Registrar registrar_;
  Acceptor acceptor_;
  Session session_;
  std::optional<Child> child_;
  asio::signal_set stops_{io_}, others_{io_};
  Event changed_{io_.get_executor()};
  std::mt19937 random_{std::random_device{}()};
  // One of each kind at a time.
  bool writing_ = false, probing_ = false, counting_ = false;
  bool ready_ = false;  // something has accepted
  bool told_remote_ = false;
  int exit_ = kExitFailed;
};

void Registration::catch_signals() {
  for (const int number : {SIGTERM, SIGINT, SIGQUIT}) stops_.add(number);
  if (!is_ignored(SIGHUP)) stops_.add(SIGHUP);  // nohup
  for (const int number : {SIGCHLD, SIGUSR1, SIGUSR2}) others_.add(number);
  // Whoever reads our output may go; exec makes this the default again.
  if (!is_ignored(SIGPIPE)) ::signal(SIGPIPE, [](int) {});
}

// What others can read on the way, or on this host.
void warn_of_secrets(std::ostream& err, const etcd::Access& access) {
  for (const std::string& path : {access.password_file, access.tls.key})
    if (const std::string why = why_exposed(path); !why.empty())
      err << fmt::format("lbctl: warning: {}\n", why);
  const std::string endpoint = plain_endpoint(access.endpoints);
  if (access.username.empty() || endpoint.empty()) return;
  err << fmt::format(
      "lbctl: warning: user and password can be read by all between here and {}: use https\n",
      endpoint);
}

int Registration::run() {
  warn_of_secrets(env_.err, options_.access);
  catch_signals();
  if (!options_.command.empty()) {
    auto child = Child::start(options_.command);
    if (!child) {
      env_.err << fmt::format("lbctl: {}\n", child.error().message());
      return kExitFailed;
    }
    child_ = *child;
  }
  spawn(io_, "signals", [this] { return hear_stops(); });
  spawn(io_, "children", [this] { return hear_others(); });
  spawn(io_, "register", [this] { return turn(); });
  io_.run();
  return exit_;
}

asio::awaitable<void> Registration::hear_stops() {
  for (;;) {
    const auto [ec, number] = co_await stops_.async_wait(kToken);
    if (ec) co_return;
    session_.signalled(name_of(number), steady_clock::now());
    changed_.notify();
  }
}

// SIGUSR1 and 2 are the command's affair.
asio::awaitable<void> Registration::hear_others() {
  for (;;) {
    const auto [ec, number] = co_await others_.async_wait(kToken);
    if (ec) co_return;
    if (!child_) continue;
    if (number != SIGCHLD) {
      child_->signal(number);
    } else if (const auto code = child_->reap()) {
      child_.reset();
      session_.command_ended(*code, steady_clock::now());
      changed_.notify();
    }
  }
}

asio::awaitable<void> Registration::turn() {
  for (;;) {
    const Session::Wants wants = session_.step(steady_clock::now());
    report();
    if (wants.exit) {
      exit_ = *wants.exit;
      io_.stop();
      co_return;
    }
    start(wants);
    (void)co_await changed_.wait(wants.wake);
  }
}

void Registration::start(const Session::Wants& wants) {
  if (wants.stop_command && child_) child_->signal(SIGTERM);
  if (wants.write && !std::exchange(writing_, true))
    spawn(io_, "write", [this, goal = *wants.write] { return write(goal); });
  if (wants.probe && !std::exchange(probing_, true))
    spawn(io_, "probe", [this] { return probe(); });
  if (wants.count && !std::exchange(counting_, true))
    spawn(io_, "count", [this] { return count(); });
}

void Registration::report() {
  for (const Notice& notice : session_.take_notices()) {
    env_.err << fmt::format("lbctl: {}\n", notice.words) << std::flush;
    if (!json_) continue;
    nlohmann::ordered_json line{{"time", format_iso8601(env_.wall())},
                                {"event", notice.event},
                                {"name", options_.name},
                                {"address", options_.address_text}};
    line.update(notice.fields);
    env_.out << line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << '\n'
             << std::flush;
  }
}

asio::awaitable<Result<etcd::Api*>> Registration::choose_api(std::string endpoint) {
  auto choice = co_await cluster_.choose(std::move(endpoint), options_.prefix + "/", std::nullopt);
  if (!choice) co_return tl::unexpected(std::move(choice.error()));
  co_return &cluster_.api(choice->version);
}

asio::awaitable<void> Registration::write(Goal goal) {
  asio::steady_timer timer(io_, kLongestAttempt);
  const std::string endpoint = registrar_.endpoint();
  auto attempt = registrar_.reach(goal, env_.wall());
  auto limit = timer.async_wait(kToken);
  auto winner = co_await (std::move(attempt) || std::move(limit));
  WriteReport report;
  report.goal = goal;
  if (winner.index() == 0)
    report = std::move(std::get<0>(winner));
  else
    report.done = fail(ETIMEDOUT, endpoint + ": no answer");
  report.pause =
      registrar_.settle(report.done ? std::error_code{} : report.done.error().code, random());
  session_.wrote(report, steady_clock::now());
  writing_ = false;
  changed_.notify();
}

asio::awaitable<void> Registration::probe() {
  const Result<> accepts = co_await look_for_acceptor();
  ready_ = ready_ || accepts.has_value();
  session_.probed(accepts, steady_clock::now());
  probing_ = false;
  changed_.notify();
}

asio::awaitable<Result<>> Registration::look_for_acceptor() {
  if (ready_ || !options_.wait_ready) {
    const auto local = co_await acceptor_.local();
    if (local && !*local) {
      // A way to it that is broken for us alone says nothing about it.
      if (!std::exchange(told_remote_, true))
        env_.err << fmt::format(
            "lbctl: {} is no address of this machine: refreshed without looking whether it "
            "accepts\n",
            options_.address_text);
      co_return Result<>{};
    }
  }
  auto accepts = co_await acceptor_.accepts();
  co_return accepts;
}

asio::awaitable<void> Registration::count() {
  const auto begin = steady_clock::now();
  const auto left = co_await look_for_connections();
  const auto now = steady_clock::now();
  const auto took = std::chrono::duration_cast<milliseconds>(now - begin);
  session_.counted(left, std::max(kLook, kLookShare * took), now);
  counting_ = false;
  changed_.notify();
}

asio::awaitable<Result<Left>> Registration::look_for_connections() {
  if (!options_.state_prefix.empty()) {
    asio::steady_timer timer(io_, kLongestAttempt);
    const std::string endpoint = registrar_.endpoint();
    auto look = registrar_.published(options_.state_prefix, options_.name);
    auto limit = timer.async_wait(kToken);
    auto winner = co_await (std::move(look) || std::move(limit));
    Result<PublishedLeft> there = fail(ETIMEDOUT, endpoint + ": no answer");
    if (winner.index() == 0) there = std::move(std::get<0>(winner));
    (void)registrar_.settle(there ? std::error_code{} : there.error().code, random());
    if (!there) co_return tl::unexpected(std::move(there.error()));
    if (there->publishers > 0) co_return Left{there->connections, there->still_choosing == 0, ""};
  }
  // No lbd knows this backend there, or we do not know where: this machine's sockets tell.
  auto left = co_await acceptor_.left(!options_.command.empty());
  co_return left;
}

}  // namespace

int register_backend(Env& env, const RegisterOptions& options, bool json) {
  return Registration(env, options, json).run();
}

}  // namespace lb::lbctl
