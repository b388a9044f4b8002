#pragma once

// The plan `depthwise`: the project's own kernels, with autograd around them.

#include "conv_args.h"

namespace samepad::detail {

/// Whether the kernels can compute this: a depthwise convolution of one or two dimensions, of plain
/// CPU tensors, with zeros around.
bool can_run_depthwise(const ConvArgs& args, const PadList& pads);

at::Tensor run_depthwise(const ConvArgs& args, const PadList& pads);

}  // namespace samepad::detail
