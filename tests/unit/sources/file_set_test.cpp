#include "sources/file_set.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>

#include <fmt/format.h>

#include "unit/sources/services_folder.h"

namespace lb {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> names(const Result<Snapshot>& snapshot) {
  if (!snapshot) return {"error: " + snapshot.error().message()};
  std::vector<std::string> out;
  for (const auto& service : snapshot->services) out.push_back(service->name);
  return out;
}
using Names = std::vector<std::string>;

TEST(FileSet, ReadsAFolderSortedAndOnlyToml) {
  const ServicesFolder dir;
  dir.write("b.toml", service_text("b", 2));
  dir.write("a.toml", service_text("a", 1));
  dir.write("notes.txt", "not toml");
  dir.write(".hidden.toml", "broken =");
  fs::create_directory(dir / "sub.toml");
  FileSet files(dir.path(), {});
  EXPECT_EQ(names(files.read({})), (Names{"a", "b"}));
  EXPECT_EQ(files.position(), dir.path() + ", 2 files, 2 services");
}

TEST(FileSet, ReadsOnlyWhatHasChangedAndSharesTheRest) {
  const ServicesFolder dir;
  dir.write("a.toml", service_text("a", 1));
  dir.write("b.toml", service_text("b", 2));
  FileSet files(dir.path(), {});
  const auto first = files.read({});
  dir.replace("b.toml", service_text("b2", 2) + service_text("c", 3));
  const auto second = files.read({});
  EXPECT_EQ(names(second), (Names{"a", "b2", "c"}));
  EXPECT_EQ(first->services[0], second->services[0]);
}

TEST(FileSet, ReadsANamedFileThoughItsStampIsTheSame) {
  const ServicesFolder dir;
  dir.write("a.toml", service_text("a", 1));
  FileSet files(dir.path(), {});
  const auto first = files.read({});
  const auto second = files.read({.paths = {dir / "a.toml"}});
  EXPECT_EQ(first->services, second->services);  // the same pointers
}

TEST(FileSet, ABrokenFileOfAFolderKeepsItsLastGoodServices) {
  const ServicesFolder dir;
  dir.write("a.toml", service_text("a", 1));
  dir.write("b.toml", service_text("b", 2));
  FileSet files(dir.path(), {});
  (void)files.read({});
  dir.replace("a.toml", "[[service]]\nlisten = 7\n");
  dir.replace("b.toml", service_text("b", 3));
  const auto snapshot = files.read({});
  EXPECT_EQ(names(snapshot), (Names{"a", "b"}));
  EXPECT_EQ(snapshot->services[1]->key.port, 3);
  ASSERT_EQ(snapshot->warnings.size(), 1U);
  EXPECT_TRUE(snapshot->warnings[0].starts_with(dir / "a.toml:2:10: service.listen: must be"));
  EXPECT_EQ(snapshot->absence, Absence::Believed);
  dir.replace("a.toml", service_text("a", 1));
  EXPECT_TRUE(files.read({})->warnings.empty());
}

TEST(FileSet, AZeroByteFileOfAFolderIsBrokenOneWithoutServicesIsBelieved) {
  const ServicesFolder dir;
  dir.write("a.toml", service_text("a", 1));
  FileSet files(dir.path(), {});
  (void)files.read({});
  dir.replace("a.toml", "");
  EXPECT_EQ(names(files.read({})), (Names{"a"}));
  dir.replace("a.toml", "# nothing any more\n");
  const auto snapshot = files.read({});
  EXPECT_EQ(names(snapshot), Names{});
  EXPECT_EQ(snapshot->absence, Absence::Believed);
}

TEST(FileSet, AFileGoneFromAReadableFolderIsBelieved) {
  const ServicesFolder dir;
  dir.write("a.toml", service_text("a", 1));
  dir.write("b.toml", service_text("b", 2));
  FileSet files(dir.path(), {});
  (void)files.read({});
  fs::remove(dir / "a.toml");
  const auto snapshot = files.read({});
  EXPECT_EQ(names(snapshot), (Names{"b"}));
  EXPECT_TRUE(snapshot->warnings.empty());
}

TEST(FileSet, AFolderThatIsGoneIsAnErrorAndNothingIsForgotten) {
  const ServicesFolder dir;
  fs::create_directory(dir / "d");
  dir.write("d/a.toml", service_text("a", 1));
  FileSet files(dir / "d/", {});
  const auto first = files.read({});
  fs::remove_all(dir / "d");
  const auto gone = files.read({});
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code.value(), ENOENT);
  EXPECT_NE(gone.error().message().find(dir / "d"), std::string::npos);
  EXPECT_EQ(files.folders(), (std::set<std::string>{dir.path(), dir / "d"}));
  fs::create_directory(dir / "d");
  dir.write("d/a.toml", service_text("a", 1));
  EXPECT_EQ(files.read({})->services, first->services);
}

