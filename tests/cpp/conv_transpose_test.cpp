#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <samepad/conv.h>
#include <samepad/conv_transpose.h>

#include "case.h"
#include "naive.h"

namespace samepad {
namespace {

using Function = decltype(&conv_transpose2d);
constexpr Function kConvs[] = {conv_transpose1d, conv_transpose2d, conv_transpose3d};

struct Tensors {
  at::Tensor input;
  at::Tensor weight;
  at::Tensor bias;

  explicit Tensors(const Case& c) {
    at::manual_seed(0);
    input = at::randn(shape(2, 4, c.size), at::kDouble);
    weight = at::randn(shape(4, 6, c.kernel), at::kDouble);
    bias = at::randn({6 * c.groups}, at::kDouble);
  }

  at::Tensor bias_column(size_t dimensions) const {
    return bias.reshape(shape(1, bias.size(0), Sizes(dimensions, 1)));
  }
};

/// `missing` elements fewer than n s are asked for in every dimension, where that is legal.
class ConvTranspose : public ::testing::TestWithParam<std::tuple<Case, PadMode, int64_t>> {};

TEST_P(ConvTranspose, AgreesWithTheNaiveLoop) {
  const auto& [c, mode, missing] = GetParam();
  const size_t dimensions = c.size.size();
  naive::Conv args{c.stride, c.dilation, {}, c.groups};
  Sizes sizes;
  for (size_t i = 0; i < dimensions; ++i) {
    sizes.push_back(c.size[i] * c.stride[i] - std::min(missing, c.stride[i] - 1));
    args.pads.push_back(naive::pads(mode, sizes[i], c.kernel[i], c.stride[i], c.dilation[i]));
  }
  const Tensors t(c);
  const auto expected =
      naive::conv_transpose(t.input, t.weight, args, sizes) + t.bias_column(dimensions);
  const auto run = [&](const at::Tensor& input) {
    return kConvs[dimensions - 1](input, t.weight, t.bias, c.stride, mode, 0, c.groups, c.dilation,
                                  missing == 0 ? at::OptionalIntArrayRef() : sizes);
  };
  const auto output = run(t.input);
  ASSERT_EQ(output.sizes(), expected.sizes());
  EXPECT_TRUE(at::allclose(output, expected, 1e-12, 1e-12));
  EXPECT_TRUE(output.is_contiguous());
  EXPECT_TRUE(at::allclose(run(t.input[0]), expected[0], 1e-12, 1e-12));
}

INSTANTIATE_TEST_SUITE_P(Same, ConvTranspose,
                         ::testing::Combine(::testing::ValuesIn(kCases),
                                            ::testing::Values(PadMode::same, PadMode::same_lower),
                                            ::testing::Values(0, 1, 2)));

TEST(ConvTranspose, IsTheGradientOfTheConvolution) {
  const auto x = at::randn({2, 3, 9, 8}, at::kDouble).requires_grad_();
  const auto weight = at::randn({5, 3, 3, 4}, at::kDouble);
  for (const PadMode mode : {PadMode::same, PadMode::same_lower}) {
    const auto y = samepad::conv2d(x, weight, {}, {2, 3}, mode);
    const auto cotangent = at::randn_like(y);
    x.mutable_grad() = at::Tensor();
    y.backward(cotangent);
    EXPECT_TRUE(at::allclose(
        samepad::conv_transpose2d(cotangent, weight, {}, {2, 3}, mode, 0, 1, 1, {{9, 8}}),
        x.grad()));
  }
}

TEST(ConvTranspose, GivesTheWorkedNumbers) {
  const auto x = at::arange(1, 4, at::kDouble).view({1, 1, 3});
  const auto row = [&](PadMode mode) {
    return samepad::conv_transpose1d(x, x, {}, 2, mode).view(6);
  };
  EXPECT_TRUE(at::equal(row(PadMode::same), at::tensor({1., 2., 5., 4., 9., 6.})));
  EXPECT_TRUE(at::equal(row(PadMode::same_lower), at::tensor({2., 5., 4., 9., 6., 9.})));
  // The common idiom is the latter.
  EXPECT_TRUE(
      at::equal(samepad::conv_transpose1d(x, x, {}, 2, 1, 1).view(6), row(PadMode::same_lower)));
}

TEST(ConvTranspose, AmountsAreAtensOwn) {
  const auto x = at::randn({2, 4, 5, 6});
  const auto weight = at::randn({4, 3, 3, 3});
  for (const int64_t padding : {0, 1, 2}) {
    for (const int64_t extra : {0, 1}) {
      EXPECT_TRUE(at::equal(samepad::conv_transpose2d(x, weight, {}, 2, padding, extra),
                            at::conv_transpose2d(x, weight, {}, 2, padding, extra)));
    }
    // An output_size stands for the output_padding that leads to it.
    EXPECT_TRUE(at::equal(samepad::conv_transpose2d(x, weight, {}, 2, padding, 0, 1, 1,
                                                    {{12 - 2 * padding, 13 - 2 * padding}}),
                          at::conv_transpose2d(x, weight, {}, 2, padding, {1, 0})));
  }
}

TEST(ConvTranspose, PairsAreCroppedFromTheFullResult) {
  const auto x = at::randn({2, 4, 5, 6}, at::kDouble);
  const auto weight = at::randn({4, 3, 3, 3}, at::kDouble);
  const auto full = at::conv_transpose2d(x, weight, {}, 2);
  for (const auto& [before, after] : {std::pair{0, 1}, {1, 0}, {3, 1}, {0, 4}}) {
    EXPECT_TRUE(
        at::allclose(samepad::conv_transpose2d(x, weight, {}, 2, Padding{{before, after}, {0, 0}}),
                     full.slice(2, before, full.size(2) - after)));
  }
}

TEST(ConvTranspose, OfNothingIsEmptyWithGradients) {
  for (const Sizes& size : {Sizes{2, 4, 0, 5}, {2, 4, 5, 0}, {2, 4, 0, 0}, {0, 4, 5, 6}}) {
    const auto x = at::zeros(size, at::kDouble).requires_grad_();
    const auto weight = at::ones({4, 3, 3, 3}, at::kDouble).requires_grad_();
    const auto output = samepad::conv_transpose2d(x, weight, {}, 2);
    EXPECT_EQ(output.sizes(), at::IntArrayRef({size[0], 3, size[2] * 2, size[3] * 2}));
    output.sum().backward();
    EXPECT_EQ(x.grad().sizes(), x.sizes());
    EXPECT_TRUE(at::equal(weight.grad(), at::zeros_like(weight)));
  }
}

TEST(ConvTranspose, KeepsChannelsLast) {
  const auto x = at::randn({2, 4, 8, 8}).contiguous(at::MemoryFormat::ChannelsLast);
  for (const PadMode mode : {PadMode::same, PadMode::same_lower}) {
    EXPECT_TRUE(samepad::conv_transpose2d(x, at::randn({4, 3, 3, 3}), {}, 2, mode)
                    .is_contiguous(at::MemoryFormat::ChannelsLast));
  }
}

}  // namespace
}  // namespace samepad
