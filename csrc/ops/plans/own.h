#pragma once

// What the plans have in common that the project's own kernels carry out: depthwise and dense. The
// kernels compute convolutions of one or two dimensions, of plain CPU tensors, padded with zeros.

#include "../../kernels/conv_kernels.h"
#include "plan.h"

namespace samepad::detail {

/// Plan::takes, can_run, run and gradients of these plans, for the convolutions that are theirs.
bool own_takes(const ConvProblem& problem);
bool own_can_run(const ConvProblem& problem);
at::Tensor own_run(const ConvProblem& problem);
Gradients own_gradients(const ConvProblem& problem, const at::Tensor& gradient,
                        GradientMask wanted);

/// Whether the kernels compute this transposed convolution: it is the input's gradient of a
/// convolution of an input of `output_size`, with `before` elements of padding ahead of it.
bool own_can_run_transposed(const ConvArgs& args, const Dims& output_size, const Dims& before);
at::Tensor own_run_transposed(const ConvArgs& args, const Dims& output_size, const Dims& before);

}  // namespace samepad::detail
