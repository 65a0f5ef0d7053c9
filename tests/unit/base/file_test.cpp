#include "base/file.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/being_written.h"
#include "support/temp_folder.h"

namespace lb {
namespace {

using testing::HasSubstr;

TEST(ReadFile, ReturnsEveryByte) {
  const TempFolder folder;
  const std::string content = std::string("a\0b\n", 4) + std::string(50'000, 'x');
  EXPECT_EQ(read_file(folder.write("f", content)).value(), content);
  EXPECT_EQ(read_file(folder.write("empty", "")).value(), "");
}

TEST(ReadFile, NamesTheFileThatIsNotThere) {
  const auto content = read_file("/nowhere/f");
  ASSERT_FALSE(content);
  EXPECT_EQ(content.error().message(), "open /nowhere/f: No such file or directory");
}

TEST(ReadFile, RefusesMoreThanTheLimit) {
  const TempFolder folder;
  const std::string path = folder.write("f", "12345");
  EXPECT_TRUE(read_file(path, 5));
  EXPECT_EQ(read_file(path, 4).error().code, std::errc::file_too_large);
}

TEST(ReadFile, FollowsALinkButNotInThePlaceOfOurOwn) {
  const TempFolder folder;
  std::filesystem::create_symlink(folder.write("f", "x"), folder.file("link"));
  EXPECT_EQ(read_file(folder.file("link")).value(), "x");
  EXPECT_EQ(read_own_file(folder.file("f")).value(), "x");
  EXPECT_EQ(read_own_file(folder.file("link")).error().code,
            std::errc::too_many_symbolic_link_levels);
}

// A link that waits where half a file is written first.
TEST(WriteFile, WritesThroughNoLink) {
  const TempFolder folder;
  folder.write("victim", "precious");
  const std::string half = folder.file("f") + ".new." + std::to_string(::getpid());
  std::filesystem::create_symlink(folder.file("victim"), half);
  EXPECT_TRUE(write_file_atomically(folder.file("f"), "x"));
  EXPECT_EQ(folder.read("f"), "x");
  EXPECT_EQ(folder.read("victim"), "precious");
}

TEST(FolderLock, IsNoLink) {
  const TempFolder folder;
  folder.write("victim", "precious");
  std::filesystem::create_symlink(folder.file("victim"), folder.file("lbd.lock"));
  EXPECT_TRUE(FolderLock::take(folder.path())) << "the folder itself can be locked";
  EXPECT_EQ(folder.read("victim"), "precious");
}

TEST(IsBeingWritten, WhileAWriterHasItOpen) {
  const TempFolder folder;
  const std::string path = folder.write("f", "1");
  EXPECT_FALSE(is_being_written(path));
  std::ofstream writer(path);
  EXPECT_TRUE(is_being_written(path));
  writer.close();
  const std::ifstream reader(path);
  EXPECT_FALSE(is_being_written(path)) << "a reader is none";
  EXPECT_FALSE(is_being_written("/nowhere/f"));
}

TEST(ReadFile, FailsOnAFolder) {
  const TempFolder folder;
  EXPECT_EQ(read_file(folder.path()).error().code, std::errc::is_a_directory);
}

// Reading one would wait for a writer.
TEST(ReadFile, RefusesAFifoWithoutWaitingForItsWriter) {
  const TempFolder folder;
  ASSERT_EQ(::mkfifo(folder.file("f").c_str(), 0600), 0);
  EXPECT_THAT(read_file(folder.file("f")).error().message(), HasSubstr("it is no regular file"));
  EXPECT_FALSE(read_file("/dev/zero"));
}

TEST(ReadFile, ReadsWhatTheKernelShowsAsAFile) {
  EXPECT_THAT(read_file("/proc/self/status").value(), HasSubstr("Name:"));
}

TEST(WriteFile, ReplacesTheContentAndLeavesNothingElse) {
  const TempFolder folder;
  const std::string path = folder.write("f", "old and longer");
  ASSERT_TRUE(write_file_atomically(path, "new"));
  EXPECT_EQ(folder.read("f"), "new");
  using Iterator = std::filesystem::directory_iterator;
  EXPECT_EQ(std::distance(Iterator(folder.path()), Iterator()), 1);
}

TEST(WriteFile, KeepsOthersOut) {
  const TempFolder folder;
  ASSERT_TRUE(write_file_atomically(folder.file("f"), "x"));
  struct stat info {};
  ASSERT_EQ(::stat(folder.file("f").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07, 0U);
}

TEST(WriteFile, ReaderWithTheOldFileOpenSeesTheOldContent) {
  const TempFolder folder;
  const std::string path = folder.write("f", "old");
  std::ifstream reader(path);
  ASSERT_TRUE(write_file_atomically(path, "new"));
  std::string seen;
  reader >> seen;
  EXPECT_EQ(seen, "old");
}

TEST(WriteFile, KeepsTheOldContentWhenItFails) {
  const TempFolder folder;
  // A folder in the target's place: rename fails after everything was written.
  std::filesystem::create_directories(folder.file("f/inside"));
  const auto written = write_file_atomically(folder.file("f"), "new");
  ASSERT_FALSE(written);
  EXPECT_THAT(written.error().message(), HasSubstr("rename "));
  using Iterator = std::filesystem::directory_iterator;
  EXPECT_EQ(std::distance(Iterator(folder.path()), Iterator()), 1);
}

TEST(WriteFile, FailsWithoutTheFolder) {
  const auto written = write_file_atomically("/nowhere/f", "x");
  ASSERT_FALSE(written);
  EXPECT_THAT(written.error().message(), HasSubstr("create /nowhere/f.new."));
}

TEST(MakeFolder, MakesParentsAndIsHappyWithWhatIsThere) {
  const TempFolder folder;
  EXPECT_TRUE(make_folder(folder.file("a/b/c")));
  EXPECT_TRUE(make_folder(folder.file("a/b/c")));
  EXPECT_TRUE(std::filesystem::is_directory(folder.file("a/b/c")));
}

TEST(MakeFolder, FailsOnAFileInTheWay) {
  const TempFolder folder;
  folder.write("a", "");
  EXPECT_EQ(make_folder(folder.file("a")).error().code, std::errc::not_a_directory);
  EXPECT_FALSE(make_folder(folder.file("a/b")));
}

TEST(FolderLock, RefusesASecondOwnerAndNamesTheFirst) {
  const TempFolder folder;
  const auto first = FolderLock::take(folder.path());
  ASSERT_TRUE(first) << first.error().message();
  const auto second = FolderLock::take(folder.path());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, std::errc::operation_would_block);
  EXPECT_EQ(second.error().context,
            folder.path() + " is in use by the lbd with pid " + std::to_string(::getpid()));
}

TEST(FolderLock, IsFreeWhenTheOwnerLetsGo) {
  const TempFolder folder;
  { ASSERT_TRUE(FolderLock::take(folder.path())); }
  EXPECT_TRUE(FolderLock::take(folder.path()));
}

TEST(FolderLock, IsFreeWhenTheOwnerHasDied) {
  const TempFolder folder;
  const pid_t child = ::fork();
  if (child == 0) {
    const auto lock = FolderLock::take(folder.path());
    ::_exit(lock ? 0 : 1);  // no destructor runs, as after SIGKILL
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(WEXITSTATUS(status), 0);
  ASSERT_TRUE(FolderLock::take(folder.path()));
  EXPECT_EQ(folder.read("lbd.lock"), std::to_string(::getpid()));
}

TEST(FolderLock, NeedsNoFileOfItsOwn) {
  const TempFolder folder;
  std::filesystem::create_directory(
      folder.file("lbd.lock"));  // as little to be written as on a full disk
  const auto first = FolderLock::take(folder.path());
  ASSERT_TRUE(first) << first.error().message();
  const auto second = FolderLock::take(folder.path());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, std::errc::operation_would_block);
}

TEST(FolderLock, NamesAFolderThatIsNotThere) {
  EXPECT_EQ(FolderLock::take("/nowhere").error().message(),
            "open /nowhere/lbd.lock: No such file or directory");
}

}  // namespace
}  // namespace lb
