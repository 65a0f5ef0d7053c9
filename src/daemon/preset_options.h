// The command lines of the presets.
#pragma once

#include <string>

#include <CLI/CLI.hpp>

#include "daemon/presets.h"

namespace lb {

void add_merlion_options(CLI::App& command, MerlionPreset& preset);
// `file` is a configuration to take the sources from, instead of the flags.
void add_updater_options(CLI::App& command, UpdaterPreset& preset, std::string& file);
void add_listener_options(CLI::App& command, ListenerPreset& preset);
void add_logger_options(CLI::App& command, LoggerPreset& preset);

}  // namespace lb
