#pragma once

/// \file
/// Modules that stand in for `torch::nn::ConvTranspose1d/2d/3d`: the same options, parameters and
/// parameter names, with `padding` defaulting to SAME at every stride.

#include <samepad/nn/conv.h>
#include <torch/nn/modules/common.h>
#include <torch/nn/modules/container/any_value.h>

#include <optional>

namespace samepad {

/// Options of a `D`-dimensional SAME transposed convolution, those of
/// `torch::nn::ConvTransposeOptions<D>`, but for the padding mode, of which that knows one:
///
///     samepad::SamePadConvTranspose2dOptions(32, 3, 3).stride(2).bias(false)
///
/// Changing options after construction has the effects it has on `torch::nn::ConvTransposeOptions`.
template <size_t D>
struct SamePadConvTransposeOptions {
  SamePadConvTransposeOptions(int64_t in_channels, int64_t out_channels,
                              torch::ExpandingArray<D> kernel_size)
      : in_channels_(in_channels), out_channels_(out_channels), kernel_size_(kernel_size) {}

  /// Channels of the input.
  TORCH_ARG(int64_t, in_channels);

  /// Channels of the output.
  TORCH_ARG(int64_t, out_channels);

  /// Kernel size: one number, or `D`.
  TORCH_ARG(torch::ExpandingArray<D>, kernel_size);

  /// Stride: one number, or `D`.
  TORCH_ARG(torch::ExpandingArray<D>, stride) = 1;

  /// What to crop from the full result: a mode, amounts or (before, after) pairs; see `Padding`.
  TORCH_ARG(Padding, padding) = PadMode::same;

 public:
  /// One amount per dimension, written in place: `.padding({1, 2})`.
  auto padding(std::initializer_list<int64_t> amounts) { return padding(Padding(amounts)); }

  /// One (before, after) pair per dimension, written in place: `.padding({{0, 1}, {2, 3}})`.
  auto padding(std::initializer_list<Padding::Pair> pairs) { return padding(Padding(pairs)); }

  /// Elements to add after: one number, or `D`; 0 with SAME, where `forward` takes the output's
  /// size.
  TORCH_ARG(torch::ExpandingArray<D>, output_padding) = 0;

  /// Number of groups; divides both channel counts.
  TORCH_ARG(int64_t, groups) = 1;

  /// Whether to add a learnable bias.
  TORCH_ARG(bool, bias) = true;

  /// Spacing between the elements of the kernel: one number, or `D`.
  TORCH_ARG(torch::ExpandingArray<D>, dilation) = 1;
};

using SamePadConvTranspose1dOptions = SamePadConvTransposeOptions<1>;
using SamePadConvTranspose2dOptions = SamePadConvTransposeOptions<2>;
using SamePadConvTranspose3dOptions = SamePadConvTransposeOptions<3>;

/// What the three transposed convolution modules share; use them, not this.
///
/// Parameters, named and initialised as those of `torch::nn::ConvTranspose*d`:
///   weight  (in_channels, out_channels / groups, kernel_size...)
///   bias    (out_channels), undefined without bias
///
/// Constructing or resetting throws `c10::Error` where channels, groups or kernel are not positive,
/// the groups divide a channel count with a remainder, the padding fits no `D`-dimensional
/// transposed convolution, or SAME comes with an output_padding; what
/// `samepad::conv_transpose*d` checks is checked by `forward`.
template <size_t D, typename Derived>
class SAMEPAD_API SamePadConvTransposeNdImpl : public torch::nn::Cloneable<Derived> {
 public:
  SamePadConvTransposeNdImpl(int64_t in_channels, int64_t out_channels,
                             torch::ExpandingArray<D> kernel_size)
      : SamePadConvTransposeNdImpl(
            SamePadConvTransposeOptions<D>(in_channels, out_channels, kernel_size)) {}
  explicit SamePadConvTransposeNdImpl(SamePadConvTransposeOptions<D> options);

  void reset() override;

  /// Draws weight and bias anew, from the distributions that `torch::nn::ConvTranspose*d` draws
  /// from.
  void reset_parameters();

  /// Writes, for instance, `samepad::SamePadConvTranspose2d(8, 3, kernel_size=[3, 3],
  /// stride=[2, 2], padding=same)`.
  void pretty_print(std::ostream& stream) const override;

  /// Convolves (N, C, spatial...) or (C, spatial...); see `samepad::conv_transpose2d`. The output's
  /// size may be given with all of its dimensions or with the spatial ones alone.
  at::Tensor forward(const at::Tensor& input,
                     const std::optional<at::IntArrayRef>& output_size = std::nullopt);

  SamePadConvTransposeOptions<D> options;
  at::Tensor weight;
  at::Tensor bias;

 protected:
  FORWARD_HAS_DEFAULT_ARGS({1, torch::nn::AnyValue(std::optional<at::IntArrayRef>())})
};

/// SAME transposed convolution over (N, C, L) or (C, L); stands in for
/// `torch::nn::ConvTranspose1d`.
class SAMEPAD_API SamePadConvTranspose1dImpl
    : public SamePadConvTransposeNdImpl<1, SamePadConvTranspose1dImpl> {
 public:
  using SamePadConvTransposeNdImpl::SamePadConvTransposeNdImpl;
};

/// SAME transposed convolution over (N, C, H, W) or (C, H, W); stands in for
/// `torch::nn::ConvTranspose2d`.
class SAMEPAD_API SamePadConvTranspose2dImpl
    : public SamePadConvTransposeNdImpl<2, SamePadConvTranspose2dImpl> {
 public:
  using SamePadConvTransposeNdImpl::SamePadConvTransposeNdImpl;
};

/// SAME transposed convolution over (N, C, D, H, W) or (C, D, H, W); stands in for
/// `torch::nn::ConvTranspose3d`.
class SAMEPAD_API SamePadConvTranspose3dImpl
    : public SamePadConvTransposeNdImpl<3, SamePadConvTranspose3dImpl> {
 public:
  using SamePadConvTransposeNdImpl::SamePadConvTransposeNdImpl;
};

TORCH_MODULE(SamePadConvTranspose1d);
TORCH_MODULE(SamePadConvTranspose2d);
TORCH_MODULE(SamePadConvTranspose3d);

}  // namespace samepad
