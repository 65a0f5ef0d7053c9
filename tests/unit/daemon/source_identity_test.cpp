#include "daemon/source_identity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/temp_folder.h"

namespace lb {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Optional;

SourceIdentity source(std::string name, std::string type, std::vector<std::string> locators,
                      bool derived = true) {
  return {.name = std::move(name),
          .type = std::move(type),
          .derived = derived,
          .locators = std::move(locators),
          .ports = "1-65535",
          .addresses = "::1, 127.0.0.0/8"};
}

TEST(FindPredecessors, ByTheNameFirst) {
  const SourceIdentities before{source("a", "etcd", {"e1"}, false),
                                source("b", "etcd", {"e2"}, false)};
  const SourceIdentities after{source("b", "etcd", {"e1"}, false),
                               source("a", "file", {"/x"}, false)};
  EXPECT_THAT(find_predecessors(before, after), ElementsAre(Optional(1U), Optional(0U)));
}

TEST(FindPredecessors, ByALocatorInCommonThen) {
  const SourceIdentities before{source("etcd:e1", "etcd", {"/p1", "e1", "e2"}),
                                source("etcd:e3", "etcd", {"/p2", "e3"})};
  const SourceIdentities after{source("etcd:e9", "etcd", {"/p2", "e9"}),
                               source("web", "etcd", {"/p1", "e2"}, false)};
  EXPECT_THAT(find_predecessors(before, after), ElementsAre(Optional(1U), Optional(0U)));
}

TEST(FindPredecessors, ByTheOrderOfOneTypeWhereTheConfigurationHasNoNames) {
  const SourceIdentities before{source("file:/a", "file", {"/a"}),
                                source("etcd:e1", "etcd", {"e1"}),
                                source("named", "etcd", {"e2"}, false)};
  const SourceIdentities after{source("etcd:e7", "etcd", {"e7"}), source("etcd:e8", "etcd", {"e8"}),
                               source("file:/b", "file", {"/b"}),
                               source("other", "etcd", {"e9"}, false)};
  EXPECT_THAT(find_predecessors(before, after),
              ElementsAre(Optional(1U), std::nullopt, Optional(0U), std::nullopt));
}

TEST(IdentityOf, KnowsWhatTheNameIsMadeOf) {
  Config config;
  EtcdSourceConfig etcd;
  etcd.access.endpoints = {"http://b:2379", "http://a:2379"};
  etcd.prefixes = {"/conf/web"};
  SourceConfig unnamed{.name = {}, .ports = {}, .settings = etcd};
  unnamed.name = default_source_name(unnamed);
  EXPECT_EQ(identity_of(unnamed, config),
            source("etcd:http://b:2379", "etcd", {"/conf/web", "http://a:2379", "http://b:2379"}));
  unnamed.name = "web";
  EXPECT_FALSE(identity_of(unnamed, config).derived);
}

TEST(SourceIndex, IsReadBackAsItWasSaved) {
  const TempFolder folder;
  const SourceIndex index(folder.path());
  EXPECT_THAT(index.load().value(), IsEmpty());
  const SourceIdentities sources{source("file:/a", "file", {"/a"}),
                                 source("b", "etcd", {"/p", "e"}, false)};
  ASSERT_TRUE(index.save(sources));
  EXPECT_EQ(index.load().value(), sources);
  folder.write("sources.json", R"({"version":1,"sources":[{"name":1}]})");
  EXPECT_THAT(index.load().error().message(), HasSubstr("kept as " + index.path() + ".broken"));
}

}  // namespace
}  // namespace lb
