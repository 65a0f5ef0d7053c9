#include "state/eligibility.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

namespace lb {
namespace {

std::size_t count_of(const std::vector<DesiredBackend>& backends, Eligibility wanted) {
  return static_cast<std::size_t>(
      std::count_if(backends.begin(), backends.end(),
                    [&](const DesiredBackend& b) { return eligibility(b) == wanted; }));
}

void use_only(std::vector<DesiredBackend>& backends, Eligibility wanted) {
  for (DesiredBackend& b : backends)
    b.effective_weight = eligibility(b) == wanted ? b.backend.weight : 0;
}

std::string_view describe(const DesiredBackend& b) {
  switch (b.reason) {
    case Reason::None:
      return to_string(b.state);
    case Reason::Source:
      return "leaving its source";
    case Reason::Operator:
      return "drained by the operator";
    case Reason::Lingering:
      return "past its drain deadline";
    case Reason::Weight:
      return "of weight 0";
    case Reason::ProbeFailed:
      return "down by its probe";
    case Reason::Unreachable:
      return "unreachable";
    case Reason::ConnectFailed:
      return "exited";
    case Reason::NotSeen:
      return "not seen for too long";
    case Reason::NeverSeen:
      return "never seen";
    case Reason::Disabled:
      return "disabled";
    case Reason::NotVerified:
      return "not verified";
    case Reason::SourceUnhealthy:
      return "unhealthy by the checks of the source";
    case Reason::Unsupported:
      return "not usable by the dataplane";
    case Reason::Owner:
      return "whose port its user does not hold";
    case Reason::Ejected:
      return "ejected";
  }
  bug("reason of a backend");
}

// "2 drained by the operator, 1 exited", in the order in which they first come.
std::string census(const std::vector<DesiredBackend>& backends) {
  std::vector<std::pair<std::string_view, std::size_t>> groups;
  for (const DesiredBackend& b : backends) {
    const std::string_view what = describe(b);
    auto group =
        std::find_if(groups.begin(), groups.end(), [&](const auto& g) { return g.first == what; });
    if (group == groups.end())
      groups.emplace_back(what, 1);
    else
      ++group->second;
  }
  std::string out;
  for (const auto& [what, count] : groups)
    out += fmt::format("{}{} {}", out.empty() ? "" : ", ", count, what);
  return out;
}

// What makes those that are used in the end the last resort.
std::string_view why_last(const std::vector<DesiredBackend>& backends) {
  bool unreachable = false;
  bool leaving = false;
  for (const DesiredBackend& b : backends) {
    if (eligibility(b) != Eligibility::LastResort) continue;
    if (b.state == BackendState::Exited)
      return "that failed together, so that this host's own network is the likelier fault,";
    (b.state == BackendState::Down ? unreachable : leaving) = true;
  }
  if (!unreachable) return "leaving the source";
  return leaving ? "leaving the source or unreachable" : "unreachable for the source";
}

std::string plural(std::size_t count, std::string_view one) {
  return fmt::format("{} {}{}", count, one, count == 1 ? "" : "s");
}

}  // namespace

Eligibility eligibility(BackendState state, Reason reason, std::uint32_t weight) {
  if (weight == 0) return Eligibility::Never;
  switch (state) {
    case BackendState::Active:
    case BackendState::Unknown:
      return Eligibility::Normal;
    case BackendState::Draining:
      return reason == Reason::Source ? Eligibility::LastResort : Eligibility::Never;
    case BackendState::Down:
      // The source has lost its sight of an unreachable one, which may well work.
      if (reason == Reason::Unreachable) return Eligibility::LastResort;
      return reason == Reason::ProbeFailed ? Eligibility::FailOpen : Eligibility::Never;
    case BackendState::Exited:
      // With all others, within seconds: this host's own network is the likelier fault.
      return reason == Reason::Unreachable ? Eligibility::LastResort : Eligibility::Never;
    case BackendState::Stale:
    case BackendState::Disabled:
      return Eligibility::Never;
  }
  bug("state of a backend");
}

Eligibility eligibility(const DesiredBackend& b) {
  const Eligibility own = eligibility(b.state, b.reason, b.backend.weight);
  if (!b.departed || own == Eligibility::Never) return own;
  const Eligibility before = eligibility(b.backend.state, b.backend.reason, b.backend.weight);
  return before == Eligibility::Normal || before == Eligibility::LastResort ? own
                                                                            : Eligibility::Never;
}

Assignment assign_weights(std::vector<DesiredBackend>& backends) {
  if (backends.empty())
    return {Condition::NoBackends, "the source lists no backends: connections are refused"};
  use_only(backends, Eligibility::Normal);
  if (count_of(backends, Eligibility::Normal) > 0) return {};
  if (const auto left = count_of(backends, Eligibility::LastResort); left > 0) {
    use_only(backends, Eligibility::LastResort);
    return {
        Condition::LastResort,
        fmt::format("no other backend is left ({}): {} {} still {} connections", census(backends),
                    plural(left, "backend"), why_last(backends), left == 1 ? "takes" : "take")};
  }
  if (const auto down = count_of(backends, Eligibility::FailOpen); down > 0) {
    use_only(backends, Eligibility::FailOpen);
    return {Condition::FailOpen,
            fmt::format("every usable backend is down by its probe ({}): {} in use, since the "
                        "prober is the likelier fault",
                        census(backends), down == 1 ? "it stays" : "they stay")};
  }
  return {Condition::NoBackends,
          fmt::format("no usable backend ({}): connections are refused", census(backends))};
}

}  // namespace lb
