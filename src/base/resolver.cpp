#include "base/resolver.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <deque>
#include <mutex>
#include <span>
#include <thread>
#include <utility>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>

#include "base/block_signals.h"
#include "base/resolver_channel.h"
#include "base/unique_fd.h"

namespace lb {
namespace {

// The last one is in use; those before it have questions that are not answered yet.
class Channels {
 public:
  void ask(const std::string& name, ResolverChannel::Done done) {
    while (channels_.size() > 1 && channels_.front()->is_idle()) channels_.pop_front();
    if (channels_.empty() || !channels_.back()->is_current()) {
      auto opened = ResolverChannel::open();
      if (!opened && channels_.empty()) return done(tl::unexpected(std::move(opened).error()));
      if (opened) channels_.push_back(*std::move(opened));
    }
    channels_.back()->ask(name, std::move(done));
  }

  // For an answer, for the end of a question's time, or until `wake` is readable.
  void wait(int wake) {
    std::vector<pollfd> all{{wake, POLLIN, 0}};
    std::vector<std::size_t> ends;
    int timeout = -1;
    for (const auto& channel : channels_) {
      const int at_most = channel->prepare(all);
      if (at_most >= 0) timeout = timeout < 0 ? at_most : std::min(timeout, at_most);
      ends.push_back(all.size());
    }
    if (::poll(all.data(), all.size(), timeout) < 0) return;  // EINTR
    std::size_t from = 1;
    for (std::size_t i = 0; i < channels_.size(); from = ends[i++])
      channels_[i]->process(std::span(all).subspan(from, ends[i] - from));
  }

 private:
  std::deque<std::unique_ptr<ResolverChannel>> channels_;
};

}  // namespace

asio::execution_context::id Resolver::id;

class Resolver::Question {
 public:
  Question(asio::io_context& io, Done then) : done(std::move(then)), guard(io.get_executor()) {}

  Done done;
  asio::executor_work_guard<asio::io_context::executor_type> guard;
};

struct Resolver::State {
  struct Asked {
    std::string name;
    std::weak_ptr<Question> question;
  };
  explicit State(asio::io_context& context) : io(&context) {}
  void answer(const std::weak_ptr<Question>& question, Answer answer);

  asio::io_context* io;  // null: the loop is gone
  // An eventfd: something was asked, or the end has come.
  UniqueFd wake{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  std::mutex mutex;
  std::vector<Asked> asked;
  bool started = false;
};

Resolver::Resolver(asio::io_context& io)
    : asio::execution_context::service(io), state_(std::make_shared<State>(io)) {}

Resolver::~Resolver() = default;

void Resolver::shutdown() {
  const std::lock_guard lock(state_->mutex);
  state_->io = nullptr;
  (void)::eventfd_write(state_->wake.get(), 1);
}

std::shared_ptr<Resolver::Question> Resolver::ask(std::string name, Done done) {
  const std::lock_guard lock(state_->mutex);
  auto question = std::make_shared<Question>(*state_->io, std::move(done));
  state_->asked.push_back({std::move(name), question});
  if (!std::exchange(state_->started, true)) {
    std::thread thread([state = state_] { work(state); });
    (void)::pthread_setname_np(thread.native_handle(), "lbd-dns");
    thread.detach();
  }
  (void)::eventfd_write(state_->wake.get(), 1);
  return question;
}

// A question belongs to the loop: here it is only passed on, without a look whether it lives.
void Resolver::State::answer(const std::weak_ptr<Question>& question, Answer found) {
  const std::lock_guard lock(mutex);
  if (io == nullptr) return;
  asio::post(*io, [question, found = std::move(found)]() mutable {
    if (const auto waiting = question.lock()) waiting->done(std::move(found));
  });
}

void Resolver::work(const std::shared_ptr<State>& state) {
  block_signals();
  Channels channels;
  for (;;) {
    std::vector<State::Asked> asked;
    {
      const std::lock_guard lock(state->mutex);
      if (state->io == nullptr) return;
      asked.swap(state->asked);
    }
    for (const State::Asked& a : asked) {
      if (a.question.expired()) continue;
      channels.ask(a.name, [state, question = a.question](Answer answer) {
        state->answer(question, std::move(answer));
      });
    }
    channels.wait(state->wake.get());
    eventfd_t ignored = 0;
    (void)::eventfd_read(state->wake.get(), &ignored);
  }
}

}  // namespace lb
