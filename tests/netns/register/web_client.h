// HTTP/1.0 by hand: many short requests that say who answered, and one download whose pace the test
// decides.
#pragma once

#include <atomic>
#include <cstddef>
#include <map>
#include <mutex>
#include <string>
#include <thread>

#include "base/unique_fd.h"

namespace lb::test {

// The body of /who, or "errno N" when the connect or the answer failed.
std::string who_serves(const std::string& at);

// Asks without pause until stopped.
class WebLoad {
 public:
  explicit WebLoad(std::string at);
  ~WebLoad() { stop(); }
  WebLoad(const WebLoad&) = delete;
  WebLoad& operator=(const WebLoad&) = delete;

  void stop();
  [[nodiscard]] std::map<std::string, int> answers() const;  // so far
  void forget();

 private:
  std::string at_;
  mutable std::mutex mutex_;
  std::map<std::string, int> answers_;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

// A GET whose answer is read only when asked to. Its receive buffer is small, so that the server cannot
// get rid of the file before.
class SlowDownload {
 public:
  SlowDownload(const std::string& at, const std::string& path);
  // Of the whole answer, head included; fewer at its end.
  std::string read(std::size_t bytes);
  std::string read_all();

 private:
  UniqueFd fd_;
};

}  // namespace lb::test
