// What the tests of IPVS do to the machine they run on, which must be a guest of tests/vm/run.
#pragma once

#include <linux/capability.h>

#include <string>
#include <vector>

#include "ipvs/records.h"

namespace lb::test {

// Empty in a guest, else why this is none. Checked before anything is changed.
std::string why_no_guest();

// A fresh network namespace with lo up for the calling thread: IPVS is empty there.
void enter_fresh_namespace();
void enter_first_namespace();

// Unloads ip_vs and its schedulers, which waits for namespaces that are being destroyed. False after a minute.
bool unload_ip_vs();
bool is_loaded(const std::string& module);

// A file that is there as long as this object.
class TemporaryFile {
 public:
  TemporaryFile(std::string path, const std::string& text);
  ~TemporaryFile();
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

 private:
  std::string path_;
};

// An empty folder over another one as long as this object.
class HiddenFolder {
 public:
  explicit HiddenFolder(std::string path);
  ~HiddenFolder();
  HiddenFolder(const HiddenFolder&) = delete;
  HiddenFolder& operator=(const HiddenFolder&) = delete;

 private:
  std::string path_;
};

// The calling thread's effective capabilities are only these as long as this object.
class OnlyCapabilities {
 public:
  explicit OnlyCapabilities(const std::vector<int>& capabilities);
  ~OnlyCapabilities();
  OnlyCapabilities(const OnlyCapabilities&) = delete;
  OnlyCapabilities& operator=(const OnlyCapabilities&) = delete;

 private:
  __user_cap_data_struct before_[2];
};

// Shorthands for records.
ipvs::ServiceId service_id(const std::string& key);  // "tcp://127.0.0.1:80"
ipvs::Command add_service(const ipvs::ServiceId& id, const std::string& scheduler = "wlc");
ipvs::Command add_server(const ipvs::ServiceId& id, const std::string& server,
                         std::uint32_t weight = 100);
ipvs::Command with_kind(ipvs::Command command, ipvs::Command::Kind kind);

}  // namespace lb::test
