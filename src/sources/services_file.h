// The services file (docs/OPERATIONS.md) as values: text in, services or one precise error out.
// Knows no file system.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/users.h"
#include "model/service.h"

namespace lb {

// The user of this name; nullopt: this host has none.
using FindUser = std::function<std::optional<Uid>(std::string_view name)>;

// All services of one file, in the order of the file. The error names FILE:LINE:COLUMN, the key, and
// what to write instead. A file is taken whole or not at all. Without `find_user` there are no
// users.
[[nodiscard]] Result<std::vector<Service>> parse_services_file(std::string_view text,
                                                               const std::string& path,
                                                               const FindUser& find_user = {});

// What one file contributes to the snapshot.
struct ServicesFile {
  std::string path;
  std::vector<ServicePtr> services;
};

struct MergedServices {
  std::vector<ServicePtr> services;   // sorted by key
  std::vector<std::string> warnings;  // a key that two files define: the first file wins
};

// `files` in the order of their names.
[[nodiscard]] MergedServices merge_services_files(const std::vector<const ServicesFile*>& files);

// The new services of a file, with the old pointer wherever old and new are equal.
[[nodiscard]] std::vector<ServicePtr> share_unchanged(std::vector<Service> fresh,
                                                      const std::vector<ServicePtr>& old);

}  // namespace lb
