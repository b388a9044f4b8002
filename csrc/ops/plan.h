#pragma once

// What to run for a convolution with given pads. A plan is a way to compute the same result; a new
// kernel becomes one more plan: an entry here, a row in plan.cpp's table, a case in `choose_plan`.

#include <ATen/core/Tensor.h>
#include <samepad/export.h>

#include <array>
#include <optional>

#include "conv_args.h"
#include "padded_conv.h"

namespace samepad::detail {

enum class Plan : uint8_t {
  symmetric,  ///< Every dimension's pads are equal: the convolution's own padding, no copy.
  crop,       ///< A symmetrically padded convolution that computes more, then the part wanted:
              ///< the output is copied, the input is neither copied nor saved padded.
  pad,        ///< A padded copy of the input, then a convolution: every mode, size and fill.
  depthwise,  ///< The project's own kernels for depthwise convolutions: any pads, nothing is
              ///< copied.
  dense,      ///< And for others.
};

/// Plans and their names, in the order of the enumeration.
inline constexpr std::array<const char*, 5> kPlanNames{"symmetric", "crop", "pad", "depthwise",
                                                       "dense"};

/// As `kPlanNames` has it.
const char* name(Plan plan);

/// No pads at all, or equal ones that the convolution's own padding can stand for.
bool is_symmetric(const ConvArgs& args, const PadList& pads);

struct Choice {
  Plan plan;
  const char* reason;
};

/// The fastest exact plan: as measured for these sizes, if that is wanted (`backends::benchmark`),
/// otherwise as far as measurements have shown in general.
Choice choose_plan(const ConvArgs& args, const PadList& pads);

/// Bytes that a plan copies, beside what the convolution reads and writes.
int64_t bytes_copied(Plan plan, const ConvArgs& args, const PadList& pads);

at::Tensor run_plan(Plan plan, const ConvArgs& args, const PadList& pads);

/// The gradients of a batched convolution by known pads of zeros, of which those that are `wanted`.
Gradients plan_gradients(Plan plan, const ConvArgs& args, const PadList& pads,
                         const at::Tensor& gradient, std::array<bool, 3> wanted);

/// While it lives, this thread uses `plan` wherever that plan can compute the result: for tests
/// and measurements.
class SAMEPAD_API PlanGuard {
 public:
  explicit PlanGuard(std::optional<Plan> plan);
  ~PlanGuard();
  PlanGuard(const PlanGuard&) = delete;
  PlanGuard& operator=(const PlanGuard&) = delete;

 private:
  std::optional<Plan> previous_;
};

}  // namespace samepad::detail
