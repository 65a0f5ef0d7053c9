// Questions and commands over a channel whose other end is written down.
#include "ipvs/exchange.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/ip_vs.h>
#include <linux/netlink.h>

#include <cerrno>
#include <deque>
#include <functional>

#include "ipvs/codec.h"
#include "ipvs/fixtures.h"

namespace lb::ipvs {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

constexpr std::uint16_t kFamily = 30;
using Datagrams = std::vector<Buffer>;

template <class Number>
void append(Buffer& out, Number number) {
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(&number);
  out.insert(out.end(), bytes, bytes + sizeof number);
}

Buffer message(std::uint16_t type, std::uint16_t flags, std::uint32_t sequence,
               const Buffer& payload) {
  Buffer out;
  append(out, nlmsghdr{static_cast<std::uint32_t>(sizeof(nlmsghdr) + payload.size()), type, flags,
                       sequence, 0});
  out.insert(out.end(), payload.begin(), payload.end());
  return out;
}

Buffer acknowledgement(std::uint32_t sequence, int error) {
  Buffer payload;
  append(payload, -error);
  return message(NLMSG_ERROR, 0, sequence, payload);
}

Buffer done(std::uint32_t sequence, std::uint16_t flags = 0) {
  Buffer payload;
  append(payload, 0);
  return message(NLMSG_DONE, flags, sequence, payload);
}

VirtualService service(Port port) {
  return {ServiceId::of({Protocol::Tcp, IpAddress::v4(0x7f000001), port}), "wlc", 0, 0};
}

// What the kernel sends of a service is what is sent to it, but for the command.
Buffer entry(std::uint32_t sequence, Port port) {
  Buffer out;
  encode_command(out, {kFamily, sequence}, {Command::Kind::AddService, service(port), {}});
  return out;
}

// Answers each message that is sent as `answer` says, one datagram for each buffer. Gives out what is there, and nothing is
// an error, as a socket's time limit is.
class FakeChannel : public Channel {
 public:
  using Answer = std::function<Datagrams(const Message&)>;
  explicit FakeChannel(Answer answer) : Channel(kFamily), answer_(std::move(answer)) {}

  Result<> send(Bytes messages) override {
    LB_TRY(const auto sent, split_messages(messages));
    sizes.push_back(sent.size());
    unread_at_send = std::max(unread_at_send, datagrams_.size());
    for (const Message& one : sent)
      for (Buffer& datagram : answer_(one)) datagrams_.push_back(std::move(datagram));
    return {};
  }
  Result<> receive(Size, const Visit& visit) override {
    if (datagrams_.empty()) return fail(EAGAIN, "receive from IPVS");
    const Buffer datagram = std::move(datagrams_.front());
    datagrams_.pop_front();
    LB_TRY(const auto messages, split_messages(datagram));
    for (const Message& one : messages) LB_CHECK(visit(one));
    return {};
  }

  std::vector<std::size_t> sizes;  // messages per send()
  std::size_t unread_at_send = 0;

