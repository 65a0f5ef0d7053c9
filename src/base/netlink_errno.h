// The error in a netlink answer as an errno.
#pragma once

#include <cerrno>

namespace lb {

// `error`: nlmsgerr::error or the number in NLMSG_DONE, host byte order: 0 or a negative errno of at most
// MAX_ERRNO (include/linux/err.h). Anything else is no answer of a kernel: EBADMSG.
constexpr int netlink_errno(int error) {
  constexpr int kMaxErrno = 4095;
  return error <= 0 && error >= -kMaxErrno ? -error : EBADMSG;
}

}  // namespace lb
