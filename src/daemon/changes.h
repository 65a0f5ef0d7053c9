// What has changed between two states, as JSON for the log of `lbd logger`. Pure.
#pragma once

#include <string>
#include <vector>

#include "base/time.h"
#include "model/service.h"

namespace lb {

// One line without its newline; "" when nothing has changed:
// {"time":"2026-11-22T02:13:55.123Z","from":"updater1:7676","changes":[
//   {"change":"service-added","service":"tcp://127.0.0.1:8080","name":"web"},
//   {"change":"backend-changed","service":...,"name":...,"backend":"10.0.0.1:31001","id":"web.1",
//    "state":{"from":"active","to":"draining"}}, ...]}
[[nodiscard]] std::string describe_changes(const std::vector<ServicePtr>& before,
                                           const std::vector<ServicePtr>& after, SysTime time,
                                           const std::string& from);

// The whole state: {"time":...,"from":...,"services":[...]}, services as in saved snapshots.
[[nodiscard]] std::string describe_state(const std::vector<ServicePtr>& services, SysTime time,
                                         const std::string& from);

}  // namespace lb
