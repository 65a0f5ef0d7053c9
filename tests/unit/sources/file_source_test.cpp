// The file source with real inotify: changes are awaited, never slept for.
#include "sources/file_source.h"

#include <fstream>

#include <gtest/gtest.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/spawn.h"
#include "unit/sources/services_folder.h"

namespace lb {
namespace {

using namespace std::chrono_literals;
using namespace asio::experimental::awaitable_operators;
namespace fs = std::filesystem;

class FileSourceTest : public testing::Test {
 protected:
  // One answer of next(), at the latest after `patience`; nullopt: silence.
  std::optional<Result<Snapshot>> next(FileSource& source,
                                       std::chrono::milliseconds patience = 5s) {
    std::optional<Result<Snapshot>> out;
    spawn(io_, "test", [&]() -> asio::awaitable<void> {
      asio::steady_timer timer(io_, patience);
      auto answer = source.next();
      auto silence = timer.async_wait(asio::as_tuple(asio::use_awaitable));
      auto winner = co_await (std::move(answer) || std::move(silence));
      if (winner.index() == 0) out = std::move(std::get<0>(winner));
    });
    io_.restart();
    io_.run();
    return out;
  }
  std::string name(FileSource& source) {
    auto answer = next(source);
    if (!answer) return "silence";
    if (!*answer) return "error";
    std::string out;
    for (const auto& service : (*answer)->services) out += service->name + " ";
    return out;
  }

  asio::io_context io_{1};
  ServicesFolder dir_;
};

TEST_F(FileSourceTest, DeliversAtOnceAndThenOnlyChanges) {
  dir_.write("a.toml", service_text("a", 1));
  FileSource source(io_, {dir_.path()});
  EXPECT_EQ(name(source), "a ");
  EXPECT_TRUE(source.status().connected);
  EXPECT_FALSE(next(source, 50ms));
  dir_.write("a.toml", service_text("a", 1) + "# a comment changes nothing\n");
  EXPECT_FALSE(next(source, 100ms));
  dir_.write("b.toml", service_text("b", 2));
  EXPECT_EQ(name(source), "a b ");
  fs::remove(dir_ / "a.toml");
  EXPECT_EQ(name(source), "b ");
}

TEST_F(FileSourceTest, FollowsASingleFileThroughRenameDeletionAndReturn) {
  dir_.write("one.toml", service_text("a", 1));
  FileSource source(io_, {dir_ / "one.toml"});
  EXPECT_EQ(name(source), "a ");
  dir_.replace("one.toml", service_text("b", 1));
  EXPECT_EQ(name(source), "b ");
  fs::remove(dir_ / "one.toml");
  EXPECT_EQ(name(source), "error");
  EXPECT_FALSE(source.status().connected);
  EXPECT_FALSE(next(source, 50ms));  // the error is told once
  dir_.replace("one.toml", service_text("c", 1));
  EXPECT_EQ(name(source), "c ");
  EXPECT_EQ(source.status().error, "");
}

TEST_F(FileSourceTest, TellsWhenAnErrorIsOverThoughNothingElseChanged) {
  dir_.write("one.toml", service_text("a", 1));
  FileSource source(io_, {dir_ / "one.toml"});
  EXPECT_EQ(name(source), "a ");
  dir_.replace("one.toml", "");
  EXPECT_EQ(name(source), "error");
  dir_.replace("one.toml", service_text("a", 1));
  EXPECT_EQ(name(source), "a ");
}

TEST_F(FileSourceTest, FollowsAFolderThatIsDeletedAndCreatedAgain) {
  fs::create_directory(dir_ / "d");
  dir_.write("d/a.toml", service_text("a", 1));
  FileSource source(io_, {dir_ / "d"});
  EXPECT_EQ(name(source), "a ");
  fs::remove_all(dir_ / "d");
  std::string last = name(source);  // the file may be seen to go before its folder
  if (last.empty()) last = name(source);
  EXPECT_EQ(last, "error");
  fs::create_directory(dir_ / "d");
  dir_.write("d/b.toml", service_text("b", 1));
  for (int i = 0; i < 3 && last != "b "; ++i) last = name(source);
  EXPECT_EQ(last, "b ");
}

TEST_F(FileSourceTest, FollowsALinkThatIsSwitched) {
  dir_.write("v1", service_text("one", 1));
  dir_.write("v2", service_text("two", 1));
  fs::create_directory(dir_ / "d");
  fs::create_symlink("../v1", dir_ / "d/s.toml");
  FileSource source(io_, {dir_ / "d"});
  EXPECT_EQ(name(source), "one ");
  fs::create_symlink("../v2", dir_ / "d/new");
  fs::rename(dir_ / "d/new", dir_ / "d/s.toml");
  EXPECT_EQ(name(source), "two ");
  dir_.replace("v2", service_text("three", 1));  // behind the link
  EXPECT_EQ(name(source), "three ");
}

TEST_F(FileSourceTest, WaitsForAPathThatIsNotThereYet) {
  FileSource source(io_, {dir_ / "x/y"});
  EXPECT_EQ(name(source), "error");
  fs::create_directories(dir_ / "x/y");
  dir_.write("x/y/a.toml", service_text("a", 1));
  std::string last;
  for (int i = 0; i < 3 && last != "a "; ++i) last = name(source);
  EXPECT_EQ(last, "a ");
}

TEST_F(FileSourceTest, WhatIsBeingWrittenWaitsForItsWriterAlsoAtTheStart) {
  std::ofstream writer(dir_ / "a.toml");
  writer << service_text("a", 1) << std::flush;
  FileSource source(io_, {dir_.path()});
  EXPECT_FALSE(next(source, 100ms)) << "half a state is none";
  writer << service_text("b", 2);
  writer.close();
  EXPECT_EQ(name(source), "a b ");
  writer.open(dir_ / "a.toml");
  writer << service_text("a", 1) << std::flush;
  dir_.replace("c.toml", service_text("c", 3));
  EXPECT_EQ(name(source), "a b c ");
  writer.close();
  EXPECT_EQ(name(source), "a c ") << "at rest for a second";
}

TEST_F(FileSourceTest, ABurstIsOneChange) {
  FileSource source(io_, {dir_.path()});
  EXPECT_EQ(name(source), "");
  for (int i = 1; i <= 50; ++i)
    dir_.replace("f" + std::to_string(i) + ".toml", service_text("s", i));
  auto answer = next(source);
  ASSERT_TRUE(answer && *answer);
  EXPECT_EQ((*answer)->services.size(), 50U);
  EXPECT_FALSE(next(source, 100ms));
}

TEST_F(FileSourceTest, AServiceThatIsMovedToAnotherFileIsNeverGone) {
  dir_.replace("one.toml", service_text("moved", 1));
  dir_.replace("two.toml", service_text("stays", 2));
  FileSource source(io_, {dir_.path()});
  EXPECT_EQ(name(source), "moved stays ");
  // The file without it is read at once, as a long quiet time came before.
  asio::steady_timer removal(io_, 120ms), arrival(io_, 128ms);
  removal.async_wait([&](const boost::system::error_code&) { fs::remove(dir_ / "one.toml"); });
  arrival.async_wait([&](const boost::system::error_code&) {
    dir_.replace("three.toml", service_text("moved", 1));
  });
  const auto answer = next(source, 400ms);
  if (answer && *answer) {
    EXPECT_EQ((*answer)->services.size(), 2U);
  }
}

}  // namespace
}  // namespace lb
