#pragma once

/// \file
/// Depthwise and separable convolutions. Their weights have the order of Keras's, with the channels
/// moved to the front.

#include <c10/util/Exception.h>
#include <samepad/nn/conv.h>

namespace samepad {

/// The options of a `D`-dimensional depthwise convolution of C channels with M = `depth_multiplier`
/// filters per channel. They are those of an ordinary convolution with C M output channels and C
/// groups.
///
///     samepad::SamePadDepthwiseConv2dOptions(32, 3, /*depth_multiplier=*/2).stride(2)
template <size_t D>
struct SamePadDepthwiseConvOptions : SamePadConvOptions<D> {
  SamePadDepthwiseConvOptions(int64_t in_channels, torch::ExpandingArray<D> kernel_size,
                              int64_t depth_multiplier = 1)
      : SamePadConvOptions<D>(in_channels, in_channels * depth_multiplier, kernel_size) {
    TORCH_CHECK(depth_multiplier >= 1, "depth_multiplier must be at least 1, but got ",
                depth_multiplier);
    this->groups(in_channels);
  }
};

using SamePadDepthwiseConv1dOptions = SamePadDepthwiseConvOptions<1>;
using SamePadDepthwiseConv2dOptions = SamePadDepthwiseConvOptions<2>;

/// Depthwise convolution over (N, C, L) or (C, L). The output has C M channels; channel c M + m is
/// computed from input channel c. The weight, (C M, 1, k), is Keras's depthwise_kernel, (k, C, M),
/// with the channels moved to the front.
///
/// Constructing or resetting it throws `c10::Error` where `SamePadConv1d` does, and if the number
/// of groups in the options differs from the number of channels.
class SAMEPAD_API SamePadDepthwiseConv1dImpl
    : public SamePadConvNdImpl<1, SamePadDepthwiseConv1dImpl> {
 public:
  SamePadDepthwiseConv1dImpl(int64_t in_channels, torch::ExpandingArray<1> kernel_size)
      : SamePadDepthwiseConv1dImpl(SamePadDepthwiseConv1dOptions(in_channels, kernel_size)) {}
  explicit SamePadDepthwiseConv1dImpl(SamePadConv1dOptions options)
      : SamePadConvNdImpl(std::move(options)) {}
};

/// Depthwise convolution over (N, C, H, W) or (C, H, W); see `SamePadDepthwiseConv1d`. The weight,
/// (C M, 1, kH, kW), is Keras's depthwise_kernel, (kH, kW, C, M), with the channels moved to the
/// front.
class SAMEPAD_API SamePadDepthwiseConv2dImpl
    : public SamePadConvNdImpl<2, SamePadDepthwiseConv2dImpl> {
 public:
  SamePadDepthwiseConv2dImpl(int64_t in_channels, torch::ExpandingArray<2> kernel_size)
      : SamePadDepthwiseConv2dImpl(SamePadDepthwiseConv2dOptions(in_channels, kernel_size)) {}
  explicit SamePadDepthwiseConv2dImpl(SamePadConv2dOptions options)
      : SamePadConvNdImpl(std::move(options)) {}
};

TORCH_MODULE(SamePadDepthwiseConv1d);
TORCH_MODULE(SamePadDepthwiseConv2d);

/// The base class of the separable convolution modules, not meant to be used itself.
///
/// Its submodules, whose parameters are Keras's with the channels moved to the front, are:
///   depthwise  turns in_channels into in_channels depth_multiplier channels, with everything that
///              `options` asks for but the bias
///   pointwise  turns these into out_channels with a kernel of size 1, and adds the bias
///
/// Constructing or resetting it throws `c10::Error` if `options` has groups, if depth_multiplier is
/// not positive, or if the options of either convolution are invalid.
template <size_t D, typename Derived, typename DepthwiseImpl, typename PointwiseImpl>
class SAMEPAD_API SamePadSeparableConvNdImpl : public torch::nn::Cloneable<Derived> {
 public:
  SamePadSeparableConvNdImpl(int64_t in_channels, int64_t out_channels,
                             torch::ExpandingArray<D> kernel_size)
      : SamePadSeparableConvNdImpl(SamePadConvOptions<D>(in_channels, out_channels, kernel_size)) {}
  explicit SamePadSeparableConvNdImpl(SamePadConvOptions<D> options, int64_t depth_multiplier = 1);

  void reset() override;

  /// Writes only the module's name, because its submodules are printed after it.
  void pretty_print(std::ostream& stream) const override;

  /// Applies both convolutions to (N, C, spatial...) or (C, spatial...).
  at::Tensor forward(const at::Tensor& input);

  SamePadConvOptions<D> options;
  int64_t depth_multiplier;
  torch::nn::ModuleHolder<DepthwiseImpl> depthwise{nullptr};
  torch::nn::ModuleHolder<PointwiseImpl> pointwise{nullptr};
};

/// A depthwise convolution followed by one with a kernel of size 1, over (N, C, L) or (C, L):
///
///     samepad::SamePadSeparableConv1d(samepad::SamePadConv1dOptions(32, 64, 3).stride(2),
///                                     /*depth_multiplier=*/2)
class SAMEPAD_API SamePadSeparableConv1dImpl
    : public SamePadSeparableConvNdImpl<1, SamePadSeparableConv1dImpl, SamePadDepthwiseConv1dImpl,
                                        SamePadConv1dImpl> {
 public:
  using SamePadSeparableConvNdImpl::SamePadSeparableConvNdImpl;
};

/// A depthwise convolution followed by one with a kernel of size 1, over (N, C, H, W) or (C, H, W).
class SAMEPAD_API SamePadSeparableConv2dImpl
    : public SamePadSeparableConvNdImpl<2, SamePadSeparableConv2dImpl, SamePadDepthwiseConv2dImpl,
                                        SamePadConv2dImpl> {
 public:
  using SamePadSeparableConvNdImpl::SamePadSeparableConvNdImpl;
};

TORCH_MODULE(SamePadSeparableConv1d);
TORCH_MODULE(SamePadSeparableConv2d);

}  // namespace samepad
