#pragma once

// A convolution of a padded copy that is not kept: backward pads again what it needs, so that
// autograd holds the input itself, as it does for nn.Conv2d.

#include <ATen/core/Tensor.h>

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
};

/// Of input, weight and bias; those that were not wanted are undefined.
using Gradients = std::array<at::Tensor, 3>;

/// The output for a batched `input` of a real floating point type.
at::Tensor run_padded_conv(const PaddedConv& conv, const at::Tensor& input,
                           const at::Tensor& weight, const std::optional<at::Tensor>& bias);

/// The gradients of input, weight and bias, of which those that are `wanted`. Differentiable.
Gradients padded_conv_gradients(const PaddedConv& conv, const at::Tensor& gradient,
                                const at::Tensor& input, const at::Tensor& weight,
                                std::array<bool, 3> wanted);

}  // namespace samepad::detail
