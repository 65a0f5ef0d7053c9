#include "state/store.h"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/snapshot_builder.h"
#include "support/temp_folder.h"

namespace lb {
namespace {

using testing::HasSubstr;

Snapshot one(std::string_view address) {
  return snapshot({offered("127.0.0.1:80", {listed(address)})});
}

TEST(SnapshotStore, ReturnsWhatWasSavedForEachSource) {
  const TempFolder folder;
  const SnapshotStore store(folder.file("snapshots"));
  ASSERT_TRUE(store.save("file:/etc/lbd/a", one("10.0.0.1:80")));
  ASSERT_TRUE(store.save("file:/etc/lbd/b", one("10.0.0.2:80")));
  ASSERT_TRUE(store.save("file:/etc/lbd/a", one("10.0.0.3:80")));
  EXPECT_EQ(*store.load("file:/etc/lbd/a").value()->services[0],
            *offered("127.0.0.1:80", {listed("10.0.0.3:80")}));
  EXPECT_EQ(*store.load("file:/etc/lbd/b").value()->services[0],
            *offered("127.0.0.1:80", {listed("10.0.0.2:80")}));
}

TEST(SnapshotStore, HasNothingBeforeTheFirstSave) {
  const TempFolder folder;
  const auto loaded = SnapshotStore(folder.file("never-made")).load("x");
  ASSERT_TRUE(loaded);
  EXPECT_FALSE(*loaded);
}

class BrokenSave : public testing::TestWithParam<std::string> {};

TEST_P(BrokenSave, IsAnErrorOnceAndPutAside) {
  const TempFolder folder;
  const SnapshotStore store(folder.path());
  folder.write("x.json", GetParam());
  const auto loaded = store.load("x");
  ASSERT_FALSE(loaded);
  EXPECT_THAT(loaded.error().message(), HasSubstr(folder.file("x.json") + " "));
  EXPECT_THAT(loaded.error().message(),
              HasSubstr("(kept as " + folder.file("x.json.broken") + ")"));
  EXPECT_EQ(folder.read("x.json.broken"), GetParam());
  EXPECT_FALSE(store.load("x").value());
  EXPECT_TRUE(store.save("x", one("10.0.0.1:80")));
  EXPECT_TRUE(store.load("x").value());
}

INSTANTIATE_TEST_SUITE_P(Cases, BrokenSave,
                         testing::Values("", "{", std::string(100, '\0'), "{\"version\":9}",
                                         "{\"version\":1,\"services\":[]}", "\xff\xff"));

TEST(SnapshotStore, UnreadableFileIsAnErrorAndStaysInPlace) {
  const TempFolder folder;
  std::filesystem::create_directory(folder.file("x.json"));
  EXPECT_FALSE(SnapshotStore(folder.path()).load("x"));
  EXPECT_TRUE(folder.has("x.json"));
}

TEST(SnapshotStore, FailureToSaveKeepsTheLastOne) {
  const TempFolder folder;
  const SnapshotStore store(folder.path());
  ASSERT_TRUE(store.save("x", one("10.0.0.1:80")));
  // Where the new content would be written there is a folder, as a full disk would also fail.
  std::filesystem::create_directory(folder.file("x.json.new." + std::to_string(::getpid())));
  EXPECT_FALSE(store.save("x", one("10.0.0.2:80")));
  EXPECT_EQ(store.load("x").value()->services[0]->backends[0].id, "10.0.0.1:80");
}

TEST(SnapshotStore, LeftoverOfACrashIsNotRead) {
  const TempFolder folder;
  const SnapshotStore store(folder.path());
  ASSERT_TRUE(store.save("x", one("10.0.0.1:80")));
  folder.write("x.json.new.1", "{\"version\":1,\"serv");
  EXPECT_EQ(store.load("x").value()->services[0]->backends[0].id, "10.0.0.1:80");
}

TEST(SnapshotStore, MovesASnapshotToANewNameButNotOverAnother) {
  const TempFolder folder;
  const SnapshotStore store(folder.path());
  ASSERT_TRUE(store.save("a", snapshot({offered("127.0.0.1:80", {})})));
  ASSERT_TRUE(store.rename("a", "b"));
  EXPECT_FALSE(store.load("a").value());
  ASSERT_TRUE(store.load("b").value());
  ASSERT_TRUE(store.save("a", snapshot({})));
  ASSERT_TRUE(store.rename("a", "b"));
  EXPECT_EQ(store.load("b").value()->services.size(), 1U);
  EXPECT_TRUE(store.rename("nothing", "c"));
}

TEST(SnapshotStore, KeepsOnlyWhatIsWanted) {
  const TempFolder folder;
  const SnapshotStore store(folder.path());
  for (const char* name : {"a", "b:1"}) ASSERT_TRUE(store.save(name, snapshot({})));
  folder.write("c.json.broken", "{");
  ASSERT_TRUE(store.keep_only({"b:1"}));
  EXPECT_FALSE(folder.has("a.json"));
  EXPECT_TRUE(folder.has("b%3A1.json"));
  EXPECT_TRUE(folder.has("c.json.broken"));
  EXPECT_TRUE(SnapshotStore(folder.file("none")).keep_only({}));
}

struct NameCase {
  const char* name;
  const char* file;
};

class FileName : public testing::TestWithParam<NameCase> {};

TEST_P(FileName, IsSafe) { EXPECT_EQ(escape_file_name(GetParam().name), GetParam().file); }

INSTANTIATE_TEST_SUITE_P(
    Cases, FileName,
    testing::Values(NameCase{"web-1_a", "web-1_a"}, NameCase{"a.b", "a.b"}, NameCase{"..", "%2E."},
                    NameCase{".hidden", "%2Ehidden"}, NameCase{"../../etc", "%2E.%2F..%2Fetc"},
                    NameCase{"a%2Fb", "a%252Fb"},
                    NameCase{"etcd:http://h:2379", "etcd%3Ahttp%3A%2F%2Fh%3A2379"},
                    NameCase{"ü", "%C3%BC"}));

TEST(FileNames, LongOnesAreCutAndStayDifferent) {
  const std::string a = escape_file_name(std::string(300, 'a') + "1");
  const std::string b = escape_file_name(std::string(300, 'a') + "2");
  EXPECT_NE(a, b);
  EXPECT_EQ(a.size(), 200U);
  EXPECT_EQ(a, escape_file_name(std::string(300, 'a') + "1"));
}

}  // namespace
}  // namespace lb
