#pragma once

/// \file
/// Replacements for `torch::nn::Conv1d/2d/3d` with the same options, parameters and parameter
/// names. Their `padding` defaults to SAME, which is allowed for every stride.

#include <ATen/core/Tensor.h>
#include <samepad/export.h>
#include <samepad/padding_argument.h>
#include <torch/arg.h>
#include <torch/enum.h>
#include <torch/expanding_array.h>
#include <torch/nn/cloneable.h>
#include <torch/nn/options/conv.h>
#include <torch/nn/pimpl.h>

#include <cstdint>
#include <initializer_list>
#include <iosfwd>

namespace samepad {

/// The options of a `D`-dimensional SAME convolution, which are those of
/// `torch::nn::ConvOptions<D>`:
///
///     samepad::SamePadConv2dOptions(3, 32, 3).stride(2).bias(false)
///
/// Changing options after construction has the same effects as for `torch::nn::ConvOptions<D>`.
template <size_t D>
struct SamePadConvOptions {
  using padding_mode_t = torch::nn::detail::conv_padding_mode_t;

  SamePadConvOptions(int64_t in_channels, int64_t out_channels,
                     torch::ExpandingArray<D> kernel_size)
      : in_channels_(in_channels), out_channels_(out_channels), kernel_size_(kernel_size) {}

  /// The number of channels of the input.
  TORCH_ARG(int64_t, in_channels);

  /// The number of channels of the output.
  TORCH_ARG(int64_t, out_channels);

  /// The kernel size: one number, or `D` of them.
  TORCH_ARG(torch::ExpandingArray<D>, kernel_size);

  /// The stride: one number, or `D` of them.
  TORCH_ARG(torch::ExpandingArray<D>, stride) = 1;

  /// The padding: a mode, a mode per dimension, amounts or (before, after) pairs; see `Padding`.
  TORCH_ARG(Padding, padding) = PadMode::same;

 public:
  /// Accepts one mode per dimension as a braced list: `.padding({"causal", "same"})`.
  auto padding(std::initializer_list<NamedMode> modes) { return padding(Padding(modes)); }

  /// Accepts one amount per dimension as a braced list: `.padding({1, 2})`.
  auto padding(std::initializer_list<int64_t> amounts) { return padding(Padding(amounts)); }

  /// Accepts one (before, after) pair per dimension as a braced list: `.padding({{0, 1}, {2, 3}})`.
  auto padding(std::initializer_list<Padding::Pair> pairs) { return padding(Padding(pairs)); }

  /// The spacing between the elements of the kernel: one number, or `D` of them.
  TORCH_ARG(torch::ExpandingArray<D>, dilation) = 1;

  /// The number of groups, which divides both channel counts.
  TORCH_ARG(int64_t, groups) = 1;

  /// Whether to add a learnable bias.
  TORCH_ARG(bool, bias) = true;

  /// How the padding is filled: `torch::kZeros`, `kReflect`, `kReplicate` or `kCircular`.
  TORCH_ARG(padding_mode_t, padding_mode) = torch::kZeros;
};

using SamePadConv1dOptions = SamePadConvOptions<1>;
using SamePadConv2dOptions = SamePadConvOptions<2>;
using SamePadConv3dOptions = SamePadConvOptions<3>;

/// The base class of the three convolution modules, not meant to be used itself.
///
/// Its parameters are named and initialised as those of `torch::nn::Conv*d`:
///   weight  (out_channels, in_channels / groups, kernel_size...)
///   bias    (out_channels), undefined without bias
///
/// Constructing or resetting it throws `c10::Error` if the channels, the groups or the kernel size
/// are not positive, if a channel count is not divisible by the groups, or if the padding is not
/// for a `D`-dimensional convolution. Everything that `samepad::conv*d` checks is checked by
/// `forward`.
template <size_t D, typename Derived>
class SAMEPAD_API SamePadConvNdImpl : public torch::nn::Cloneable<Derived> {
 public:
  SamePadConvNdImpl(int64_t in_channels, int64_t out_channels, torch::ExpandingArray<D> kernel_size)
      : SamePadConvNdImpl(SamePadConvOptions<D>(in_channels, out_channels, kernel_size)) {}
  explicit SamePadConvNdImpl(SamePadConvOptions<D> options);

  void reset() override;

  /// Initialises weight and bias again, from the distributions that `torch::nn::Conv*d` uses.
  void reset_parameters();

  /// Writes, for instance, `samepad::SamePadConv2d(3, 8, kernel_size=[3, 3], stride=[2, 2],
  /// padding=same)`.
  void pretty_print(std::ostream& stream) const override;

  /// Convolves (N, C, spatial...) or (C, spatial...); see `samepad::conv2d`.
  at::Tensor forward(const at::Tensor& input);

  SamePadConvOptions<D> options;
  at::Tensor weight;
  at::Tensor bias;
};

/// SAME convolution over (N, C, L) or (C, L), a replacement for `torch::nn::Conv1d`.
class SAMEPAD_API SamePadConv1dImpl : public SamePadConvNdImpl<1, SamePadConv1dImpl> {
 public:
  using SamePadConvNdImpl::SamePadConvNdImpl;
};

/// SAME convolution over (N, C, H, W) or (C, H, W), a replacement for `torch::nn::Conv2d`.
class SAMEPAD_API SamePadConv2dImpl : public SamePadConvNdImpl<2, SamePadConv2dImpl> {
 public:
  using SamePadConvNdImpl::SamePadConvNdImpl;
};

/// SAME convolution over (N, C, D, H, W) or (C, D, H, W), a replacement for `torch::nn::Conv3d`.
class SAMEPAD_API SamePadConv3dImpl : public SamePadConvNdImpl<3, SamePadConv3dImpl> {
 public:
  using SamePadConvNdImpl::SamePadConvNdImpl;
};

TORCH_MODULE(SamePadConv1d);
TORCH_MODULE(SamePadConv2d);
TORCH_MODULE(SamePadConv3d);

}  // namespace samepad
