#include "daemon/logging.h"

#include <unistd.h>

#include <memory>
#include <mutex>
#include <string>

#include <fmt/format.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>
#include <nlohmann/json.hpp>

#include "base/foreign_json.h"
#include "base/text.h"
#include "daemon/log_queue.h"

namespace lb {
namespace {

// The message may hold what a source, a server or another user wrote: it stays one line, and works no terminal.
class PlainText final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&,
              spdlog::memory_buf_t& out) override {
    const std::string text = printable_text({message.payload.data(), message.payload.size()});
    out.append(text.data(), text.data() + text.size());
  }
  [[nodiscard]] std::unique_ptr<spdlog::custom_flag_formatter> clone() const override {
    return std::make_unique<PlainText>();
  }
};

// The same as a JSON string.
class JsonText final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&,
              spdlog::memory_buf_t& out) override {
    const std::string quoted =
        dump_printable(nlohmann::json(std::string(message.payload.data(), message.payload.size())));
    out.append(quoted.data(), quoted.data() + quoted.size());
  }
  [[nodiscard]] std::unique_ptr<spdlog::custom_flag_formatter> clone() const override {
    return std::make_unique<JsonText>();
  }
};

// Never destroyed: what is logged while the process ends goes through it, too.
LogQueue& stderr_queue() {
  static LogQueue* const queue = new LogQueue(STDERR_FILENO);
  return *queue;
}

// Hands whole lines to the queue, and says when some were lost.
class QueueSink final : public spdlog::sinks::base_sink<std::mutex> {
 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    if (const auto lost = stderr_queue().take_news(); lost > 0)
      push({"lbd", spdlog::level::warn,
            fmt::format("dropped={} log lines: the reader of stderr was too slow, or gone", lost)});
    push(message);
  }
  // Before the process ends: what is critical is logged for that.
  void flush_() override { (void)flush_log(); }

 private:
  void push(const spdlog::details::log_msg& message) {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    stderr_queue().push(std::string(line.data(), line.size()));
  }
};

spdlog::level::level_enum to_spdlog(LogLevel level) {
  switch (level) {
    case LogLevel::Trace:
      return spdlog::level::trace;
    case LogLevel::Debug:
      return spdlog::level::debug;
    case LogLevel::Info:
      return spdlog::level::info;
    case LogLevel::Warn:
      return spdlog::level::warn;
    case LogLevel::Error:
      return spdlog::level::err;
    case LogLevel::Critical:
      return spdlog::level::critical;
  }
  bug("log level");
}

}  // namespace

void setup_logging(const DaemonConfig& config) {
  auto formatter = std::make_unique<spdlog::pattern_formatter>(spdlog::pattern_time_type::utc);
  if (config.log_format == LogFormat::Json)
    formatter->add_flag<JsonText>('*');
  else
    formatter->add_flag<PlainText>('*');
  formatter->set_pattern(config.log_format == LogFormat::Json
                             ? R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l","message":%*})"
                             : "%Y-%m-%dT%H:%M:%S.%eZ %l %*");
  auto logger = std::make_shared<spdlog::logger>("lbd", std::make_shared<QueueSink>());
  logger->set_formatter(std::move(formatter));
  logger->set_level(to_spdlog(config.log_level));
  logger->flush_on(spdlog::level::critical);
  spdlog::set_default_logger(std::move(logger));
}

bool flush_log() {
  // Much more than a reader needs that reads, and no more than a stop can wait.
  return stderr_queue().flush(std::chrono::milliseconds(500));
}

std::uint64_t dropped_log_lines() { return stderr_queue().dropped(); }

}  // namespace lb
