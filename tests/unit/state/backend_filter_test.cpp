#include "state/backend_filter.h"

#include <gtest/gtest.h>

namespace lb {
namespace {

ServicePtr service(std::initializer_list<std::string_view> backends) {
  Service out;
  out.key = ServiceKey::parse("127.0.0.1:8080").value();
  out.name = "web\n";
  for (const auto text : backends) {
    Backend backend;
    backend.address = Address::parse(text).value();
    backend.id = "task\x1b[31m";
    out.backends.push_back(backend);
  }
  return std::make_shared<const Service>(std::move(out));
}

Snapshot with(ServicePtr one) {
  Snapshot out;
  out.services = {std::move(one)};
  return out;
}

TEST(BackendFilter, LeavesOutWhatTheSourceMayNotHave) {
  const Snapshot out =
      allowed_backends(with(service({"10.0.0.1:80", "169.254.169.254:80", "169.254.169.254:81"})),
                       BackendRanges::usual());
  ASSERT_EQ(out.services.at(0)->backends.size(), 1U);
  EXPECT_EQ(out.services[0]->backends[0].address.to_string(), "10.0.0.1:80");
  ASSERT_EQ(out.warnings.size(), 1U);
  const std::string& warning = out.warnings[0];
  EXPECT_NE(warning.find("169.254.169.254:80"), std::string::npos) << warning;
  EXPECT_NE(warning.find("link-local"), std::string::npos) << warning;
  EXPECT_NE(warning.find("'backends'"), std::string::npos) << warning;
  EXPECT_EQ(warning.find_first_of("\n\x1b"), std::string::npos);
}

TEST(BackendFilter, SharesWhatIsAllowed) {
  const ServicePtr good = service({"10.0.0.1:80"});
  EXPECT_EQ(allowed_backends(with(good), BackendRanges::usual()).services.at(0), good);
  const ServicePtr special = service({"169.254.169.254:80"});
  EXPECT_EQ(allowed_backends(with(special), BackendRanges::any()).services.at(0), special);
  BackendRanges listed;
  ASSERT_TRUE(listed.add("169.254.0.0/16"));
  EXPECT_EQ(allowed_backends(with(special), listed).services.at(0), special);
  EXPECT_TRUE(allowed_backends(with(good), listed).services.at(0)->backends.empty());
}

}  // namespace
}  // namespace lb
