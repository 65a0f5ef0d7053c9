#include "dataplane/ipvs_connections.h"

#include <gmock/gmock.h>

namespace lb {
namespace {

// As Linux 6.1 prints it.
constexpr auto kFile =
    "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n"
    "TCP A9FED502 9C40 7F000001 1F90 0A09000B 2333 ESTABLISHED     899\n"
    "TCP A9FED502 9C41 7F000001 1F90 0A09000B 2333 TIME_WAIT       118\n"
    "UDP A9FED502 9C42 7F000001 1F90 0A09000B 2333 UDP             290\n"
    "TCP fd77:0000:0000:0000:0000:0000:0000:0289 9C43 0000:0000:0000:0000:0000:0000:0000:0001 1F90 "
    "fd09:0000:0000:0000:0000:0000:0000:000b 2333 FIN_WAIT         12\n"
    "SCT 0A090001 9C44 7F000001 1F90 0A09000B 2333 ESTABLISHED      10\n";

std::string text_of(const IpvsConnection& c) {
  return std::string(to_string(c.protocol)) + " " + c.client.to_string() + " " +
         c.service.to_string() + " " + c.server.to_string() + " " + c.state;
}

TEST(IpvsConnections, AreReadAsTheKernelPrintsThem) {
  std::vector<std::string> lines;
  for (const auto& c : parse_ipvs_connections(kFile)) lines.push_back(text_of(c));
  EXPECT_THAT(lines, testing::ElementsAre(
                         "tcp 169.254.213.2:40000 127.0.0.1:8080 10.9.0.11:9011 ESTABLISHED",
                         "tcp 169.254.213.2:40001 127.0.0.1:8080 10.9.0.11:9011 TIME_WAIT",
                         "udp 169.254.213.2:40002 127.0.0.1:8080 10.9.0.11:9011 UDP",
                         "tcp [fd77::289]:40003 [::1]:8080 [fd09::b]:9011 FIN_WAIT"));
}

TEST(IpvsConnections, OnlyTimeWaitAndCloseAreOver) {
  std::vector<bool> over;
  for (const auto& c : parse_ipvs_connections(kFile)) over.push_back(c.is_over());
  EXPECT_THAT(over, testing::ElementsAre(false, true, false, false));
}

TEST(IpvsConnections, LinesThatCannotBeReadAreLeftOut) {
  for (const char* line :
       {"", "\n\n", "TCP", "TCP A9FED502 9C40", "TCP A9FED502 9C40 7F000001 1F90 0A09000B ZZ X 1",
        "TCP A9FED5021 9C40 7F000001 1F90 0A09000B 2333 X 1",
        "TCP 1:2:3 9C40 7F000001 1F90 0A09000B 2333 X 1",
        "TCP A9FED502 19C40 7F000001 1F90 0A09000B 2333 X 1"})
    EXPECT_TRUE(parse_ipvs_connections(line).empty()) << line;
}

}  // namespace
}  // namespace lb
