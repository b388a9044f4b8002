#pragma once

/// \file
/// Replacements for `torch::nn::MaxPool1d/2d/3d` and `torch::nn::AvgPool1d/2d/3d`. Their `padding`
/// defaults to SAME.

#include <ATen/core/Tensor.h>
#include <samepad/export.h>
#include <samepad/padding_argument.h>
#include <torch/arg.h>
#include <torch/expanding_array.h>
#include <torch/nn/cloneable.h>
#include <torch/nn/pimpl.h>

#include <cstdint>
#include <initializer_list>
#include <iosfwd>
#include <optional>
#include <tuple>

namespace samepad {

/// The options of a `D`-dimensional SAME max pool, which are those of
/// `torch::nn::MaxPoolOptions<D>`:
///
///     samepad::SamePadMaxPool2dOptions(3).stride(2)
template <size_t D>
struct SamePadMaxPoolOptions {
  SamePadMaxPoolOptions(torch::ExpandingArray<D> kernel_size)
      : kernel_size_(kernel_size), stride_(kernel_size) {}

  /// The size of the window: one number, or `D` of them.
  TORCH_ARG(torch::ExpandingArray<D>, kernel_size);

  /// The step between windows: one number, or `D` of them; the kernel size by default.
  TORCH_ARG(torch::ExpandingArray<D>, stride);

  /// The padding, which the maxima ignore: a mode, a mode per dimension, amounts or (before, after)
  /// pairs; see `Padding`.
  TORCH_ARG(Padding, padding) = PadMode::same;

 public:
  /// Accepts one mode per dimension as a braced list: `.padding({"same", "valid"})`.
  auto padding(std::initializer_list<NamedMode> modes) { return padding(Padding(modes)); }

  /// Accepts one amount per dimension as a braced list: `.padding({1, 2})`.
  auto padding(std::initializer_list<int64_t> amounts) { return padding(Padding(amounts)); }

  /// Accepts one (before, after) pair per dimension as a braced list: `.padding({{0, 1}, {2, 3}})`.
  auto padding(std::initializer_list<Padding::Pair> pairs) { return padding(Padding(pairs)); }

  /// The spacing between the elements of the window: one number, or `D` of them.
  TORCH_ARG(torch::ExpandingArray<D>, dilation) = 1;

  /// Whether to round output sizes up. SAME always does.
  TORCH_ARG(bool, ceil_mode) = false;
};

using SamePadMaxPool1dOptions = SamePadMaxPoolOptions<1>;
using SamePadMaxPool2dOptions = SamePadMaxPoolOptions<2>;
using SamePadMaxPool3dOptions = SamePadMaxPoolOptions<3>;

/// The options of a `D`-dimensional SAME average pool, which are those of
/// `torch::nn::AvgPoolOptions<D>`.
template <size_t D>
struct SamePadAvgPoolOptions {
  SamePadAvgPoolOptions(torch::ExpandingArray<D> kernel_size)
      : kernel_size_(kernel_size), stride_(kernel_size) {}

  /// The size of the window: one number, or `D` of them.
  TORCH_ARG(torch::ExpandingArray<D>, kernel_size);

  /// The step between windows: one number, or `D` of them; the kernel size by default.
  TORCH_ARG(torch::ExpandingArray<D>, stride);

  /// The padding: a mode, a mode per dimension, amounts or (before, after) pairs; see `Padding`.
  TORCH_ARG(Padding, padding) = PadMode::same;

 public:
  /// Accepts one mode per dimension as a braced list: `.padding({"same", "valid"})`.
  auto padding(std::initializer_list<NamedMode> modes) { return padding(Padding(modes)); }

  /// Accepts one amount per dimension as a braced list: `.padding({1, 2})`.
  auto padding(std::initializer_list<int64_t> amounts) { return padding(Padding(amounts)); }

  /// Accepts one (before, after) pair per dimension as a braced list: `.padding({{0, 1}, {2, 3}})`.
  auto padding(std::initializer_list<Padding::Pair> pairs) { return padding(Padding(pairs)); }

  /// Whether to round output sizes up. SAME always does.
  TORCH_ARG(bool, ceil_mode) = false;

  /// Whether means include the padding, as zeros. By default they do if amounts are given, as in
  /// `torch::nn::AvgPool*d`, but not with SAME, as in TensorFlow.
  TORCH_ARG(std::optional<bool>, count_include_pad) = std::nullopt;

  /// What to divide sums by, instead of the number of elements. Not available in one dimension.
  TORCH_ARG(std::optional<int64_t>, divisor_override) = std::nullopt;
};

using SamePadAvgPool1dOptions = SamePadAvgPoolOptions<1>;
using SamePadAvgPool2dOptions = SamePadAvgPoolOptions<2>;
using SamePadAvgPool3dOptions = SamePadAvgPoolOptions<3>;

/// The base class of the three max pool modules, not meant to be used itself.
///
/// Constructing or resetting it throws `c10::Error` if the padding is not for a `D`-dimensional
/// pool. Everything that `samepad::max_pool*d` checks is checked by `forward`.
template <size_t D, typename Derived>
class SAMEPAD_API SamePadMaxPoolNdImpl : public torch::nn::Cloneable<Derived> {
 public:
  SamePadMaxPoolNdImpl(torch::ExpandingArray<D> kernel_size)
      : SamePadMaxPoolNdImpl(SamePadMaxPoolOptions<D>(kernel_size)) {}
  explicit SamePadMaxPoolNdImpl(SamePadMaxPoolOptions<D> options);

