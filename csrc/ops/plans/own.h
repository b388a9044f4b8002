#pragma once

// What the plans depthwise and dense share: this project's own kernels carry them out. The kernels
// compute convolutions of plain CPU tensors, padded with zeros.

#include "../../kernels/conv_kernels.h"
#include "plan.h"

namespace samepad::detail {

/// Implement Plan::takes, can_run, run and gradients of these plans, for the convolutions that each
/// of them supports.
bool own_takes(const ConvProblem& problem);
bool own_can_run(const ConvProblem& problem);
at::Tensor own_run(const ConvProblem& problem);
Gradients own_gradients(const ConvProblem& problem, const at::Tensor& gradient,
                        GradientMask wanted);

/// Computes a fused convolution that `own_can_run`, without a gradient.
at::Tensor own_run_fused(const ConvProblem& problem, const kernels::Fusion& fusion);

/// The weight of a fused convolution, packed as the kernels for inputs in this layout read it;
/// nothing if they read it as it is, or if there is no such kernel.
std::optional<at::Tensor> own_packed_weight(const at::Tensor& weight, int64_t groups,
                                            bool channels_last);

/// Whether the kernels support this transposed convolution. It is computed as the input's gradient
/// of a convolution whose input has size `output_size` and `before` elements of padding before it.
bool own_can_run_transposed(const ConvArgs& args, const Dims& output_size, const Dims& before);
at::Tensor own_run_transposed(const ConvArgs& args, const Dims& output_size, const Dims& before);

}  // namespace samepad::detail
