#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <samepad/conv.h>
#include <samepad/conv_transpose.h>

#include <algorithm>
#include <array>

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

class ConvTranspose : public ::testing::TestWithParam<std::tuple<Case, PadMode>> {
 protected:
  const Case c = std::get<0>(GetParam());
  const PadMode mode = std::get<1>(GetParam());
  const size_t dimensions = c.size.size();
  const Tensors t{c};

  /// Output sizes of n s, minus `missing` elements or as many as SAME allows.
  Sizes sizes(int64_t missing) const {
    Sizes result;
    for (size_t i = 0; i < dimensions; ++i) {
      result.push_back(c.size[i] * c.stride[i] - std::min(missing, c.stride[i] - 1));
    }
    return result;
  }

  at::Tensor run(const at::Tensor& input, const at::Tensor& weight, const at::Tensor& bias,
                 at::OptionalIntArrayRef output_size) const {
    return kConvs[dimensions - 1](input, weight, bias, c.stride, mode, 0, c.groups, c.dilation,
                                  output_size);
  }
};

TEST_P(ConvTranspose, AgreesWithTheNaiveLoop) {
  for (const int64_t missing : {0, 1, 2}) {
    SCOPED_TRACE(missing);
    const Sizes asked = sizes(missing);
    naive::Conv args{c.stride, c.dilation, {}, c.groups};
    for (size_t i = 0; i < dimensions; ++i) {
      args.pads.push_back(naive::pads(mode, asked[i], c.kernel[i], c.stride[i], c.dilation[i]));
    }
    const auto expected =
        naive::conv_transpose(t.input, t.weight, args, asked) + t.bias_column(dimensions);
    const auto size = missing == 0 ? at::OptionalIntArrayRef() : at::OptionalIntArrayRef(asked);
    const auto output = run(t.input, t.weight, t.bias, size);
    ASSERT_EQ(output.sizes(), expected.sizes());
    EXPECT_TRUE(at::allclose(output, expected, 1e-12, 1e-12));
    EXPECT_TRUE(output.is_contiguous());
    EXPECT_TRUE(at::allclose(run(t.input[0], t.weight, t.bias, size), expected[0], 1e-12, 1e-12));
  }
}