TEST(FileSet, ASinglePathMissingEmptyOrBrokenIsAnError) {
  const ServicesFolder dir;
  FileSet files(dir / "one.toml", {});
  EXPECT_FALSE(files.read({}));
  dir.write("one.toml", service_text("a", 1));
  EXPECT_EQ(names(files.read({})), (Names{"a"}));
  dir.replace("one.toml", "");
  EXPECT_NE(files.read({}).error().message().find("one.toml:1:1: the file is empty"),
            std::string::npos);
  dir.replace("one.toml", "x");
  EXPECT_NE(files.read({}).error().message().find("one.toml:1:"), std::string::npos);
  fs::remove(dir / "one.toml");
  EXPECT_FALSE(files.read({}));
  dir.replace("one.toml", service_text("b", 1));
  EXPECT_EQ(names(files.read({})), (Names{"b"}));
}

TEST(FileSet, AFileThatIsBrokenAtStartSaysWhatItSaidInAnEarlierRun) {
  const ServicesFolder dir;
  dir.write("a.toml", service_text("a", 1));
  dir.write("b.toml", service_text("b", 2));
  FileSet before(dir.path(), {});
  const auto saved = before.read({});
  dir.replace("a.toml", "broken");
  FileSet after(dir.path(), saved->services);
  const auto snapshot = after.read({});
  EXPECT_EQ(names(snapshot), (Names{"a", "b"}));
  EXPECT_EQ(snapshot->services, saved->services);  // pointers: nothing to do
  EXPECT_EQ(snapshot->warnings.size(), 1U);
}

TEST(FileSet, AFolderOfAnotherNameIsKnownByTheNamesOfItsFiles) {
  const ServicesFolder dir;
  fs::create_directory(dir / "old");
  dir.write("old/a.toml", service_text("a", 1));
  const auto saved = FileSet(dir / "old", {}).read({});
  fs::rename(dir / "old", dir / "new");
  dir.write("new/a.toml", "broken");
  const auto snapshot = FileSet(dir / "new", saved->services).read({});
  EXPECT_EQ(names(snapshot), (Names{"a"}));
  EXPECT_EQ(snapshot->absence, Absence::Believed);
}

TEST(FileSet, ABrokenFileOfWhichNothingIsKnownGuardsTheSnapshot) {
  const ServicesFolder dir;
  dir.write("a.toml", "broken");
  FileSet files(dir.path(), {});
  const auto snapshot = files.read({});
  EXPECT_EQ(names(snapshot), Names{});
  EXPECT_EQ(snapshot->absence, Absence::Guarded);
}

TEST(FileSet, FollowsLinksAsKubernetesSwitchesThem) {
  const ServicesFolder dir;
  fs::create_directory(dir / "v1");
  fs::create_directory(dir / "v2");
  fs::create_directory(dir / "mount");
  dir.write("v1/s.toml", service_text("one", 1));
  dir.write("v2/s.toml", service_text("two", 1));
  fs::create_symlink("../v1", dir / "mount/..data");
  fs::create_symlink("..data/s.toml", dir / "mount/s.toml");
  for (const char* path : {"mount", "mount/s.toml"}) {
    FileSet files(dir / path, {});
    EXPECT_EQ(names(files.read({})), (Names{"one"}));
    EXPECT_TRUE(files.folders().contains(fs::canonical(dir / "v1").string()));
    fs::create_symlink("../v2", dir / "mount/new");
    fs::rename(dir / "mount/new", dir / "mount/..data");
    EXPECT_EQ(names(files.read({})), (Names{"two"}));
    fs::create_symlink("../v1", dir / "mount/new");
    fs::rename(dir / "mount/new", dir / "mount/..data");
  }
}

