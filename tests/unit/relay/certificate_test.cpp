#include "relay/certificate.h"

#include <gmock/gmock.h>

#include <filesystem>

#include "support/certificates.h"
#include "support/temp_folder.h"

namespace lb::relay {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class CertificateOf : public testing::Test {
 protected:
  std::vector<std::string> named(const std::string& san, const std::string& cn = {}) {
    authority_.sign("one", san, cn);
    return names_in(authority_.cert("one")).value();
  }
  TempFolder folder_;
  test::Certificates authority_{folder_.file("ca")};
};

TEST_F(CertificateOf, AHostNamesItByTheSan) {
  EXPECT_THAT(named("DNS:host-7,IP:10.0.0.7,DNS:host-7.example.com", "other"),
              ElementsAre("host-7", "host-7.example.com"));
  EXPECT_THAT(named("IP:10.0.0.7", "host-7"), IsEmpty()) << "where there is a SAN, no CN counts";
  EXPECT_THAT(named("URI:spiffe://fleet/host-7,email:host-7", "host-7"), IsEmpty());
}

TEST_F(CertificateOf, AHostNamesItByTheCnWithoutASan) {
  EXPECT_THAT(named("", "host-7"), ElementsAre("host-7"));
  EXPECT_THAT(named("", ""), IsEmpty());
}

TEST_F(CertificateOf, AFileThatIsNoneIsNamed) {
  EXPECT_EQ(names_in(folder_.write("junk", "junk")).error().message(),
            folder_.file("junk") + " holds no certificate in PEM: Invalid argument");
  EXPECT_EQ(names_in("/nowhere/cert").error().message(),
            "open /nowhere/cert: No such file or directory");
}

TEST(NameNode, IsTheSameNameInWhateverCase) {
  EXPECT_TRUE(name_node({"a", "Host-7.Example.com"}, "host-7.eXample.com"));
  EXPECT_FALSE(name_node({"host-7"}, "host-7.example.com"));
  EXPECT_FALSE(name_node({"host-7.example.com"}, "host-7"));
  EXPECT_FALSE(name_node({}, ""));
  EXPECT_FALSE(name_node({}, "host-7"));
  EXPECT_FALSE(name_node({std::string("host-7\0.evil", 12)}, "host-7"));
}

TEST(NameNode, IsNoWildcard) {
  EXPECT_FALSE(name_node({"*.example.com"}, "host-7.example.com"));
  EXPECT_FALSE(name_node({"*"}, "host-7"));
  EXPECT_FALSE(name_node({"*.example.com"}, "*.example.com"));
}

TEST(NameNode, IsThatOfTheHostForItsLogger) {
  EXPECT_TRUE(name_node({"host-7"}, "host-7 (logger)"));
  EXPECT_FALSE(name_node({"host-7"}, "host-8 (logger)"));
  EXPECT_FALSE(name_node({""}, " (logger)"));
}

TEST(ListedNames, AreShortAndPrintable) {
  EXPECT_EQ(listed_names({}), "no node");
  EXPECT_EQ(listed_names({"a", "b\n", "c"}), "a, b\\x0a, c");
  EXPECT_EQ(listed_names({"a", "b", "c", "d", "e"}), "a, b, c and 2 more");
  EXPECT_LT(listed_names({std::string(10'000, 'x')}).size(), 100U);
}

}  // namespace
}  // namespace lb::relay