TEST_P(ConvTranspose, HasGradients) {
  const Sizes asked = sizes(1);
  for (const auto& size : {at::OptionalIntArrayRef(), at::OptionalIntArrayRef(asked)}) {
    const std::vector<at::Tensor> inputs{t.input.slice(0, 0, 1).clone().requires_grad_(),
                                         t.weight.clone().requires_grad_(),
                                         t.bias.clone().requires_grad_()};
    const auto output = run(inputs[0], inputs[1], inputs[2], size);
    const auto cotangent = at::randn_like(output);
    output.backward(cotangent);
    for (size_t i = 0; i < inputs.size(); ++i) {
      const auto f = [&](const at::Tensor& moved) {
        std::array arguments{inputs[0].detach(), inputs[1].detach(), inputs[2].detach()};
        arguments.at(i) = moved;
        return run(arguments[0], arguments[1], arguments[2], size);
      };
      EXPECT_TRUE(
          at::allclose(inputs[i].grad(), naive::gradient(f, inputs[i], cotangent), 1e-6, 1e-6))
          << "argument " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Same, ConvTranspose,
                         ::testing::Combine(::testing::ValuesIn(kCases),
                                            ::testing::Values(PadMode::same, PadMode::same_lower)));

/// Tests one-dimensional inputs of n elements.
class ShortTranspose : public ::testing::TestWithParam<int64_t> {};

TEST_P(ShortTranspose, AgreesWithTheNaiveLoopForEverySizeAndAmount) {
  at::manual_seed(0);
  const int64_t n = GetParam();
  const auto x = at::randn({1, 2, n}, at::kDouble);
  const auto bias = at::randn({3}, at::kDouble);
  for (const auto& [k, s, d] : windows(/*kernels=*/4, /*strides=*/4, /*dilations=*/3)) {
    const auto weight = at::randn({2, 3, k}, at::kDouble);
    const auto agree = [&](const Padding& padding, int64_t extra, at::OptionalIntArrayRef size,
                           std::pair<int64_t, int64_t> crop, int64_t m) {
      SCOPED_TRACE(::testing::Message()
                   << "k=" << k << " s=" << s << " d=" << d << " padding=" << padding
                   << " output_padding=" << extra << " output " << m);
      const auto output = samepad::conv_transpose1d(x, weight, bias, s, padding, extra, 1, d, size);
      const auto expected =
          naive::conv_transpose(x, weight, {{s}, {d}, {crop}, 1}, {m}) + bias.view({1, 3, 1});
      ASSERT_EQ(output.sizes(), expected.sizes());
      EXPECT_TRUE(at::allclose(output, expected, 1e-12, 1e-12));
      EXPECT_TRUE(output.is_contiguous());
    };
    for (const PadMode mode : {PadMode::same, PadMode::same_lower}) {
      agree(mode, 0, {}, naive::pads(mode, n * s, k, s, d), n * s);
      for (int64_t m = (n - 1) * s + 1; m <= n * s; ++m) {
        agree(mode, 0, {{m}}, naive::pads(mode, m, k, s, d), m);
      }
    }
    const int64_t full = (n - 1) * s + (k - 1) * d + 1;
    for (int64_t extra = 0; extra < std::max(s, d); ++extra) {
      agree("valid", extra, {}, {0, 0}, full + extra);
      for (int64_t before = 0; before <= 4; ++before) {
        for (int64_t after = 0; after <= 4; ++after) {
          const int64_t m = full - before - after + extra;
          if (m < 1) {
            continue;
          }
          agree(Padding{{before, after}}, extra, {}, {before, after}, m);
          if (extra < s) {
            agree(Padding{{before, after}}, 0, {{m}}, {before, after}, m);
          }
          if (before == after) {
            agree(before, extra, {}, {before, after}, m);
          }
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, ShortTranspose, ::testing::Values(1, 2, 4));

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
  // The common idiom padding=1, output_padding=1 gives the same as `same_lower`.
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
    // An output_size means the output_padding that results in this size.
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

class EmptyTranspose : public ::testing::TestWithParam<Sizes> {};

TEST_P(EmptyTranspose, IsEmptyWithGradients) {
  const Sizes& size = GetParam();
  const size_t dimensions = size.size() - 2;
  Sizes expected{size[0], 3};
  for (size_t i = 0; i < dimensions; ++i) {
    expected.push_back(size[i + 2] * 2);
  }
  for (const PadMode mode : {PadMode::same, PadMode::same_lower}) {
    // The default output sizes may also be given explicitly.
    for (const auto& asked :
         {at::OptionalIntArrayRef(), at::OptionalIntArrayRef(at::IntArrayRef(expected).slice(2))}) {
      const auto x = at::zeros(size, at::kDouble).requires_grad_();
      const auto weight = at::ones(shape(4, 3, Sizes(dimensions, 3)), at::kDouble).requires_grad_();
      const auto bias = at::ones({3}, at::kDouble).requires_grad_();
      const auto output =
          kConvs[dimensions - 1](x, weight, bias, Sizes(dimensions, 2), mode, 0, 1, 1, asked);
      EXPECT_EQ(output.sizes(), at::IntArrayRef(expected));
      output.sum().backward();
      EXPECT_EQ(x.grad().sizes(), x.sizes());
      EXPECT_TRUE(at::equal(weight.grad(), at::zeros_like(weight)));
      EXPECT_TRUE(at::equal(bias.grad(), at::zeros_like(bias)));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, EmptyTranspose,
                         ::testing::Values(Sizes{2, 4, 0}, Sizes{0, 4, 5}, Sizes{2, 4, 0, 5},
                                           Sizes{2, 4, 5, 0}, Sizes{2, 4, 0, 0}, Sizes{0, 4, 5, 6},
                                           Sizes{2, 4, 5, 0, 6}, Sizes{2, 4, 0, 0, 0},
                                           Sizes{0, 4, 5, 6, 7}));

TEST(ConvTranspose, KeepsChannelsLast) {
  const auto x = at::randn({2, 4, 8, 8}).contiguous(at::MemoryFormat::ChannelsLast);
  for (const Padding& padding : {Padding("same"), Padding("same_lower"), Padding{{0, 2}, {1, 0}}}) {
    EXPECT_TRUE(samepad::conv_transpose2d(x, at::randn({4, 3, 3, 3}), {}, 2, padding)
                    .is_contiguous(at::MemoryFormat::ChannelsLast));
  }
}

TEST(ConvTranspose, TakesComplexNumbers) {
  const auto x = at::randn({2, 4, 5}, at::kComplexDouble);
  const auto weight = at::randn({4, 3, 3}, at::kComplexDouble);
  const auto part = [&](const at::Tensor& a, const at::Tensor& b) {
    return samepad::conv_transpose1d(a.contiguous(), b.contiguous(), {}, 2);
  };
  const auto real = part(at::real(x), at::real(weight)) - part(at::imag(x), at::imag(weight));
  const auto imaginary = part(at::real(x), at::imag(weight)) + part(at::imag(x), at::real(weight));
  EXPECT_TRUE(at::allclose(part(x, weight), at::complex(real, imaginary)));
}

}  // namespace
}  // namespace samepad
