// What of IPVS is lbd's: a file beside the saved snapshots, since IPVS has no room for a note. A virtual service is
// written down before it is made and crossed out after it is gone, so a crash in between leaves an entry too many, never one too few.
// Entries of an earlier boot or of another network namespace are void.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "dataplane/ipvs_entry.h"

namespace lb {

class IpvsJournal {
 public:
  // Reads what is there and writes it anew, compacted. A line cut off by a crash is ignored; a file that is no journal
  // is an error: what is ours would be unknown.
  [[nodiscard]] static Result<IpvsJournal> open(std::string path);

  [[nodiscard]] const std::map<ServiceKey, IpvsEntry>& entries() const { return entries_; }
  // Appended, without waiting for the disk: what a power cut loses, the kernel has lost as well.
  [[nodiscard]] Result<> put(const IpvsEntry& entry);
  [[nodiscard]] Result<> erase(const ServiceKey& key);

  // A note of the caller's: what the nft tables looked like when last written.
  [[nodiscard]] const std::string& tables() const { return tables_; }
  [[nodiscard]] Result<> put_tables(std::string fingerprint);

  // The smallest number that no entry's mark has (1 to 0xffffff).
  [[nodiscard]] Result<std::uint32_t> free_mark() const;

  [[nodiscard]] static Result<> remove(const std::string& path);
  // Is anything recorded there that is still in this kernel?
  [[nodiscard]] static bool exists(const std::string& path);

 private:
  [[nodiscard]] Result<> append(const std::string& line);
  [[nodiscard]] Result<> compact();

  std::string path_;
  UniqueFd fd_;
  std::map<ServiceKey, IpvsEntry> entries_;
  std::string tables_;
  std::size_t lines_ = 0;
};

}  // namespace lb
