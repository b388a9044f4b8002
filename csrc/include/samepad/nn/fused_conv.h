#pragma once

/// \file
/// Frozen convolutions for inference with a residual and an activation function.

#include <samepad/fused_conv.h>
#include <samepad/nn/conv.h>
#include <torch/nn/modules/common.h>

#include <cstdint>
#include <iosfwd>
#include <optional>

namespace samepad {

/// The options of a fused convolution: those of `SamePadConvOptions<D>`, and the activation.
///
///     samepad::FusedConv2dOptions(3, 32, 3).stride(2).activation({"clamp", {0, 6}})
template <size_t D>
struct FusedConvOptions : SamePadConvOptions<D> {
  FusedConvOptions(int64_t in_channels, int64_t out_channels, torch::ExpandingArray<D> kernel_size)
      : SamePadConvOptions<D>(in_channels, out_channels, kernel_size) {}
  explicit FusedConvOptions(SamePadConvOptions<D> options)
      : SamePadConvOptions<D>(std::move(options)) {}

  /// What follows the convolution.
  TORCH_ARG(FusedActivation, activation) = {};
};

using FusedConv1dOptions = FusedConvOptions<1>;
using FusedConv2dOptions = FusedConvOptions<2>;
using FusedConv3dOptions = FusedConvOptions<3>;

/// The base class of the three fused modules, not meant to be used itself.
///
/// `weight` and `bias` are named and sized as those of `SamePadConv*d`, whose saved state can be
/// loaded, and need no gradient. Constructing or resetting it throws `c10::Error` where
/// `SamePadConv*d` does, and if the padding is not filled with zeros. `forward` throws where
/// `samepad::fused_conv` does, and in training mode.
template <size_t D, typename Derived>
class SAMEPAD_API FusedConvNdImpl : public torch::nn::Cloneable<Derived> {
 public:
  FusedConvNdImpl(int64_t in_channels, int64_t out_channels, torch::ExpandingArray<D> kernel_size)
      : FusedConvNdImpl(FusedConvOptions<D>(in_channels, out_channels, kernel_size)) {}
  explicit FusedConvNdImpl(FusedConvOptions<D> options);

  void reset() override;

  /// Writes, for instance, `samepad::FusedConv2d(3, 8, kernel_size=[3, 3], stride=[1, 1],
  /// padding=same, activation=relu)`.
  void pretty_print(std::ostream& stream) const override;

  /// Computes activation(convolution + residual); see `samepad::fused_conv`. An undefined residual
  /// stands for none.
  at::Tensor forward(const at::Tensor& input, const at::Tensor& residual = {});

  /// Packs the weight for this CPU, which speeds up inputs in channels_last. The packed weight is
  /// used until the weight changes: by loading, moving or cloning the module, or in place.
  void pack();

  FusedConvOptions<D> options;
  at::Tensor weight;
  at::Tensor bias;

 private:
  /// The packed weight, if the weight is still the one that was packed.
  std::optional<at::Tensor> packed() const;

  std::optional<at::Tensor> packed_;
  at::Tensor packed_from_;  ///< shares the memory of the weight that was packed
  int64_t version_ = 0;     ///< the version of that weight

 protected:
  FORWARD_HAS_DEFAULT_ARGS({1, torch::nn::AnyValue(at::Tensor())})
};

/// Fused convolution over (N, C, L) or (C, L).
class SAMEPAD_API FusedConv1dImpl : public FusedConvNdImpl<1, FusedConv1dImpl> {
 public:
  using FusedConvNdImpl::FusedConvNdImpl;
};

/// Fused convolution over (N, C, H, W) or (C, H, W).
class SAMEPAD_API FusedConv2dImpl : public FusedConvNdImpl<2, FusedConv2dImpl> {
 public:
  using FusedConvNdImpl::FusedConvNdImpl;
};

/// Fused convolution over (N, C, D, H, W) or (C, D, H, W).
class SAMEPAD_API FusedConv3dImpl : public FusedConvNdImpl<3, FusedConv3dImpl> {
 public:
  using FusedConvNdImpl::FusedConvNdImpl;
};

TORCH_MODULE(FusedConv1d);
TORCH_MODULE(FusedConv2d);
TORCH_MODULE(FusedConv3d);

}  // namespace samepad
