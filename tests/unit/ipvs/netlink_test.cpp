#include "ipvs/netlink.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/netlink.h>

#include <cerrno>

namespace lb::ipvs {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Buffer bytes_of(std::initializer_list<int> values) {
  Buffer out;
  for (const int value : values) out.push_back(static_cast<std::uint8_t>(value));
  return out;
}

// A header of 16 bytes in front of the payload, with any length written into it.
Buffer message(std::uint32_t length, std::uint16_t type, const Buffer& payload) {
  const nlmsghdr header{length, type, 0, 7, 0};
  Buffer out(sizeof header);
  std::memcpy(out.data(), &header, sizeof header);
  out.insert(out.end(), payload.begin(), payload.end());
  return out;
}

Result<int> error_in(std::int32_t number) {
  Buffer payload(sizeof number);
  std::memcpy(payload.data(), &number, sizeof number);
  return decode_error({NLMSG_ERROR, 0, 1, payload});
}

TEST(Netlink, CutsADatagramIntoItsMessages) {
  Buffer datagram = message(18, 30, bytes_of({1, 2}));
  datagram.resize(20);  // padding
  const Buffer second = message(16, 31, {});
  datagram.insert(datagram.end(), second.begin(), second.end());

  const auto messages = split_messages(datagram);
  ASSERT_TRUE(messages);
  ASSERT_EQ(messages->size(), 2U);
  EXPECT_EQ(messages->at(0).type, 30);
  EXPECT_EQ(messages->at(0).sequence, 7U);
  EXPECT_THAT(messages->at(0).payload, ElementsAre(1, 2));
  EXPECT_EQ(messages->at(1).type, 31);
  EXPECT_TRUE(messages->at(1).payload.empty());
}

TEST(Netlink, TheLastMessageNeedsNoPadding) {
  const Buffer datagram = message(17, 30, bytes_of({1}));
  EXPECT_EQ(split_messages(datagram).value().size(), 1U);
}

TEST(Netlink, AMessageLongerThanTheDatagramIsRefused) {
  const Buffer datagram = message(40, 30, bytes_of({1, 2}));
  EXPECT_EQ(split_messages(datagram).error().code, std::errc::bad_message);
}

TEST(Netlink, AMessageShorterThanItsHeaderIsRefused) {
  for (const std::uint32_t length : {0U, 1U, 15U})
    EXPECT_EQ(split_messages(message(length, 30, {})).error().code, std::errc::bad_message);
}

TEST(Netlink, HalfAHeaderIsRefused) {
  EXPECT_EQ(split_messages(bytes_of({1, 2, 3})).error().code, std::errc::bad_message);
}

TEST(Netlink, AnErrorIsAPositiveErrnoAndAnAcknowledgementIsNone) {
  EXPECT_EQ(error_in(-EEXIST).value(), EEXIST);
  EXPECT_EQ(error_in(0).value(), 0);
  EXPECT_EQ(error_in(360).value(), 0);  // the length of the last part of a dump
}

TEST(Netlink, ANumberThatIsNoErrnoIsNone) {
  EXPECT_EQ(error_in(-5000).value(), 0);
  EXPECT_EQ(error_in(std::numeric_limits<std::int32_t>::min()).value(), 0);
}

TEST(Netlink, AnAcknowledgementWithoutANumberIsRefused) {
  const Buffer payload = bytes_of({1, 2, 3});
  EXPECT_EQ(decode_error({NLMSG_ERROR, 0, 1, payload}).error().code, std::errc::bad_message);
}

TEST(Attributes, AreFoundByTypeWhateverFlagsItBears) {
  const Buffer bytes = bytes_of({8, 0, 3, 0x80, 9, 8, 7, 6, 5, 0, 4, 0x40, 1, 0, 0, 0});
  const auto attributes = Attributes::parse(bytes);
  ASSERT_TRUE(attributes);
  EXPECT_THAT(attributes->find(3).value(), ElementsAre(9, 8, 7, 6));
  EXPECT_THAT(attributes->find(4).value(), ElementsAre(1));
  EXPECT_FALSE(attributes->find(5));
}

TEST(Attributes, OfTwoOfOneTypeTheLastCounts) {
  const Buffer bytes = bytes_of({5, 0, 3, 0, 1, 0, 0, 0, 5, 0, 3, 0, 2, 0, 0, 0});
  EXPECT_THAT(Attributes::parse(bytes).value().find(3).value(), ElementsAre(2));
}

TEST(Attributes, AnUnknownTypeIsPassedOver) {
  const Buffer bytes = bytes_of({4, 0, 0xff, 0x3f, 5, 0, 3, 0, 2, 0, 0, 0});
  const auto attributes = Attributes::parse(bytes);
  ASSERT_TRUE(attributes);
  EXPECT_FALSE(attributes->find(0x3fff));
  EXPECT_TRUE(attributes->find(3));
}

TEST(Attributes, ALengthThatLiesIsRefused) {
  EXPECT_EQ(Attributes::parse(bytes_of({9, 0, 3, 0, 1, 2, 3, 4})).error().code,
            std::errc::bad_message);
  EXPECT_EQ(Attributes::parse(bytes_of({3, 0, 3, 0})).error().code, std::errc::bad_message);
  EXPECT_EQ(Attributes::parse(bytes_of({0, 0, 0, 0})).error().code, std::errc::bad_message);
}

TEST(Attributes, LessThanAHeaderIsPadding) {
  const Buffer bytes = bytes_of({5, 0, 3, 0, 1, 0, 0, 0, 0, 0});
  EXPECT_TRUE(Attributes::parse(bytes).value().find(3));
}

TEST(Attributes, ErrorsNameWhatIsMissingOrTooShort) {
  const Buffer bytes = bytes_of({5, 0, 3, 0, 1, 0, 0, 0});
  const auto attributes = Attributes::parse(bytes).value();
  EXPECT_THAT(attributes.number<std::uint32_t>(4, "PORT").error().message(), HasSubstr("no PORT"));
  EXPECT_THAT(attributes.number<std::uint32_t>(3, "PORT").error().message(),
              HasSubstr("PORT is 1 bytes long"));
}

TEST(Attributes, ATextEndsAtItsNulOrItsLength) {
  const Buffer bytes = bytes_of({8, 0, 3, 0, 'r', 'r', 0, 'x', 6, 0, 4, 0, 'm', 'h', 0, 0});
  const auto attributes = Attributes::parse(bytes).value();
  EXPECT_EQ(attributes.string(3, "A").value(), "rr");
  EXPECT_EQ(attributes.string(4, "B").value(), "mh");
}

TEST(MessageWriter, WritesLengthsAndPadding) {
  Buffer out = bytes_of({0xee, 0xee, 0xee, 0xee});  // what was there before stays
  {
    MessageWriter writer(out, {30, NLM_F_REQUEST, 7, 5, 1});
    writer.nest(2, [&] {
      writer.put_number(1, std::uint16_t{0x0201});
      writer.put_string(3, "mh");
    });
  }
  const Buffer want =
      bytes_of({0xee, 0xee, 0xee, 0xee,                                          //
                40,   0,    0,    0,    30,  0,   1, 0, 7, 0, 0, 0, 0, 0, 0, 0,  // nlmsghdr
                5,    1,    0,    0,                                             // genlmsghdr
                20,   0,    2,    0x80,                                          // nested
                6,    0,    1,    0,    1,   2,   0, 0,                          //
                7,    0,    3,    0,    'm', 'h', 0, 0});
  EXPECT_EQ(out, want);
}

}  // namespace
}  // namespace lb::ipvs
