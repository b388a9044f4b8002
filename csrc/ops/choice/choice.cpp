#include "choice.h"

#include <c10/util/Exception.h>
#include <samepad/backends.h>

#include <algorithm>
#include <string>

#include "measurement.h"

namespace samepad::detail {
namespace {

thread_local const Plan* forced_plan = nullptr;

/// The first plan that `allowed` accepts, that can run and that has an advantage.
template <class Allowed>
Choice first_with_advantage(const ConvProblem& problem, const Allowed& allowed) {
  for (const Plan* const plan : plans()) {
    if (allowed(*plan) && plan->can_run(problem)) {
      if (const char* const reason = plan->advantage(problem)) {
        return {plan, reason};
      }
    }
  }
  TORCH_INTERNAL_ASSERT(false, "the last plan can run whatever the others cannot");
}

bool is_pytorchs(const Plan& plan) { return !plan.own_kernels; }

}  // namespace

Choice choose_plan(const ConvProblem& problem) {
  if (problem.as_torch && problem.symmetric && problem.library_fault() == nullptr) {
    const Choice choice = first_with_advantage(problem, is_pytorchs);
    return {choice.plan, "amounts that PyTorch takes are PyTorch's to compute"};
  }
  if (forced_plan != nullptr) {
    return forced_plan->can_run(problem) ? Choice{forced_plan, "it is forced"}
                                         : first_with_advantage(problem, is_pytorchs);
  }
  if (problem.plain && backends::benchmark()) {
    c10::SmallVector<const Plan*, 4> candidates;
    std::ranges::copy_if(plans(), std::back_inserter(candidates),
                         [&](const Plan* plan) { return plan->can_run(problem); });
    if (candidates.size() > 1) {
      return {fastest_plan(problem, candidates), "it was the fastest when it was measured"};
    }
  }
  return first_with_advantage(problem, [](const Plan& /*plan*/) { return true; });
}

const Plan* find_plan(std::string_view name) {
  const auto all = plans();
  const auto found = std::ranges::find(all, name, [](const Plan* plan) { return plan->name; });
  return found == all.end() ? nullptr : *found;
}

PlanGuard::PlanGuard(std::optional<std::string_view> name) : previous_(forced_plan) {
  const Plan* const plan = name ? find_plan(*name) : nullptr;
  TORCH_CHECK(!name || plan != nullptr, "expected a plan's name, but got '", *name, "'");
  forced_plan = plan;
}

PlanGuard::~PlanGuard() { forced_plan = previous_; }

}  // namespace samepad::detail
