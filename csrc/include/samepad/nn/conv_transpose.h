#pragma once

/// \file
/// Replacements for `torch::nn::ConvTranspose1d/2d/3d` with the same options, parameters and
/// parameter names. Their `padding` defaults to SAME, which is allowed for every stride.

#include <samepad/nn/conv.h>
#include <torch/nn/modules/common.h>
#include <torch/nn/modules/container/any_value.h>

#include <optional>

namespace samepad {

/// The options of a `D`-dimensional SAME transposed convolution. They are those of
/// `torch::nn::ConvTransposeOptions<D>` without the padding mode, which can only be zeros there:
///
///     samepad::SamePadConvTranspose2dOptions(32, 3, 3).stride(2).bias(false)
///
/// Changing options after construction has the same effects as for
/// `torch::nn::ConvTransposeOptions`.
template <size_t D>
struct SamePadConvTransposeOptions {
  SamePadConvTransposeOptions(int64_t in_channels, int64_t out_channels,
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

  /// What to crop from the full result: a mode, a mode per dimension, amounts or (before, after)
  /// pairs; see `Padding`.
  TORCH_ARG(Padding, padding) = PadMode::same;

 public:
  /// Accepts one mode per dimension as a braced list: `.padding({"same", "valid"})`.
  auto padding(std::initializer_list<NamedMode> modes) { return padding(Padding(modes)); }

  /// Accepts one amount per dimension as a braced list: `.padding({1, 2})`.
  auto padding(std::initializer_list<int64_t> amounts) { return padding(Padding(amounts)); }

  /// Accepts one (before, after) pair per dimension as a braced list: `.padding({{0, 1}, {2, 3}})`.
  auto padding(std::initializer_list<Padding::Pair> pairs) { return padding(Padding(pairs)); }

  /// The number of elements to append: one number, or `D` of them. It has to be 0 with SAME, where
  /// the output's size is an argument of `forward` instead.
  TORCH_ARG(torch::ExpandingArray<D>, output_padding) = 0;

  /// The number of groups, which divides both channel counts.
  TORCH_ARG(int64_t, groups) = 1;

  /// Whether to add a learnable bias.
  TORCH_ARG(bool, bias) = true;

  /// The spacing between the elements of the kernel: one number, or `D` of them.
  TORCH_ARG(torch::ExpandingArray<D>, dilation) = 1;
};

using SamePadConvTranspose1dOptions = SamePadConvTransposeOptions<1>;
using SamePadConvTranspose2dOptions = SamePadConvTransposeOptions<2>;
using SamePadConvTranspose3dOptions = SamePadConvTransposeOptions<3>;

/// The base class of the three transposed convolution modules, not meant to be used itself.
///
/// Its parameters are named and initialised as those of `torch::nn::ConvTranspose*d`:
///   weight  (in_channels, out_channels / groups, kernel_size...)
///   bias    (out_channels), undefined without bias
///
/// Constructing or resetting it throws `c10::Error` if the channels, the groups or the kernel size
/// are not positive, if a channel count is not divisible by the groups, if the padding is not for a
/// `D`-dimensional transposed convolution, or if SAME is combined with an output_padding.
/// Everything that `samepad::conv_transpose*d` checks is checked by `forward`.
template <size_t D, typename Derived>
class SAMEPAD_API SamePadConvTransposeNdImpl : public torch::nn::Cloneable<Derived> {
 public:
  SamePadConvTransposeNdImpl(int64_t in_channels, int64_t out_channels,
                             torch::ExpandingArray<D> kernel_size)
      : SamePadConvTransposeNdImpl(
            SamePadConvTransposeOptions<D>(in_channels, out_channels, kernel_size)) {}
  explicit SamePadConvTransposeNdImpl(SamePadConvTransposeOptions<D> options);

  void reset() override;

  /// Initialises weight and bias again, from the distributions that `torch::nn::ConvTranspose*d`
  /// uses.
  void reset_parameters();

  /// Writes, for instance, `samepad::SamePadConvTranspose2d(8, 3, kernel_size=[3, 3],
  /// stride=[2, 2], padding=same)`.
  void pretty_print(std::ostream& stream) const override;

  /// Applies the transposed convolution to (N, C, spatial...) or (C, spatial...); see
  /// `samepad::conv_transpose2d`. `output_size` may hold all dimensions of the output or only its
  /// spatial ones.
  at::Tensor forward(const at::Tensor& input,
                     const std::optional<at::IntArrayRef>& output_size = std::nullopt);

  SamePadConvTransposeOptions<D> options;
  at::Tensor weight;
  at::Tensor bias;

 protected:
  FORWARD_HAS_DEFAULT_ARGS({1, torch::nn::AnyValue(std::optional<at::IntArrayRef>())})
};

/// SAME transposed convolution over (N, C, L) or (C, L), a replacement for
/// `torch::nn::ConvTranspose1d`.
class SAMEPAD_API SamePadConvTranspose1dImpl
    : public SamePadConvTransposeNdImpl<1, SamePadConvTranspose1dImpl> {
 public:
  using SamePadConvTransposeNdImpl::SamePadConvTransposeNdImpl;
};

/// SAME transposed convolution over (N, C, H, W) or (C, H, W), a replacement for
/// `torch::nn::ConvTranspose2d`.
class SAMEPAD_API SamePadConvTranspose2dImpl
    : public SamePadConvTransposeNdImpl<2, SamePadConvTranspose2dImpl> {
 public:
  using SamePadConvTransposeNdImpl::SamePadConvTransposeNdImpl;
};

/// SAME transposed convolution over (N, C, D, H, W) or (C, D, H, W), a replacement for
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
