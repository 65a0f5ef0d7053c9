#include "ipvs/module.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lb::ipvs {
namespace {

using testing::HasSubstr;
using testing::Not;

ModuleFacts with_module() {
  ModuleFacts facts;
  facts.release = "6.1.0-9";
  facts.index = "kernel/net/netfilter/ipvs/ip_vs.ko.xz: kernel/lib/libcrc32c.ko\n";
  return facts;
}

TEST(WhyMissing, AKernelThatDoesNotHaveItNeedsAnother) {
  ModuleFacts facts = with_module();
  facts.index = "kernel/net/netfilter/ipvs/ip_vs_rr.ko: \nkernel/fs/fuse/fuse.ko:\n";
  EXPECT_THAT(why_missing(facts),
              HasSubstr("Module ip_vs not found in directory /lib/modules/6.1.0-9"));
}

TEST(WhyMissing, WithoutTheIndexItMayBeAContainer) {
  ModuleFacts facts = with_module();
  facts.index.reset();
  EXPECT_THAT(why_missing(facts), HasSubstr("`modprobe ip_vs`"));
  EXPECT_THAT(why_missing(facts), HasSubstr("container"));
}

TEST(WhyMissing, ABlacklistIsQuotedWithItsFile) {
  ModuleFacts facts = with_module();
  facts.config = {{"/etc/modprobe.d/a.conf", "# blacklist ip_vs\nblacklist floppy\n"},
                  {"/etc/modprobe.d/b.conf", "options x y=1\nblacklist  ip-vs\n"}};
  const std::string why = why_missing(facts);
  EXPECT_THAT(why, HasSubstr("blacklisted in /etc/modprobe.d/b.conf"));
  EXPECT_THAT(why, HasSubstr("run `modprobe ip_vs`"));
}

TEST(WhyMissing, AnInstallLineCountsMoreThanABlacklist) {
  ModuleFacts facts = with_module();
  facts.config = {{"/etc/modprobe.d/a.conf", "install ip_vs /bin/false\nblacklist ip_vs\n"}};
  EXPECT_THAT(why_missing(facts), HasSubstr("\"install ip_vs /bin/false\""));
}

TEST(WhyMissing, ACommentAndAnotherModuleAreNoBlacklist) {
  ModuleFacts facts = with_module();
  facts.config = {{"/etc/modprobe.d/a.conf", "#blacklist ip_vs\nblacklist ip_vs_rr\n"}};
  EXPECT_THAT(why_missing(facts), Not(HasSubstr("blacklist")));
  EXPECT_THAT(why_missing(facts), HasSubstr("run `modprobe ip_vs` as root"));
}

TEST(WhyMissing, TheKernelsCommandLineCanForbidIt) {
  ModuleFacts facts = with_module();
  facts.command_line = "quiet modprobe.blacklist=floppy,ip_vs ro";
  EXPECT_THAT(why_missing(facts), HasSubstr("blacklisted by modprobe.blacklist"));
  facts.command_line = "module_blacklist=ip_vs";
  EXPECT_THAT(why_missing(facts), HasSubstr("module_blacklist=ip_vs"));
  facts.command_line = "modprobe.blacklist=ip_vs_rr";
  EXPECT_THAT(why_missing(facts), Not(HasSubstr("blacklist")));
}

TEST(WhyMissing, AKernelThatLoadsNoMoreModulesIsSaidFirst) {
  ModuleFacts facts = with_module();
  facts.loading_disabled = true;
  facts.config = {{"/etc/modprobe.d/a.conf", "blacklist ip_vs\n"}};
  EXPECT_THAT(why_missing(facts), HasSubstr("kernel.modules_disabled is 1"));
}

}  // namespace
}  // namespace lb::ipvs
