#pragma once

// Convolutions in graphs made by torch.compile. There a convolution is one opaque operator, which
// chooses its plan each time that the graph runs, for the sizes that it then has. Exported programs
// consist of ATen's operators instead, so that they run where samepad is not installed.

#include "problem/conv_problem.h"

namespace samepad::detail {

/// Whether to defer the choice of a plan for a traced convolution to run time: one of the plans
/// with this project's own kernels may then compute it, and no transform has to see through it. The
/// caller has checked that no tensor is of a subclass.
bool can_defer(const ConvProblem& problem);

at::Tensor run_deferred(const ConvProblem& problem);

}  // namespace samepad::detail
