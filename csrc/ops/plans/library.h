#pragma once

// What the plans have in common that PyTorch's convolutions carry out: symmetric, crop and pad.

#include "plan.h"

namespace samepad::detail {

/// These plans take convolutions of every kind.
inline bool takes_everything(const ConvProblem& /*problem*/) { return true; }

/// A convolution of PyTorch's that computes a problem, of a padded copy of its input.
struct LibraryCall {
  PadList copied;                 ///< what is padded in the copy; negative amounts crop
  Dims inside;                    ///< what the convolution adds itself, on both sides alike
  Dims stride;                    ///< the convolution's
  bool contiguous = false;        ///< whether all tensors have to be contiguous
  bool single_precision = false;  ///< whether they have to be of float32
};

/// The call for a problem that PyTorch would compute wrongly because of `fault`, or null: where
/// there is a fault, one that PyTorch computes rightly.
LibraryCall library_call(const ConvProblem& problem, const char* fault);

/// The call's output, for a copy of the input with `copied` around it.
at::Tensor run_library(const ConvProblem& problem, const LibraryCall& call,
                       const at::Tensor& padded);

/// PyTorch's convolution of the input as it is, with `padding` zeros on both sides of each
/// dimension.
at::Tensor library_convolution(const ConvProblem& problem, const SymDims& padding);

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
