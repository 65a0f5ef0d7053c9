// Many services: that they all arrive, and that one change among them does. How long it takes is
// printed; the bars are measured by tools/bench/scale.
#include <sys/stat.h>

#include <chrono>
#include <iostream>

#include <fmt/format.h>

#include "netns/daemon/fixture.h"

namespace lb::test {
namespace {

using Clock = std::chrono::steady_clock;

class Scale : public DaemonNetns {
 protected:
  // Services on 127.0.0.1:10000 and up; each with backends of its own, which do not exist.
  static std::string many(int services, int backends) {
    std::string out;
    for (int i = 0; i < services; ++i) {
      std::vector<std::string> list;
      for (int b = 0; b < backends; ++b)
        list.push_back(fmt::format("127.1.{}.{}:{}", i / 250, i % 250 + 1, 7000 + b));
      out += service_toml(fmt::format("s{}", i), fmt::format("127.0.0.1:{}", 10000 + i), list);
    }
    return out;
  }
  std::string used() const { return json_at(lbd_->json({"status"}), "/dataplane/services/used"); }
  static void print_time(std::string_view what, Clock::time_point begin) {
    std::cout << fmt::format(
        "{}: {:.1f} ms\n", what,
        std::chrono::duration<double, std::milli>(Clock::now() - begin).count());
  }
};

TEST_F(Scale, AThousandServicesOfTenBackendsArrive) {
  serve_web({kOne});
  const std::string text = many(1000, 10) + service_toml("web", kWeb, {kTwo});
  const auto begin = Clock::now();
  write_services(text);
  ASSERT_TRUE(eventually([] { return ask(kWeb) == "2"; }, std::chrono::seconds(10)));
  ASSERT_TRUE(eventually([&] { return used() == "1001"; }, std::chrono::seconds(10))) << used();
  print_time("1,000 services with 10 backends each, from the edit on", begin);
  EXPECT_EQ(lbd_->list().size(), 1001U);
}

TEST_F(Scale, OneChangeAmongTenThousandServicesArrives) {
  const std::string folder = file("services.d");
  ASSERT_EQ(::mkdir(folder.c_str(), 0755), 0);
  replace_file(folder + "/many.toml", many(9999, 2));
  replace_file(folder + "/web.toml", service_toml("web", kWeb, {kOne}));
  lbd_->configure(file_source(folder));
  ASSERT_TRUE(lbd_->start());
  ASSERT_TRUE(eventually([&] { return used() == "10000"; }, std::chrono::seconds(20))) << used();
  ASSERT_EQ(ask(kWeb), "1");
  for (int i = 0; i < 3; ++i) {
    const bool two = i % 2 == 0;
    const auto begin = Clock::now();
    replace_file(folder + "/web.toml", service_toml("web", kWeb, {two ? kTwo : kOne}));
    ASSERT_TRUE(eventually([&] { return ask(kWeb) == (two ? "2" : "1"); }));
    print_time("one backend among 10,000 services, from the edit on", begin);
  }
}

}  // namespace
}  // namespace lb::test
