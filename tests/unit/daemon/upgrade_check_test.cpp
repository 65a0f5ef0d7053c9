#include "daemon/upgrade_check.h"

#include <gmock/gmock.h>

#include <filesystem>

#include "daemon/commands.h"
#include "state/store.h"
#include "support/snapshot_builder.h"
#include "support/temp_folder.h"

namespace lb {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

IpAddress address(std::string_view text) { return IpAddress::parse(text).value(); }

class UpgradeOf : public testing::Test {
 protected:
  UpgradeOf() {
    std::filesystem::create_directories(folder_.file("sources"));
    const SnapshotStore store(folder_.file("sources"));
    EXPECT_TRUE(store.save(
        "apps", snapshot({offered("10.20.30.40:5432", {listed("10.0.0.2:80")}, "database"),
                          offered("127.0.0.1:8080", {listed("10.0.0.2:80")}, "web"),
                          offered("0.0.0.0:9999", {listed("10.0.0.2:80")}, "gateway")})));
    EXPECT_TRUE(store.save("files", snapshot({offered("10.0.0.9:443", {}, "front"),
                                              offered("10.0.0.8:443", {}, "elsewhere")})));
  }
  [[nodiscard]] std::string text(const std::string& publish = {}) const {
    return "[daemon]\nstate_dir = \"" + folder_.path() + "\"\n" + publish +
           "[[source]]\ntype = \"marathon\"\nname = \"apps\"\nendpoints = [\"http://m:8080\"]\n"
           "[[source]]\ntype = \"file\"\nname = \"files\"\npath = \"/x\"\n";
  }
  [[nodiscard]] std::vector<std::string> narrowed(const std::string& publish = {}) const {
    const UpgradeCheck found = check_upgrade(parse_config(text(publish), "x").value(), host_);
    EXPECT_EQ(found.services, 5U);
    EXPECT_TRUE(found.unknown.empty());
    std::vector<std::string> out;
    for (const DesiredServicePtr& service : found.narrowed)
      out.push_back(service->name + " " + std::string(to_string(service->condition)));
    return out;
  }

