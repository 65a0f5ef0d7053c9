// A Merlion prefix, its keys, and clocks that the test moves.
#pragma once

#include <map>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include "sources/merlion_view.h"

namespace lb {

using namespace std::chrono_literals;
using etcd::Event;
using etcd::KeyValue;

class MerlionViewTest : public testing::Test {
 protected:
  // Both clocks go on together; step() moves the wall alone.
  void pass(std::chrono::milliseconds time) {
    now_.wall += time;
    now_.steady += time;
  }
  void step(std::chrono::milliseconds time) { now_.wall += time; }
  std::string stamp(std::chrono::milliseconds ago = 0ms) const {
    return format_iso8601(now_.wall - ago);
  }

  // Judges, and asks etcd about what would expire, which has nothing to say.
  void look() {
    view_.tick(now_);
    if (view_.unconfirmed()) view_.confirm(now_.steady, now_);
  }

  void sync(bool trusted = true) {
    view_.replace_config(config_, trusted, now_);
    view_.replace_backends(backends_, trusted, now_);
  }
  void put(const std::string& key, const std::string& value) {
    view_.apply(Event{false, KeyValue{key, value, 9, 0}, std::nullopt}, now_);
  }
  void del(const std::string& key, std::int64_t lease = 0) {
    view_.apply(Event{true, KeyValue{key, "", 9, 0}, KeyValue{key, "", 8, lease}}, now_);
  }
  void add(const std::string& name, const std::string& address, const std::string& seen) {
    backends_.push_back({"/up/" + name + "/last-seen-at", seen, 1, 0});
    backends_.push_back({"/up/" + name + "/listen-address", address, 1, 0});
  }

  MerlionView::Built build() {
    return view_.build([this](const std::string& name) {
      const auto it = dns_.find(name);
      return it == dns_.end()
                 ? MerlionView::Lookup{{}, false, "host name '" + name + "' is unknown"}
                 : it->second;
    });
  }
  // "NAME address state/reason" of each backend.
  std::vector<std::string> seen() {
    const auto built = build();
    std::vector<std::string> out;
    if (!built.service) return {"no service"};
    for (const Backend& b : built.service->backends)
      out.push_back(fmt::format("{} {} {}/{}", b.id, b.address.to_string(), to_string(b.state),
                                to_string(b.reason)));
    return out;
  }
  std::string warnings() {
    view_.touch();
    return fmt::format("{}", fmt::join(build().warnings, "\n"));
  }
  using Lines = std::vector<std::string>;

  Moment now_{SysTime(1'700'000'000'000ms), std::chrono::steady_clock::time_point(1000h)};
  std::vector<KeyValue> config_{{"/conf/site/listen-address", "127.0.0.1:8080", 1, 0},
                                {"/conf/site/upstream-freshness", "10", 1, 0},
                                {"/conf/site/upstream-service-etcd-prefix", "/up/", 1, 0}};
  std::vector<KeyValue> backends_;
  std::map<std::string, MerlionView::Lookup> dns_;
  MerlionView view_{"/conf/site/"};
};

}  // namespace lb
