// Tasks and port numbers within Marathon's answer; a part of app_parse.cpp.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "marathon/app.h"
#include "marathon/app_json.h"

namespace lb::marathon {

// One sentence each. Of a flood only the first ones are kept: they say what is wrong, and the answer
// must not grow in memory because of them.
void add_problem(std::vector<std::string>& problems, std::string sentence);

// nullopt without a problem for null and 0, which stand for a port that is not allocated yet. `what`
// names the place: "ports[2]".
[[nodiscard]] std::optional<Port> read_port(JsonReader& in, std::string_view what,
                                            std::vector<std::string>& problems);

// nullopt for what is no task: null, or without an id.
[[nodiscard]] std::optional<Task> read_task(JsonReader& in, std::vector<std::string>& problems);

}  // namespace lb::marathon
