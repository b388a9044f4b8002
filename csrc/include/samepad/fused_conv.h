#pragma once

/// \file
/// Convolutions for inference that add a residual and apply an activation function on the way.

#include <ATen/core/Tensor.h>
#include <c10/util/ArrayRef.h>
#include <samepad/export.h>
#include <samepad/padding_argument.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace samepad {

/// What a fused convolution does with its sums.
struct FusedActivation {
  /// An activation function as `torch.nn.functional` defines it: "identity", "relu", "clamp",
  /// "leaky_relu", "hardswish", "hardsigmoid", "silu", "sigmoid", "tanh", "gelu", "gelu_tanh" (its
  /// approximation) or "elu".
  std::string name = "identity";

  /// Its parameters: the lower and upper limit of "clamp" (ReLU6 is {0, 6}), the slope of
  /// "leaky_relu", the alpha of "elu"; otherwise none.
  std::vector<double> parameters = {};

  /// Whether the residual is added to the activation rather than to the sums.
  bool residual_last = false;
};

/// Convolves an input of 1, 2 or 3 spatial dimensions, adds `residual` and applies the activation
/// function: activation(convolution + residual) or, with `residual_last`, activation(convolution) +
/// residual. The other arguments are those of `samepad::conv2d`; padding is filled with zeros.
///
/// The results of samepad's own kernels are finished while they lie in the cache. Other plans run
/// PyTorch's operators one after the other.
///
/// \param residual      a tensor of the output's size, type and device.
/// \param packed        what `packed_weight` has returned for this weight. It is ignored if it was
///                      packed for another instruction set.
/// \throws c10::Error   if an argument does not fit, naming it, and if a gradient is wanted.
SAMEPAD_API at::Tensor fused_conv(
    const at::Tensor& input, const at::Tensor& weight, const std::optional<at::Tensor>& bias = {},
    at::IntArrayRef stride = 1, const Padding& padding = PadMode::same,
    at::IntArrayRef dilation = 1, int64_t groups = 1, const FusedActivation& activation = {},
    const std::optional<at::Tensor>& residual = {}, const std::optional<at::Tensor>& packed = {});

/// Packs a weight (O, C / groups, kernel...) in the order in which the kernels of this CPU read it,
/// for inputs in channels_last or not. The result is only for `fused_conv`. Returns nothing if the
/// kernels read the weight as it is or if there is no kernel for it.
SAMEPAD_API std::optional<at::Tensor> packed_weight(const at::Tensor& weight, int64_t groups,
                                                    bool channels_last);

}  // namespace samepad
