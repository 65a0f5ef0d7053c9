#include "netns/relay/listener_fake_updater.h"

#include <set>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>

namespace lb::test {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

struct FakeUpdater::State : std::enable_shared_from_this<State> {
  struct Peer {
    explicit Peer(tcp::socket s) : socket(std::move(s)) {}
    tcp::socket socket;
    std::string in;
    std::deque<std::string> out;
  };

  explicit State(asio::io_context& io)
      : acceptor(io, tcp::endpoint(asio::ip::address_v4::loopback(), 0)) {}

  void accept() {
    acceptor.async_accept([self = shared_from_this()](const error_code& error, tcp::socket socket) {
      if (error) return;
      const auto peer = std::make_shared<Peer>(std::move(socket));
      self->peers.insert(peer);
      ++self->accepted;
      self->send(peer, self->greeting);
      self->read(peer);
      self->accept();
    });
  }

  void read(const std::shared_ptr<Peer>& peer) {
    asio::async_read_until(
        peer->socket, asio::dynamic_buffer(peer->in), '\n',
        [self = shared_from_this(), peer](const error_code& error, std::size_t size) {
          if (error) {
            self->peers.erase(peer);
            return;
          }
          self->take(peer, peer->in.substr(0, size - 1));
          peer->in.erase(0, size);
          self->read(peer);
        });
  }

  void take(const std::shared_ptr<Peer>& peer, const std::string& line) {
    auto message = relay::decode(line, IpAddress::v4(0x7f000001));
    if (!message || !*message) return;
    const auto* feed = std::get_if<relay::Feed>(&**message);
    if (feed != nullptr && feed->wants_state && answer) send(peer, answer(*feed));
    heard.push_back(std::move(**message));
  }

  void send(const std::shared_ptr<Peer>& peer, const std::string& bytes) {
    if (bytes.empty()) return;
    peer->out.push_back(bytes);
    if (peer->out.size() == 1) write(peer);
  }

  void write(const std::shared_ptr<Peer>& peer) {
    asio::async_write(peer->socket, asio::buffer(peer->out.front()),
                      [self = shared_from_this(), peer](const error_code& error, std::size_t) {
                        if (error) return;
                        peer->out.pop_front();
                        if (!peer->out.empty()) self->write(peer);
                      });
  }

  void cut() {
    error_code ignored;
    for (const auto& peer : std::exchange(peers, {})) peer->socket.close(ignored);
  }

  tcp::acceptor acceptor;
  std::string greeting;
  std::function<std::string(const relay::Feed&)> answer;
  std::set<std::shared_ptr<Peer>> peers;
  std::vector<relay::Message> heard;
  int accepted = 0;
};

FakeUpdater::FakeUpdater(asio::io_context& io, std::string greeting)
    : state_(std::make_shared<State>(io)) {
  state_->greeting = std::move(greeting);
  state_->accept();
}

FakeUpdater::~FakeUpdater() {
  error_code ignored;
  state_->acceptor.close(ignored);
  state_->cut();
}

HostPort FakeUpdater::at() const { return {"127.0.0.1", state_->acceptor.local_endpoint().port()}; }
void FakeUpdater::greet_with(std::string greeting) { state_->greeting = std::move(greeting); }
void FakeUpdater::when_asked(std::function<std::string(const relay::Feed&)> answer) {
  state_->answer = std::move(answer);
}
void FakeUpdater::say(const std::string& bytes) {
  for (const auto& peer : state_->peers) state_->send(peer, bytes);
}
void FakeUpdater::cut() { state_->cut(); }
int FakeUpdater::accepted() const { return state_->accepted; }
std::size_t FakeUpdater::connected() const { return state_->peers.size(); }
const std::vector<relay::Message>& FakeUpdater::heard() const { return state_->heard; }

std::string hello_of(const std::string& epoch, std::uint64_t sequence) {
  return relay::encode(
      relay::UpdaterHello{relay::kProtocol, "fake", "1", relay::Position{epoch, sequence}, {}});
}

}  // namespace lb::test
