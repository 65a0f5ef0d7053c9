// Errors as values: a code to branch on and a sentence to read. Everything that can fail at run
// time returns Result<T>; what makes starting impossible is thrown and caught only in main().
#pragma once

#include <string>
#include <system_error>
#include <utility>

#include <tl/expected.hpp>

namespace lb {

struct Error {
  std::error_code code;
  std::string context;  // "open /etc/lbd/services.d": what was tried, without the reason

  // "open /etc/lbd/services.d: Permission denied", or the context alone when there is no code.
  [[nodiscard]] std::string message() const;
};

template <class T = void>
using Result = tl::expected<T, Error>;

// `err` is an errno value (positive). Use fail("...") when no errno fits: the context says it all.
[[nodiscard]] tl::unexpected<Error> fail(int err, std::string context);
[[nodiscard]] tl::unexpected<Error> fail(std::error_code code, std::string context);
[[nodiscard]] tl::unexpected<Error> fail(std::string context);

// An invariant of ours is broken: log critical and abort, in all builds. The pinned programs keep
// forwarding and the service manager starts us again.
[[noreturn]] void bug(const std::string& what);

}  // namespace lb

#define LB_CONCAT_(a, b) a##b
#define LB_CONCAT(a, b) LB_CONCAT_(a, b)

// LB_TRY(UniqueFd fd, open_cgroup(path)); returns the error from the calling function, or goes on.
#define LB_TRY(decl, expr)                                                  \
  auto LB_CONCAT(lb_try_, __LINE__) = (expr);                               \
  if (!LB_CONCAT(lb_try_, __LINE__))                                        \
    return tl::unexpected(std::move(LB_CONCAT(lb_try_, __LINE__)).error()); \
  decl = *std::move(LB_CONCAT(lb_try_, __LINE__))

// LB_CHECK(write_all(fd, bytes)); for Result<>.
#define LB_CHECK(expr) \
  if (auto lb_check_ = (expr); !lb_check_) return tl::unexpected(std::move(lb_check_).error())

// The same in a coroutine; `expr` may contain co_await.
#define LB_CO_TRY(decl, expr)                                                  \
  auto LB_CONCAT(lb_try_, __LINE__) = (expr);                                  \
  if (!LB_CONCAT(lb_try_, __LINE__))                                           \
    co_return tl::unexpected(std::move(LB_CONCAT(lb_try_, __LINE__)).error()); \
  decl = *std::move(LB_CONCAT(lb_try_, __LINE__))
