#pragma once

// The plans `depthwise` and `dense`: the project's own kernels, with autograd around them. They
// compute convolutions of one or two dimensions, of plain CPU tensors, with zeros around.

#include "conv_args.h"
#include "padded_conv.h"

namespace samepad::detail {

/// Whether the kernels for depthwise convolutions can compute this.
bool can_run_depthwise(const ConvArgs& args, const PadList& pads);

at::Tensor run_depthwise(const ConvArgs& args, const PadList& pads);

/// Whether the kernels for other convolutions can compute this.
bool can_run_dense(const ConvArgs& args, const PadList& pads);

at::Tensor run_dense(const ConvArgs& args, const PadList& pads);

/// The gradients of a batched convolution that either can compute, of which those that are
/// `wanted`.
Gradients own_gradients(const ConvArgs& args, const PadList& pads, const at::Tensor& gradient,
                        std::array<bool, 3> wanted);

/// Whether the kernels can compute this transposed convolution: the input's gradient of a
/// convolution of `output_size` elements with `before` padding ahead.
bool can_run_transposed(const ConvArgs& args, const Dims& output_size, const Dims& before);

at::Tensor run_transposed(const ConvArgs& args, const Dims& output_size, const Dims& before);

}  // namespace samepad::detail
