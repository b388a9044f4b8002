#pragma once

// Which plan computes a convolution.

#include <samepad/export.h>

#include <optional>
#include <string_view>

#include "../plans/plan.h"

namespace samepad::detail {

struct Choice {
  const Plan* plan;
  const char* reason;
};

/// The fastest of the plans that can run: as measured for these sizes, if that is wanted
/// (`backends::benchmark`), otherwise the first that has an advantage.
Choice choose_plan(const ConvProblem& problem);

/// The plan of this name, or null.
SAMEPAD_API const Plan* find_plan(std::string_view name);

/// While it lives, this thread uses the named plan wherever that can run, and elsewhere the one of
/// PyTorch's that is chosen: for tests and measurements. None: as if there were no guard.
///
/// \throws c10::Error  where no plan has the name
class SAMEPAD_API PlanGuard {
 public:
  explicit PlanGuard(std::optional<std::string_view> name);
  ~PlanGuard();
  PlanGuard(const PlanGuard&) = delete;
  PlanGuard& operator=(const PlanGuard&) = delete;

 private:
  const Plan* previous_;
};

}  // namespace samepad::detail
