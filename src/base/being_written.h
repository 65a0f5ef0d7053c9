// Whether a file of other programs is whole: the kernel knows who has it open.
#pragma once

#include <string>

namespace lb {

// Whether any process has the file open for writing. False where the kernel does not tell: on file
// systems without leases, and of files of other users without CAP_LEASE.
[[nodiscard]] bool is_being_written(const std::string& path);

}  // namespace lb
