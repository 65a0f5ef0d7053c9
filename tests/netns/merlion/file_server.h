// A backend that sends the same bytes to everybody and closes, if wished slowly; and the client that
// wants exactly these bytes.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <future>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/unique_fd.h"

namespace lb::test {

class FileServer {
 public:
  // 0 bytes a second: as fast as it goes.
  FileServer(std::string_view at, std::string content, std::size_t bytes_per_second = 0);
  ~FileServer();
  FileServer(const FileServer&) = delete;
  FileServer& operator=(const FileServer&) = delete;

 private:
  void accept_all();
  void serve(UniqueFd client) const;

  UniqueFd listener_;
  std::string content_;
  std::size_t rate_;
  std::atomic<bool> stop_ = false;
  std::vector<std::thread> clients_;
  std::thread thread_;
};

struct Download {
  int error = 0;  // errno of connect() or of a read; ETIMEDOUT when it took longer than `patience`
  std::string content;
  bool operator==(const Download&) const = default;
};

// Connects and reads to the end.
Download download(const std::string& from, std::chrono::milliseconds patience);
// The same on another thread; returns when the connection stands.
std::future<Download> start_download(const std::string& from);

std::string excerpt(std::size_t bytes);  // some text, the same each time

}  // namespace lb::test