  void reset() override;

  /// Writes, for instance, `samepad::SamePadMaxPool2d(kernel_size=[3, 3], stride=[2, 2],
  /// padding=same, dilation=[1, 1], ceil_mode=false)`.
  void pretty_print(std::ostream& stream) const override;

  /// Applies the pool to (N, C, spatial...) or (C, spatial...); see `samepad::max_pool1d`.
  at::Tensor forward(const at::Tensor& input);

  /// Returns the maxima and their indices; see `samepad::max_pool1d_with_indices`.
  std::tuple<at::Tensor, at::Tensor> forward_with_indices(const at::Tensor& input);

  SamePadMaxPoolOptions<D> options;
};

/// The base class of the three average pool modules, not meant to be used itself.
///
/// Constructing or resetting it throws `c10::Error` if the padding is not for a `D`-dimensional
/// pool, or if a one-dimensional pool has a divisor_override. Everything that `samepad::avg_pool*d`
/// checks is checked by `forward`.
template <size_t D, typename Derived>
class SAMEPAD_API SamePadAvgPoolNdImpl : public torch::nn::Cloneable<Derived> {
 public:
  SamePadAvgPoolNdImpl(torch::ExpandingArray<D> kernel_size)
      : SamePadAvgPoolNdImpl(SamePadAvgPoolOptions<D>(kernel_size)) {}
  explicit SamePadAvgPoolNdImpl(SamePadAvgPoolOptions<D> options);

  void reset() override;

  /// Writes, for instance, `samepad::SamePadAvgPool2d(kernel_size=[3, 3], stride=[2, 2],
  /// padding=same)`.
  void pretty_print(std::ostream& stream) const override;

  /// Applies the pool to (N, C, spatial...) or (C, spatial...); see `samepad::avg_pool1d`.
  at::Tensor forward(const at::Tensor& input);

  SamePadAvgPoolOptions<D> options;
};

/// SAME max pool over (N, C, L) or (C, L), a replacement for `torch::nn::MaxPool1d`.
class SAMEPAD_API SamePadMaxPool1dImpl : public SamePadMaxPoolNdImpl<1, SamePadMaxPool1dImpl> {
 public:
  using SamePadMaxPoolNdImpl::SamePadMaxPoolNdImpl;
};

/// SAME max pool over (N, C, H, W) or (C, H, W), a replacement for `torch::nn::MaxPool2d`.
class SAMEPAD_API SamePadMaxPool2dImpl : public SamePadMaxPoolNdImpl<2, SamePadMaxPool2dImpl> {
 public:
  using SamePadMaxPoolNdImpl::SamePadMaxPoolNdImpl;
};

/// SAME max pool over (N, C, D, H, W) or (C, D, H, W), a replacement for `torch::nn::MaxPool3d`.
class SAMEPAD_API SamePadMaxPool3dImpl : public SamePadMaxPoolNdImpl<3, SamePadMaxPool3dImpl> {
 public:
  using SamePadMaxPoolNdImpl::SamePadMaxPoolNdImpl;
};

/// SAME average pool over (N, C, L) or (C, L), a replacement for `torch::nn::AvgPool1d`.
class SAMEPAD_API SamePadAvgPool1dImpl : public SamePadAvgPoolNdImpl<1, SamePadAvgPool1dImpl> {
 public:
  using SamePadAvgPoolNdImpl::SamePadAvgPoolNdImpl;
};

/// SAME average pool over (N, C, H, W) or (C, H, W), a replacement for `torch::nn::AvgPool2d`.
class SAMEPAD_API SamePadAvgPool2dImpl : public SamePadAvgPoolNdImpl<2, SamePadAvgPool2dImpl> {
 public:
  using SamePadAvgPoolNdImpl::SamePadAvgPoolNdImpl;
};

/// SAME average pool over (N, C, D, H, W) or (C, D, H, W), a replacement for
/// `torch::nn::AvgPool3d`.
class SAMEPAD_API SamePadAvgPool3dImpl : public SamePadAvgPoolNdImpl<3, SamePadAvgPool3dImpl> {
 public:
  using SamePadAvgPoolNdImpl::SamePadAvgPoolNdImpl;
};

TORCH_MODULE(SamePadMaxPool1d);
TORCH_MODULE(SamePadMaxPool2d);
TORCH_MODULE(SamePadMaxPool3d);
TORCH_MODULE(SamePadAvgPool1d);
TORCH_MODULE(SamePadAvgPool2d);
TORCH_MODULE(SamePadAvgPool3d);

}  // namespace samepad
