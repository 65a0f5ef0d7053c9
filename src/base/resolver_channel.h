// A c-ares channel: one reading of /etc/resolv.conf, and the questions that are asked by it. For the
// resolver's thread alone.
#pragma once

#include <ares.h>
#include <poll.h>
#include <sys/stat.h>

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/resolver.h"

namespace lb {

class ResolverChannel {
 public:
  using Done = std::function<void(Resolver::Answer)>;

  [[nodiscard]] static Result<std::unique_ptr<ResolverChannel>> open();
  ~ResolverChannel();  // answers what is not answered
  ResolverChannel(const ResolverChannel&) = delete;
  ResolverChannel& operator=(const ResolverChannel&) = delete;

  // `done` is called within this, process() or the destructor.
  void ask(const std::string& name, Done done);
  [[nodiscard]] bool is_idle() const { return asked_ == 0; }
  // Whether /etc/resolv.conf is what it was; glibc notices as well.
  [[nodiscard]] bool is_current() const;

  // Adds the sockets to wait for; returns for how long at most, in milliseconds, or -1.
  int prepare(std::vector<pollfd>& sockets) const;
  void process(std::span<const pollfd> sockets);

 private:
  ResolverChannel();
  static void answered(void* question, int status, int timeouts, ares_addrinfo* found);

  ares_channel channel_ = nullptr;
  std::map<ares_socket_t, short> sockets_;
  std::size_t asked_ = 0;
  struct stat configuration_ {};
};

}  // namespace lb
