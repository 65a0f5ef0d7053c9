// Who says what when: questions and their answers, commands and their acknowledgements, over any Channel.
// An error of a function here (not of one command) may leave answers on their way: the channel is to be given up.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "ipvs/channel.h"
#include "ipvs/records.h"

namespace lb::ipvs {

// Commands per send(). Their acknowledgements wait in the socket until they are read, and must fit there.
constexpr std::size_t kBatch = 64;
// A dump that somebody has changed while it ran is begun anew. More often than this is a fight, which a later reading
// may win.
constexpr int kDumpAttempts = 10;

[[nodiscard]] Result<Info> read_info(Channel& channel);
[[nodiscard]] Result<std::vector<VirtualService>> read_services(Channel& channel);
// nullopt: it is not there.
[[nodiscard]] Result<std::optional<VirtualService>> read_service(Channel& channel,
                                                                 const ServiceId& id);
[[nodiscard]] Result<std::vector<ObservedServer>> read_servers(Channel& channel,
                                                               const ServiceId& service);
// One result for each command.
[[nodiscard]] Result<std::vector<Result<>>> apply_commands(Channel& channel,
                                                           std::span<const Command> commands);

}  // namespace lb::ipvs
