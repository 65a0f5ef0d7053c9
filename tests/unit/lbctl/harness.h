// lbctl in a world of its own: answers come from the real routes over a FakeControl, time passes only
// while lbctl sleeps, and what it prints is caught.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "api/routes.h"
#include "support/fake_control.h"
#include "support/run_awaitable.h"
#include "tools/lbctl/env.h"

namespace lb::lbctl {

class Lbctl : public testing::Test {
 protected:
  Lbctl() : env(out_stream, err_stream) {
    env.wall = [] { return test::kNow; };
    env.steady = [this] { return steady; };
    env.sleep = [this](std::chrono::milliseconds time) {
      ASSERT_GT(time.count(), 0);
      steady += time;
      ++sleeps;
      if (on_sleep) on_sleep();
    };
    env.fetch = [this](const std::string& socket, const HttpCall& http) -> Result<HttpAnswer> {
      sockets.push_back(socket);
      calls.push_back(http.method + " " + http.target);
      bodies.push_back(http.body);
      if (unreachable != 0) return fail(unreachable, "Couldn't connect to server");
      if (canned) return *canned;
      const ApiReply reply =
          test::run_awaitable(handle({http.method, http.target, http.body}, control));
      return HttpAnswer{reply.status, reply.body};
    };
    env.look_at_host = [this] { return host; };
  }

  int run_lbctl(const std::vector<std::string>& args) {
    out_stream.str("");
    err_stream.str("");
    return run(env, args);
  }
  [[nodiscard]] std::string out() const { return out_stream.str(); }
  [[nodiscard]] std::string err() const { return err_stream.str(); }

  std::ostringstream out_stream, err_stream;
  Env env;
  test::FakeControl control;
  HostFacts host;
  int unreachable = 0;  // errno
  std::optional<HttpAnswer> canned;
  std::function<void()> on_sleep;
  std::chrono::steady_clock::time_point steady;
  int sleeps = 0;
  std::vector<std::string> sockets, calls, bodies;
};

#define EXPECT_HAS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)
#define EXPECT_HAS_NOT(text, part) EXPECT_EQ((text).find(part), std::string::npos) << (text)

}  // namespace lb::lbctl
