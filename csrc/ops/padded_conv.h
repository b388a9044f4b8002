#pragma once

// A convolution of a padded copy that is not kept: backward pads again what it needs, so that
// autograd holds the input itself, as it does for nn.Conv2d.

#include <ATen/core/Tensor.h>
#include <c10/core/SymIntArrayRef.h>

#include <array>
#include <optional>
#include <vector>

namespace samepad::detail {

/// What a convolution is given beside its tensors.
struct PaddedConv {
  std::vector<int64_t> pads;     ///< Zeros to add: before and after of each dimension in turn.
  std::vector<int64_t> padding;  ///< What the convolution adds itself, on both sides alike.
  std::vector<int64_t> stride;
  std::vector<int64_t> dilation;
  int64_t groups;
  bool contiguous = false;        ///< Whether the copy and the weight are to be contiguous.
  bool single_precision = false;  ///< Whether half precision is to be computed in float32.
};

/// PyTorch's convolution; of an unbatched or complex input too, and seen by transforms and modes.
at::Tensor call_library(const at::Tensor& input, const at::Tensor& weight,
                        const std::optional<at::Tensor>& bias, c10::SymIntArrayRef stride,
                        c10::SymIntArrayRef padding, c10::SymIntArrayRef dilation,
                        const c10::SymInt& groups);

/// Of input, weight and bias; those that were not wanted are undefined.
using Gradients = std::array<at::Tensor, 3>;

/// The output for a batched `input`; computed in another way where PyTorch's would be wrong.
at::Tensor run_padded_conv(const PaddedConv& conv, const at::Tensor& input,
                           const at::Tensor& weight, const std::optional<at::Tensor>& bias);

/// The gradients of input, weight and bias, of which those that are `wanted`. Differentiable.
Gradients padded_conv_gradients(const PaddedConv& conv, const at::Tensor& gradient,
                                const at::Tensor& input, const at::Tensor& weight,
                                std::array<bool, 3> wanted);

}  // namespace samepad::detail
