#pragma once

// The choice of plans by measurement.

#include "plan.h"

namespace samepad::detail {

/// The fastest of `plans`, which all compute this: measured at the first time for these sizes,
/// remembered afterwards.
Plan fastest_plan(const ConvArgs& args, const PadList& pads, c10::ArrayRef<Plan> plans);

}  // namespace samepad::detail
