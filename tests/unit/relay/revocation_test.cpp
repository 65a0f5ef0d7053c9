#include "relay/revocation.h"

#include <gmock/gmock.h>

#include <chrono>
#include <fstream>
#include <iterator>

#include "relay/tls.h"
#include "support/certificates.h"
#include "support/temp_folder.h"

namespace lb::relay {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::StartsWith;

class RevocationLists : public testing::Test {
 protected:
  RevocationLists() { authority_.sign("server", "DNS:server"); }
  Result<std::shared_ptr<asio::ssl::context>> with(const std::string& list) {
    return server_context(
        {authority_.ca(), authority_.cert("server"), authority_.key("server"), list});
  }
  std::string content(const std::string& path) {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  TempFolder folder_;
  test::Certificates authority_{folder_.file("ca")};
  const std::chrono::system_clock::time_point now_ = std::chrono::system_clock::now();
};

TEST_F(RevocationLists, SayWhenTheyHaveRunOutOrAreTooEarly) {
  const auto context = with(authority_.list("list", 24h));
  ASSERT_TRUE(context) << context.error().message();
  EXPECT_EQ(trouble_of_lists(**context, "crl /l", now_), "");
  EXPECT_EQ(lists_end_soon(**context, "crl /l", now_), "");
  EXPECT_THAT(lists_end_soon(**context, "crl /l", now_ + 22h),
              StartsWith("crl /l: the list of CN=lbd test CA runs out at 20"));
  EXPECT_THAT(trouble_of_lists(**context, "crl /l", now_ + 25h),
              StartsWith("crl /l: the list of CN=lbd test CA ran out at 20"));
  EXPECT_EQ(lists_end_soon(**context, "crl /l", now_ + 25h), "");
  EXPECT_THAT(trouble_of_lists(**context, "crl /l", now_ - 2h), HasSubstr("is the clock right?"));
}

TEST_F(RevocationLists, MayBeManyInOneFile) {
  const test::Certificates other(folder_.file("other"), "other CA");
  const std::string both = "# of two authorities\n" + content(authority_.list("list", 24h)) +
                           content(other.list("list", 48h)) + "# the end\n";
  const auto context = with(folder_.write("both.pem", both));
  ASSERT_TRUE(context) << context.error().message();
  EXPECT_THAT(
      trouble_of_lists(**context, "crl /l", now_ + 50h),
      testing::AllOf(HasSubstr("list of CN=lbd test CA"), HasSubstr("list of CN=other CA")));
  EXPECT_THAT(trouble_of_lists(**context, "crl /l", now_ + 30h),
              testing::Not(HasSubstr("list of CN=other CA")));
}

TEST_F(RevocationLists, AreNamedWhenTheyAreNone) {
  const std::string good = content(authority_.list("list"));
  for (const std::string& text :
       {std::string(), std::string("junk"), content(authority_.ca()),
        good.substr(0, good.size() / 2),
        good + "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"}) {
    const std::string path = folder_.write("bad.pem", text);
    const auto context = with(path);
    ASSERT_FALSE(context) << text;
    EXPECT_THAT(context.error().message(),
                StartsWith("tls_crl " + path + " holds no list of revoked certificates in PEM"));
  }
}

TEST_F(RevocationLists, NeedTheAuthorityThatSignsThem) {
  const auto context = client_context({"", "", "", "/l"});
  ASSERT_FALSE(context);
  EXPECT_THAT(context.error().message(), StartsWith("crl /l needs ca: "));
}

TEST_F(RevocationLists, AreAmongTheFilesThatAreWatched) {
  TlsFiles files;
  files.crl = authority_.list("list");
  const std::string before = stamp_of(files);
  EXPECT_EQ(stamp_of(files), before);
  std::ofstream(files.crl, std::ios::app) << "# more\n";
  EXPECT_NE(stamp_of(files), before);
}

}  // namespace
}  // namespace lb::relay
