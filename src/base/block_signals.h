// For threads of ours: the daemon's signals go to the loop's thread, and a write to a pipe without reader is
// an error there and not a signal.
#pragma once

#include <pthread.h>
#include <signal.h>

namespace lb {

inline void block_signals() {
  sigset_t all;
  ::sigfillset(&all);
  (void)::pthread_sigmask(SIG_BLOCK, &all, nullptr);
}

}  // namespace lb