TEST(FileSet, ALinkThatPointsNowhereKeepsItsServices) {
  const ServicesFolder dir;
  dir.write("real", service_text("a", 1));
  fs::create_directory(dir / "d");
  fs::create_symlink("../real", dir / "d/s.toml");
  FileSet files(dir / "d", {});
  EXPECT_EQ(names(files.read({})), (Names{"a"}));
  fs::remove(dir / "real");
  const auto snapshot = files.read({});
  EXPECT_EQ(names(snapshot), (Names{"a"}));
  EXPECT_EQ(snapshot->warnings.size(), 1U);
}

class BeingWritten : public testing::Test {
 protected:
  BeingWritten() {
    dir_.write("a.toml", service_text("a1", 1) + service_text("a2", 2));
    dir_.write("b.toml", service_text("b", 9));
    EXPECT_EQ(seen(), (Names{"a1", "a2", "b"}));
  }
  Names seen(const FolderChanges& changed = {}) { return names(files_.read(changed, now_)); }
  FolderChanges wrote(bool created = false) const {
    FolderChanges changed{.paths = {dir_ / "a.toml"}};
    if (created) changed.created = changed.paths;
    return changed;
  }

  const ServicesFolder dir_;
  FileSet::TimePoint now_{};
  FileSet files_{dir_.path(), {}};
};

TEST_F(BeingWritten, AFileSaysWhatItSaidUntilItsWriterIsDone) {
  std::ofstream writer(dir_ / "a.toml");
  writer << service_text("a1", 1) << std::flush;
  dir_.replace("b.toml", service_text("b2", 9));
  EXPECT_EQ(seen(), (Names{"a1", "a2", "b2"}));
  EXPECT_EQ(files_.next_look(), now_ + FileSet::kStalled);
  now_ += FileSet::kStalled - std::chrono::milliseconds(1);
  writer << service_text("a3", 3) << std::flush;
  EXPECT_EQ(seen(), (Names{"a1", "a2", "b2"})) << "it goes on";
  writer << service_text("a2", 2);
  writer.close();
  EXPECT_EQ(seen(wrote()), (Names{"a1", "a2", "a3", "b2"}));
  EXPECT_FALSE(files_.next_look());
}

TEST_F(BeingWritten, AWriterThatDoesNothingMoreIsWaitedForNoLongerThanThat) {
  std::ofstream writer(dir_ / "a.toml");
  writer << service_text("a1", 1) << std::flush;
  EXPECT_EQ(seen(), (Names{"a1", "a2", "b"}));
  now_ += FileSet::kStalled;
  EXPECT_EQ(seen(), (Names{"a1", "b"}));
}

TEST_F(BeingWritten, AWriterThatGoesOnAndOnIsNamed) {
  std::ofstream writer(dir_ / "a.toml");
  for (int i = 0; i < 3; ++i) {
    writer << service_text("a", 1) << std::flush;
    EXPECT_EQ(seen(wrote()), (Names{"a1", "a2", "b"}));
    now_ += FileSet::kStalled - std::chrono::milliseconds(1);
  }
  const auto snapshot = files_.read(wrote(), now_);
  ASSERT_EQ(snapshot->warnings.size(), 1U);
  EXPECT_NE(snapshot->warnings[0].find("a.toml is being written all the time"), std::string::npos);
}

TEST_F(BeingWritten, ALossInPlaceIsBelievedWhenTheFileIsAtRest) {
  dir_.write("a.toml", service_text("a1", 1));
  EXPECT_EQ(seen(wrote()), (Names{"a1", "a2", "b"}));
  now_ += FileSet::kSettle - std::chrono::milliseconds(1);
  dir_.write("a.toml", service_text("a1", 1) + "# the writer opens it for each line\n");
  EXPECT_EQ(seen(wrote()), (Names{"a1", "a2", "b"}));
  EXPECT_EQ(files_.next_look(), now_ + FileSet::kSettle);
  now_ += FileSet::kSettle;
  EXPECT_EQ(seen(), (Names{"a1", "b"}));
}

