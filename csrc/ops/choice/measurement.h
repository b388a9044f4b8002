#pragma once

// The choice of plans by measurement.

#include <c10/util/ArrayRef.h>

#include "../plans/plan.h"

namespace samepad::detail {

/// The fastest of `candidates`, all of which can run. They are measured the first time that a
/// convolution of these sizes is called, and the result is remembered.
const Plan* fastest_plan(const ConvProblem& problem, c10::ArrayRef<const Plan*> candidates);

}  // namespace samepad::detail
