#include "choice.h"

#include <c10/util/Exception.h>
#include <samepad/backends.h>

#include <algorithm>
#include <string>

#include "measurement.h"

namespace samepad::detail {
namespace {

thread_local const Plan* forced_plan = nullptr;

/// The plan to prefer of those that `allowed` accepts, that can run and that have an advantage: the
/// one that is estimated to be the fastest or, if there are no estimates, the first of the table.
/// If none has an advantage, it is the first that can run.
template <class Allowed>
Choice preferred(const ConvProblem& problem, Purpose purpose, const Allowed& allowed) {
  c10::SmallVector<Choice, 4> candidates;
  const Plan* first = nullptr;
  for (const Plan* const plan : plans()) {
    if (allowed(*plan) && plan->can_run(problem)) {
      first = first == nullptr ? plan : first;
      if (const char* const reason = plan->advantage(problem)) {
        candidates.push_back({plan, reason});
      }
    }
  }
  TORCH_INTERNAL_ASSERT(first != nullptr, "the last plan can run whatever the others cannot");
  if (candidates.empty()) {
    return {first, "no better plan computes this"};
  }
  if (candidates.size() == 1 || !has_estimates(problem)) {
    return candidates.front();
  }
  return *std::ranges::min_element(candidates, {}, [&](const Choice& choice) {
    Work work = choice.plan->work(problem);
    if (purpose == Purpose::fused_inference && !choice.plan->own_kernels) {
      ++work.copies;
      work.copied += work.output;
    }
    return estimated_time(problem, purpose, work);
  });
}

bool is_pytorchs(const Plan& plan) { return !plan.own_kernels; }

}  // namespace

Choice choose_plan(const ConvProblem& problem, Purpose purpose) {
  if (problem.as_torch && problem.symmetric && problem.library_fault() == nullptr) {
    return {preferred(problem, purpose, is_pytorchs).plan,
            "amounts that PyTorch takes are PyTorch's to compute"};
  }
  if (forced_plan != nullptr) {
    return forced_plan->can_run(problem) ? Choice{forced_plan, "it is forced"}
                                         : preferred(problem, purpose, is_pytorchs);
  }
  if (problem.plain && backends::benchmark()) {
    c10::SmallVector<const Plan*, 4> candidates;
    std::ranges::copy_if(plans(), std::back_inserter(candidates),
                         [&](const Plan* plan) { return plan->can_run(problem); });
    if (candidates.size() > 1) {
      return {fastest_plan(problem, candidates), "it was the fastest when it was measured"};
    }
  }
  return preferred(problem, purpose, [](const Plan& /*plan*/) { return true; });
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
