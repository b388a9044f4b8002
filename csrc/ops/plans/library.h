#pragma once

// What the plans symmetric, crop and pad share: PyTorch's convolutions carry them out.

#include <algorithm>

#include "plan.h"

namespace samepad::detail {

/// These plans support all types, devices and numbers of dimensions.
inline bool takes_everything(const ConvProblem& /*problem*/) { return true; }

/// Whether oneDNN may compute the convolution by its reference implementation, which takes up to
/// ten times as long as samepad's kernels. It does so for some dilated depthwise convolutions whose
/// padding it adds itself.
inline bool is_dilated_depthwise(const ConvProblem& problem) {
  return problem.depthwise &&
         std::ranges::any_of(problem.dilation, [](int64_t dilation) { return dilation > 1; });
}

/// How one of PyTorch's convolutions, applied to a padded copy of the input, computes a problem.
struct LibraryCall {
  PadList copied;           ///< the padding of the copy; negative amounts crop
  Dims inside;              ///< the padding that the convolution adds itself, equal on both sides
  Dims stride;              ///< the stride of the convolution
  bool contiguous = false;  ///< whether all tensors have to be contiguous
  std::optional<at::ScalarType> type{};  ///< the type to compute in, if not the tensors' own
};

/// The call that computes a problem. `fault` says why PyTorch would compute the problem wrongly, or
/// is null; with a fault, the call is changed to one that PyTorch computes correctly.
LibraryCall library_call(const ConvProblem& problem, const char* fault);

/// Runs the call. `padded` is the input with the padding `call.copied`.
at::Tensor run_library(const ConvProblem& problem, const LibraryCall& call,
                       const at::Tensor& padded);

/// Runs PyTorch's convolution on the input without a copy. The padding must be equal on both sides
/// of each dimension.
at::Tensor library_convolution(const ConvProblem& problem);

/// Computes the output of a convolution that is padded with a known number of zeros, from a padded
/// copy. Not differentiable.
at::Tensor padded_output(const ConvProblem& problem);

/// Computes the gradients from a padded copy. Differentiable.
Gradients padded_gradients(const ConvProblem& problem, const at::Tensor& gradient,
                           GradientMask wanted);

/// The number of bytes of a tensor with the input's type and batch size, `channels` channels and
/// these spatial sizes; at most the largest int64_t.
int64_t count_bytes(const ConvProblem& problem, int64_t channels, const Dims& size);

}  // namespace samepad::detail
