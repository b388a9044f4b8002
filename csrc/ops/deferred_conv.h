#pragma once

// Convolutions in the graphs that torch.compile makes: one operator that chooses its plan when the
// graph runs, for the sizes that it then has, rather than the plan that a graph can see through.
// Exported programs keep to ATen's operators instead, to run where samepad is not.

#include "conv_args.h"

namespace samepad::detail {

/// Whether a convolution that is being traced is better left to run time: whether kernels of the
/// project's own may then compute it, and no transform is to see through it. Whoever asks has seen
/// that the tensors are of no subclass.
bool can_defer(const ConvArgs& args, const PadList& pads);

/// With a `mode` the pads, which follow from it, are left to run time too: a graph does not compute
/// amounts that it has no use for.
at::Tensor run_deferred(const ConvArgs& args, const PadList& pads, std::optional<PadMode> mode);

}  // namespace samepad::detail
