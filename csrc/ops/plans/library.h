#pragma once

// What the plans have in common that PyTorch's convolutions carry out: symmetric, crop and pad.

#include "plan.h"

namespace samepad::detail {

/// These plans take convolutions of every kind.
inline bool takes_everything(const ConvProblem& /*problem*/) { return true; }

/// Values as PyTorch's operators for symbolic sizes take them.
inline SymDims as_symbols(const Dims& values) { return {values.begin(), values.end()}; }

/// PyTorch's convolution of `input`, with `padding` zeros on both sides of each dimension.
at::Tensor library_convolution(const ConvProblem& problem, const at::Tensor& input,
                               const SymDims& padding);

/// What PyTorch's convolution adds of the pads itself, on both sides alike, and the rest, which a
/// copy of the input has to bring.
struct SplitPads {
  Dims inside;
  PadList copied;
};
SplitPads split_pads(const ConvProblem& problem);

/// The output of a convolution padded with a known number of zeros, by way of a padded copy.
/// Autograd sees nothing.
at::Tensor padded_output(const ConvProblem& problem);

/// The gradients, by way of a padded copy. Differentiable.
Gradients padded_gradients(const ConvProblem& problem, const at::Tensor& gradient,
                           GradientMask wanted);

/// Bytes of a tensor of this type with `channels` channels for each image of the input's batch and
/// these spatial sizes; the largest int64_t where there are more.
int64_t count_bytes(const ConvProblem& problem, int64_t channels, const Dims& size);

}  // namespace samepad::detail