  TempFolder folder_;
  HostView host_{{address("10.0.0.9"), address("127.0.0.1")}, true};
};

TEST_F(UpgradeOf, ASavedStateNamesWhatWouldBeRefusedOrNarrowed) {
  EXPECT_THAT(narrowed(),
              ElementsAre("gateway local-only", "elsewhere refused", "database refused"));
  EXPECT_THAT(narrowed("[publish]\naddress = \"0.0.0.0\"\n"),
              ElementsAre("elsewhere refused", "database refused"));
}

TEST_F(UpgradeOf, ASavedStateIsToldWithTheLineThatAllowsIt) {
  const std::string told = render(check_upgrade(parse_config(text(), "x").value(), host_));
  EXPECT_THAT(told, HasSubstr("tcp://10.20.30.40:5432 (database) of source apps: refused: "));
  EXPECT_THAT(told, HasSubstr("addresses = [\"::1\", \"10.20.30.40\", \"127.0.0.0/8\"] in its "
                              "[[source]] would allow it"));
  EXPECT_THAT(told, HasSubstr("3 of 5 services would be refused, or be for local clients only\n"));
}

TEST_F(UpgradeOf, ASourceWithoutASavedStateIsNamedAndNothingIsChanged) {
  const std::string broken = folder_.write("sources/apps.json", "junk");
  const UpgradeCheck found = check_upgrade(parse_config(text(), "x").value(), host_);
  ASSERT_EQ(found.unknown.size(), 1U);
  EXPECT_THAT(found.unknown[0], HasSubstr("of source apps nothing is known here"));
  EXPECT_TRUE(std::filesystem::exists(broken)) << "it is not put aside";
}

// It names host-7.
constexpr auto kCertificate =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBfzCCASagAwIBAgIUSvJKEAa986AhZJq/nZBIBvngMJ4wCgYIKoZIzj0EAwIw\n"
    "DDEKMAgGA1UEAwwBeDAeFw0yNjExMzAwNjEzMzJaFw0yNjEyMDIwNjEzMzJaMAwx\n"
    "CjAIBgNVBAMMAXgwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQlaEGx411xBJfY\n"
    "M46B4zZeMx4yaSIrLOWG6WKGEb3zGg2Q/1MpXUviHW/wBnt0tmx2XMGir3sqTMOy\n"
    "Y+fyXloUo2YwZDAdBgNVHQ4EFgQUrPpahi6fleJDZG6HluxLbtAV2ScwHwYDVR0j\n"
    "BBgwFoAUrPpahi6fleJDZG6HluxLbtAV2ScwDwYDVR0TAQH/BAUwAwEB/zARBgNV\n"
    "HREECjAIggZob3N0LTcwCgYIKoZIzj0EAwIDRwAwRAIgFuRwQU0OIjq8rkcRpNH0\n"
    "njzj+3UlXNqNFIhprttm6tsCIBi2upctTuX4fK7ByfPX+DD3T5A+Gz794lQxmrTE\n"
    "chlF\n"
    "-----END CERTIFICATE-----\n";

TEST_F(UpgradeOf, AListenerSaysWhetherItsCertificateNamesItsHost) {
  const std::string cert = folder_.write("cert.pem", kCertificate);
  const auto check = [&](const std::string& file, const std::string& node) {
    const std::string config = "[daemon]\nstate_dir = \"" + folder_.path() +
                               "\"\n[[source]]\ntype = \"relay\"\nname = \"apps\"\n"
                               "updaters = [\"u:1\"]\nca = \"/x\"\nkey = \"/x\"\ncert = \"" +
                               file + "\"\n";
    return check_upgrade(parse_config(config, "x").value(), host_, node);
  };
  EXPECT_THAT(check(cert, "HOST-7").certificates, testing::IsEmpty());
  const UpgradeCheck other = check(cert, "host-8");
  ASSERT_EQ(other.certificates.size(), 1U);
  EXPECT_THAT(
      other.certificates[0],
      AllOf(HasSubstr("source apps: cert " + cert + " names host-7, and this host is host-8"),
            HasSubstr("or set [relay] shared_certificate = true at the updaters")));
  EXPECT_THAT(render(other), HasSubstr(other.certificates[0] + "\n"));
  EXPECT_THAT(check("/nowhere", "host-7").unknown,
              ElementsAre("of source apps the certificate cannot be read: open /nowhere: No such "
                          "file or directory"));
}

TEST_F(UpgradeOf, AnUpdaterSaysThatItCannotKnow) {
  const std::string relay =
      "[relay]\nlisten = \"127.0.0.1:7676\"\ntls_cert = \"/x\"\ntls_key = \"/x\"\ntls_client_ca = "
      "\"/x\"\n";
  const auto hints = [&](const std::string& more) {
    return check_upgrade(parse_config(text(relay + more), "x").value(), host_).hints;
  };
  EXPECT_THAT(hints(""), ElementsAre(HasSubstr("whose certificate does not name its host")));
  EXPECT_THAT(hints("shared_certificate = true\n"), testing::IsEmpty());
}

TEST_F(UpgradeOf, ASavedStateIsWhatCheckConfigSays) {
  const std::string file = folder_.write("lbd.toml", text());
  const auto run = [&](std::vector<const char*> arguments) {
    testing::internal::CaptureStdout();
    const int code = run_command(static_cast<int>(arguments.size()), arguments.data());
    return std::pair(code, testing::internal::GetCapturedStdout());
  };
  const auto [plain, said] = run({"lbd", "check-config", file.c_str()});
  EXPECT_EQ(plain, kExitOk);
  EXPECT_THAT(said, AllOf(HasSubstr("apps (marathon) may claim ports 1024-65535 at ::1, "
                                    "127.0.0.0/8\n"),
                          HasSubstr("files (file) may claim ports 1-65535 at ::\n"),
                          Not(HasSubstr("refused"))));
  const auto [narrowed, told] = run({"lbd", "check-config", "--upgrade", file.c_str()});
  EXPECT_EQ(narrowed, kExitFailed);
  EXPECT_THAT(told, HasSubstr("(database) of source apps: refused: "));
}

}  // namespace
}  // namespace lb
