#pragma once

#include <ATen/core/Tensor.h>

#include "../problem/conv_problem.h"

namespace samepad::detail {

/// What PyTorch's convolutions take for each dimension.
struct LibrarySettings {
  SymDims stride;
  SymDims padding;
  SymDims dilation;
  SymDims output_padding;  ///< zeros, except for transposed convolutions
};

/// Runs PyTorch's convolution, or transposed convolution, of plain batched tensors of a floating
/// type. PyTorch computes gradients of its gradients by convolutions of other sizes, of which some
/// are wrong in half precision on CPUs. There, gradients that will have gradients themselves are
/// computed in float32.
at::Tensor plain_convolution(const ConvTensors& tensors, const LibrarySettings& settings,
                             bool transposed, const c10::SymInt& groups);

}  // namespace samepad::detail
