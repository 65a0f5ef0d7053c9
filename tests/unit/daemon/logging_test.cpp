#include "daemon/logging.h"

#include <fcntl.h>
#include <unistd.h>

#include <string>

#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include "base/unique_fd.h"

namespace lb {
namespace {

// What is logged by `log`, from stderr.
template <class Log>
std::string logged(LogFormat format, Log log) {
  int ends[2] = {-1, -1};
  EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  const UniqueFd before(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3));
  EXPECT_EQ(::dup2(write_end.get(), STDERR_FILENO), STDERR_FILENO);
  DaemonConfig config;
  config.log_format = format;
  const auto logger = spdlog::default_logger();
  setup_logging(config);
  log();
  EXPECT_TRUE(flush_log());
  spdlog::set_default_logger(logger);
  EXPECT_EQ(::dup2(before.get(), STDERR_FILENO), STDERR_FILENO);
  write_end = UniqueFd();
  std::string out(4096, '\0');
  const auto size = ::read(read_end.get(), out.data(), out.size());
  out.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
  return out;
}

TEST(Logging, ForeignTextWritesNoLineOfItsOwn) {
  const std::string name =
      "web\n2026-01-01T00:00:00.000Z critical all is lost\r\x1b[2K\xc2\x9b"
      "31m\xe2\x80\xae\xff";
  for (const LogFormat format : {LogFormat::Text, LogFormat::Json}) {
    const std::string line = logged(format, [&] { spdlog::info("service={} is new", name); });
    EXPECT_EQ(line.find('\n'), line.size() - 1) << line;
    for (const char control : {'\r', '\x1b', '\xc2', '\xe2', '\xff'})
      EXPECT_EQ(line.find(control), std::string::npos) << line;
    EXPECT_NE(line.find("x0a2026-01-01"), std::string::npos) << line;
    EXPECT_NE(line.find("is new"), std::string::npos) << line;
  }
}

}  // namespace
}  // namespace lb
