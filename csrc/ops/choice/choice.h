#pragma once

// The choice of the plan that computes a convolution.

#include <samepad/export.h>

#include <optional>
#include <string_view>
#include <vector>

#include "../plans/library_faults.h"
#include "../plans/plan.h"

namespace samepad::detail {

struct Choice {
  const Plan* plan;
  const char* reason;
};

/// Chooses among the plans that can run: the fastest as measured for these sizes if measuring is
/// enabled (`backends::benchmark`). Otherwise, of those that have an advantage, it is the one that
/// the cost model estimates to be the fastest on a CPU, and the first of the table on other
/// devices. If none has an advantage, it is the first that can run.
Choice choose_plan(const ConvProblem& problem, Purpose purpose);
inline Choice choose_plan(const ConvProblem& problem) {
  return choose_plan(problem, purpose_of(problem));
}

/// What the cost model says about one plan.
struct PlanWork {
  const char* plan = nullptr;
  Work work;
  double nanoseconds = 0;  ///< the estimated time
};

/// What the cost model says about every plan that it would choose from for a convolution with SAME
/// padding. For fitting the model.
SAMEPAD_API std::vector<PlanWork> works_of_same_conv(const at::Tensor& input,
                                                     const at::Tensor& weight,
                                                     at::IntArrayRef stride,
                                                     at::IntArrayRef dilation, int64_t groups);

/// The plan of this name, or null.
SAMEPAD_API const Plan* find_plan(std::string_view name);

/// During its lifetime, this thread uses the named plan wherever that plan can run; elsewhere it
/// chooses among PyTorch's plans. For tests and measurements. Without a name it restores the normal
/// choice.
///
/// \throws c10::Error  if no plan has the name
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
