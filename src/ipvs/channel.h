// Bytes to IPVS and back, as the exchange of messages needs them: a socket, or a test's stand-in.
#pragma once

#include <cstdint>
#include <functional>

#include "base/result.h"
#include "ipvs/netlink.h"

namespace lb::ipvs {

class Channel {
 public:
  virtual ~Channel() = default;

  // The number that the kernel has given to "IPVS".
  [[nodiscard]] std::uint16_t family() const { return family_; }
  // Numbers of messages, each used once: by them answers are told apart.
  [[nodiscard]] std::uint32_t next_sequence() { return ++sequence_; }

  [[nodiscard]] virtual Result<> send(Bytes messages) = 0;
  // Waits for a datagram, takes all that are there (64 at most), and gives what is in them to `visit`, in order. Each
  // fits into a small place (acknowledgements) or a large one (dumps: the kernel fills up to 32 KiB).
  enum class Size : std::uint8_t { Small, Large };
  using Visit = std::function<Result<>(const Message&)>;
  [[nodiscard]] virtual Result<> receive(Size size, const Visit& visit) = 0;

 protected:
  explicit Channel(std::uint16_t family) : family_(family) {}
  Channel(Channel&&) = default;
  Channel& operator=(Channel&&) = default;

 private:
  std::uint16_t family_;
  std::uint32_t sequence_ = 0;
};

}  // namespace lb::ipvs