TEST_F(BeingWritten, AFileMadeAnewWhereItIsWaitsLikeOneChangedInPlace) {
  fs::remove(dir_ / "a.toml");
  dir_.write("a.toml", service_text("a1", 1));
  EXPECT_EQ(seen(wrote(true)), (Names{"a1", "a2", "b"}));
  now_ += FileSet::kSettle;
  EXPECT_EQ(seen(), (Names{"a1", "b"}));
}

TEST_F(BeingWritten, WhatIsMovedIntoPlaceOrOnlyAddsIsBelievedAtOnce) {
  dir_.write("a.toml", service_text("a1", 1) + service_text("a2", 2) + service_text("a3", 3));
  EXPECT_EQ(seen(wrote()), (Names{"a1", "a2", "a3", "b"}));
  dir_.replace("a.toml", service_text("a1", 1));
  EXPECT_EQ(seen(wrote()), (Names{"a1", "b"}));
}

TEST_F(BeingWritten, AnEarlierRunCountsAsWhatWasThere) {
  const auto saved = files_.read({}, now_);
  dir_.write("a.toml", service_text("a1", 1));
  FileSet after(dir_.path(), saved->services);
  EXPECT_EQ(names(after.read({}, now_)), (Names{"a1", "a2", "b"}));
  EXPECT_TRUE(after.complete());
  EXPECT_EQ(names(after.read({}, now_ + FileSet::kSettle)), (Names{"a1", "b"}));
}

TEST_F(BeingWritten, AFirstContentThatIsNotWholeIsNoState) {
  std::ofstream writer(dir_ / "c.toml");
  writer << service_text("c", 7) << std::flush;
  EXPECT_EQ(seen(), (Names{"a1", "a2", "b"}));
  EXPECT_FALSE(files_.complete());
  writer.close();
  EXPECT_EQ(seen({.paths = {dir_ / "c.toml"}}), (Names{"a1", "a2", "c", "b"}));
  EXPECT_TRUE(files_.complete());
}

// Root reads everything: as nobody then, for as long as the object lives.
class WithoutRoot {
 public:
  WithoutRoot() { EXPECT_EQ(::seteuid(::geteuid() == 0 ? kNobody : ::geteuid()), 0); }
  ~WithoutRoot() { EXPECT_EQ(::seteuid(::getuid()), 0); }
  WithoutRoot(const WithoutRoot&) = delete;
  WithoutRoot& operator=(const WithoutRoot&) = delete;

 private:
  static constexpr uid_t kNobody = 65534;
};

TEST(FileSet, AnUnreadableFileIsNamed) {
  const ServicesFolder dir;
  dir.write("a.toml", service_text("a", 1));
  fs::permissions(dir / "a.toml", fs::perms::none);
  fs::permissions(dir.path(), fs::perms::all);
  FileSet files(dir.path(), {});
  const WithoutRoot nobody;
  EXPECT_NE(files.read({})->warnings.at(0).find("a.toml: Permission denied"), std::string::npos);
}

TEST(FileSet, AnUnreadableFolderIsAnErrorThatNamesIt) {
  const ServicesFolder dir;
  dir.write("a.toml", service_text("a", 1));
  FileSet files(dir.path(), {});
  EXPECT_TRUE(files.read({}));
  fs::permissions(dir.path(), fs::perms::none);
  {
    const WithoutRoot nobody;
    const auto snapshot = files.read({});
    ASSERT_FALSE(snapshot);
    EXPECT_EQ(snapshot.error().code.value(), EACCES);
    EXPECT_NE(snapshot.error().message().find(dir.path()), std::string::npos);
  }
  fs::permissions(dir.path(), fs::perms::owner_all);
}

}  // namespace
}  // namespace lb
