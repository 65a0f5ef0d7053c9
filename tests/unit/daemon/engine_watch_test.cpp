#include "engine_fixture.h"

namespace lb {
namespace {

using testing::ElementsAre;

class EngineWatch : public EngineFixture {
 protected:
  EngineWatch() {
    start();
    deliver({offered("127.0.0.1:80", {listed("10.0.0.1:80"), listed("10.0.0.2:80")}, "web")});
  }
  void drain(std::string_view target) {
    ASSERT_TRUE(engine_->drains().add(
        {Drain::parse_target(target).value(), std::nullopt, wall_, std::nullopt, {}}));
    engine_->replan_soon();
    run();
  }
  void first_leaves() { deliver({offered("127.0.0.1:80", {listed("10.0.0.2:80")}, "web")}); }
  const std::vector<DesiredBackend>& wanted() const {
    return engine_->reconciler().desired().at(web_)->backends;
  }
  const ServiceKey web_ = key("127.0.0.1:80");
};

// The source said that it has left, and may have been wrong: while the other was in use it did no harm.
TEST_F(EngineWatch, WhatHasLeftAndIsTheLastResortStaysForAWhileWithoutConnections) {
  first_leaves();
  drain("10.0.0.2:80");
  const auto last = ElementsAre(ProgrammedBackend{addr("10.0.0.1:80"), 1},
                                ProgrammedBackend{addr("10.0.0.2:80"), 0, true});
  ASSERT_THAT(programmed("127.0.0.1:80"), last);
  after(Engine::kLastResort - milliseconds(1'000));
  EXPECT_THAT(programmed("127.0.0.1:80"), last);
  after(milliseconds(2'000));
  EXPECT_THAT(programmed("127.0.0.1:80"),
              ElementsAre(ProgrammedBackend{addr("10.0.0.2:80"), 0, true}))
      << "its connections are gone, and its source has not named it again";
}

TEST_F(EngineWatch, ALastResortThatIsNoneAnyMoreGoesAtZero) {
  first_leaves();
  drain("10.0.0.2:80");
  after(milliseconds(1'000));
  ASSERT_TRUE(engine_->drains().remove(Drain::parse_target("10.0.0.2:80").value()));
  engine_->replan_soon();
  run();
  after(milliseconds(500));
  EXPECT_THAT(programmed("127.0.0.1:80"), ElementsAre(ProgrammedBackend{addr("10.0.0.2:80"), 1}));
}

// It has its old weight in the kernel, and gets the next connection.
TEST_F(EngineWatch, ACountOfNothingMeansNothingWhileItsServiceCannotBeProgrammed) {
  dataplane_.failing_keys[web_] = EIO;
  first_leaves();
  after(milliseconds(2'000));
  EXPECT_EQ(wanted().size(), 2U);
  dataplane_.failing_keys.clear();
  after(milliseconds(60'000));
  EXPECT_EQ(wanted().size(), 1U);
  EXPECT_THAT(programmed("127.0.0.1:80"), ElementsAre(ProgrammedBackend{addr("10.0.0.2:80"), 1}));
}

}  // namespace
}  // namespace lb