 private:
  Answer answer_;
  std::deque<Buffer> datagrams_;
};

std::vector<Command> additions(std::size_t count) {
  std::vector<Command> out;
  for (std::size_t i = 0; i < count; ++i)
    out.push_back({Command::Kind::AddService, service(static_cast<Port>(i + 1)), {}});
  return out;
}

TEST(ReadService, IsTheOneThatWasAskedForOrNone) {
  FakeChannel channel([](const Message& sent) {
    if (sent.sequence == 2) return Datagrams{acknowledgement(sent.sequence, ESRCH)};
    if (sent.sequence == 3) return Datagrams{acknowledgement(sent.sequence, EPERM)};
    return Datagrams{entry(sent.sequence, 80), acknowledgement(sent.sequence, 0)};
  });
  const auto there = read_service(channel, service(80).id);
  ASSERT_TRUE(there) << there.error().message();
  EXPECT_EQ(*there, service(80));
  const auto gone = read_service(channel, service(81).id);
  ASSERT_TRUE(gone) << gone.error().message();
  EXPECT_EQ(*gone, std::nullopt);
  EXPECT_FALSE(read_service(channel, service(82).id));
}

TEST(Apply, SendsSixtyFourAtOnceAndReadsBetweenSends) {
  FakeChannel channel(
      [](const Message& sent) { return Datagrams{acknowledgement(sent.sequence, 0)}; });
  const auto results = apply_commands(channel, additions(150));
  ASSERT_TRUE(results) << results.error().message();
  EXPECT_THAT(*results, SizeIs(150));
  EXPECT_THAT(channel.sizes, testing::ElementsAre(64, 64, 22));
  EXPECT_EQ(channel.unread_at_send, 0U);
}

TEST(Apply, GivesEachCommandItsOwnErrno) {
  FakeChannel channel([](const Message& sent) {
    return Datagrams{acknowledgement(sent.sequence, sent.sequence % 3 == 0 ? EEXIST : 0)};
  });
  const auto results = apply_commands(channel, additions(100));
  ASSERT_TRUE(results);
  for (std::size_t i = 0; i < 100; ++i)  // the first number is 1
    EXPECT_EQ(results->at(i).has_value(), (i + 1) % 3 != 0) << i;
  const Error& error = results->at(2).error();
  EXPECT_EQ(error.code, std::errc::file_exists);
  EXPECT_EQ(error.context, "add service tcp://127.0.0.1:3: it is there already");
}

TEST(Apply, MatchesAcknowledgementsBySequenceWhateverTheirOrder) {
  Datagrams held;
  FakeChannel channel([&](const Message& sent) -> Datagrams {
    held.insert(held.begin(), acknowledgement(sent.sequence, sent.sequence == 1 ? EPERM : 0));
    return held.size() == 3 ? held : Datagrams{};
  });
  const auto results = apply_commands(channel, additions(3));
  ASSERT_TRUE(results);
  EXPECT_FALSE(results->at(0));
  EXPECT_TRUE(results->at(1));
  EXPECT_TRUE(results->at(2));
}

TEST(Apply, PassesOverAnswersToSomethingElseAndSecondAnswers) {
  FakeChannel channel([](const Message& sent) {
    return Datagrams{acknowledgement(sent.sequence + 1000, EPERM), done(sent.sequence),
                     acknowledgement(sent.sequence, 0), acknowledgement(sent.sequence, EPERM)};
  });
  const auto results = apply_commands(channel, additions(2));
  ASSERT_TRUE(results);
  EXPECT_TRUE(results->at(0));
  EXPECT_TRUE(results->at(1));
}

TEST(Apply, AnAcknowledgementThatNeverComesIsAnErrorOfItsOwn) {
  FakeChannel channel([](const Message& sent) {
    return sent.sequence == 2 ? Datagrams{} : Datagrams{acknowledgement(sent.sequence, 0)};
  });
  EXPECT_EQ(apply_commands(channel, additions(3)).error().code,
            std::errc::resource_unavailable_try_again);
}

// A scheduler that is not there and a module that has gone give the same errno: info tells them apart.
Datagrams without_module(const Message& sent) { return {acknowledgement(sent.sequence, ENOENT)}; }

TEST(Apply, AModuleThatHasGoneIsNotTakenForAMissingScheduler) {
  FakeChannel channel(without_module);
  const auto results = apply_commands(channel, additions(2));
  ASSERT_FALSE(results);
  EXPECT_THAT(results.error().message(), HasSubstr("ip_vs has been unloaded"));
}

TEST(Apply, AMissingSchedulerIsTheErrorOfItsCommand) {
  FakeChannel channel([](const Message& sent) -> Datagrams {
    if (sent.payload[0] == IPVS_CMD_NEW_SERVICE) return without_module(sent);
    Buffer info;
    {
      MessageWriter writer(info, {kFamily, 0, sent.sequence, IPVS_CMD_SET_INFO, 1});
      writer.put_number(IPVS_INFO_ATTR_VERSION, std::uint32_t{0x010201});
      writer.put_number(IPVS_INFO_ATTR_CONN_TAB_SIZE, std::uint32_t{4096});
    }
    return {info, acknowledgement(sent.sequence, 0)};
  });
  const auto results = apply_commands(channel, additions(1));
  ASSERT_TRUE(results) << results.error().message();
  EXPECT_THAT(results->at(0).error().context, HasSubstr("scheduler 'wlc' is not available"));
}

TEST(Apply, NothingToDoSendsNothing) {
  FakeChannel channel(without_module);
  EXPECT_THAT(apply_commands(channel, {}).value(), SizeIs(0));
  EXPECT_THAT(channel.sizes, SizeIs(0));
}

TEST(ReadServices, TakesAllDatagramsUpToTheEnd) {
  FakeChannel channel([](const Message& sent) {
    Buffer two = entry(sent.sequence, 1);
    const Buffer second = entry(sent.sequence, 2);
    two.insert(two.end(), second.begin(), second.end());
    return Datagrams{two, entry(sent.sequence, 3), done(sent.sequence)};
  });
  EXPECT_THAT(read_services(channel).value(),
              testing::ElementsAre(service(1), service(2), service(3)));
}

TEST(ReadServices, StaleMessagesAreNotTaken) {
  FakeChannel channel([](const Message& sent) {
    return Datagrams{entry(sent.sequence - 1, 9), done(sent.sequence - 1), entry(sent.sequence, 1),
                     done(sent.sequence)};
  });
  EXPECT_THAT(read_services(channel).value(), testing::ElementsAre(service(1)));
}

TEST(ReadServices, ADumpThatSomebodyChangedIsReadAnew) {
  int attempt = 0;
  FakeChannel channel([&](const Message& sent) {
    ++attempt;
    if (attempt == 1)
      return Datagrams{entry(sent.sequence, 9), done(sent.sequence, NLM_F_DUMP_INTR)};
    return Datagrams{entry(sent.sequence, 1), done(sent.sequence)};
  });
  EXPECT_THAT(read_services(channel).value(), testing::ElementsAre(service(1)));
  EXPECT_EQ(attempt, 2);
}

TEST(ReadServices, ADumpThatChangesAllTheTimeIsGivenUp) {
  FakeChannel channel(
      [](const Message& sent) { return Datagrams{done(sent.sequence, NLM_F_DUMP_INTR)}; });
  const auto services = read_services(channel);
  EXPECT_EQ(services.error().code, std::errc::resource_unavailable_try_again);
  EXPECT_THAT(channel.sizes, SizeIs(kDumpAttempts));
}

TEST(ReadServices, WithoutPrivilegesTheErrorNamesTheCapability) {
  FakeChannel channel(
      [](const Message& sent) { return Datagrams{acknowledgement(sent.sequence, EPERM)}; });
  const Error error = read_services(channel).error();
  EXPECT_EQ(error.code, std::errc::operation_not_permitted);
  EXPECT_THAT(error.message(), HasSubstr("CAP_NET_ADMIN"));
}

TEST(ReadServices, AMessageThatCannotBeReadIsAnError) {
  FakeChannel channel([](const Message& sent) {
    return Datagrams{message(kFamily, 0, sent.sequence, Buffer(8)), done(sent.sequence)};
  });
  EXPECT_EQ(read_services(channel).error().code, std::errc::bad_message);
}

TEST(ReadInfo, AnAnswerWithoutInfoIsAnError) {
  FakeChannel channel(
      [](const Message& sent) { return Datagrams{acknowledgement(sent.sequence, 0)}; });
  EXPECT_EQ(read_info(channel).error().code, std::errc::bad_message);
}

}  // namespace
}  // namespace lb::ipvs
