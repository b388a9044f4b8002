#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <ops/choice/choice.h>
#include <samepad/backends.h>
#include <samepad/conv.h>

#include "case.h"
#include "naive.h"

namespace samepad {
namespace {

using Function = decltype(&conv2d);
constexpr Function kConvs[] = {conv1d, conv2d, conv3d};

struct Tensors {
  at::Tensor input;
  at::Tensor weight;
  at::Tensor bias;

  explicit Tensors(const Case& c) {
    at::manual_seed(0);
    input = at::randn(shape(2, 4, c.size), at::kDouble);
    weight = at::randn(shape(8, 4 / c.groups, c.kernel), at::kDouble);
    bias = at::randn({8}, at::kDouble);
  }

  at::Tensor bias_column() const {
    return bias.view(Sizes{8}).reshape([&] {
      Sizes sizes(input.dim() - 1, 1);
      sizes[0] = 8;
      return sizes;
    }());
  }
};

class Conv
    : public ::testing::TestWithParam<std::tuple<Case, PadMode, std::optional<std::string>>> {};

TEST_P(Conv, AgreesWithTheNaiveLoop) {
  const auto& [c, mode, plan] = GetParam();
  const auto dimensions = c.size.size();
  naive::Conv args{c.stride, c.dilation, {}, c.groups};
  for (size_t i = 0; i < dimensions; ++i) {
    args.pads.push_back(naive::pads(mode, c.size[i], c.kernel[i], c.stride[i], c.dilation[i]));
  }
  const Tensors t(c);
  const auto expected = naive::conv(t.input, t.weight, args) + t.bias_column();
  const auto conv = kConvs[dimensions - 1];

  const detail::PlanGuard guard(plan);
  const auto output =
      conv(t.input, t.weight, t.bias, c.stride, mode, c.dilation, c.groups, "zeros");
  ASSERT_EQ(output.sizes(), expected.sizes());
  EXPECT_TRUE(at::allclose(output, expected, 1e-12, 1e-12));
  EXPECT_TRUE(output.is_contiguous());

  const auto unbatched =
      conv(t.input[0], t.weight, t.bias, c.stride, mode, c.dilation, c.groups, "zeros");
  EXPECT_TRUE(at::allclose(unbatched, expected[0], 1e-12, 1e-12));

  const Padding pairs(args.pads);
  EXPECT_TRUE(at::allclose(
      conv(t.input, t.weight, t.bias, c.stride, pairs, c.dilation, c.groups, "zeros"), output));
}

/// Each plan of the table, and no plan, which leaves the choice to samepad.
std::vector<std::optional<std::string>> every_plan() {
  std::vector<std::optional<std::string>> result{std::nullopt};
  for (const auto& [name, summary] : backends::plans()) {
    result.emplace_back(name);
  }
  return result;
}

INSTANTIATE_TEST_SUITE_P(Same, Conv,
                         ::testing::Combine(::testing::ValuesIn(kCases),
                                            ::testing::Values(PadMode::same, PadMode::same_lower),
                                            ::testing::ValuesIn(every_plan())));

// The cases of one dimension, which are the first five.
INSTANTIATE_TEST_SUITE_P(Causal, Conv,
                         ::testing::Combine(::testing::ValuesIn(kCases, kCases + 5),
                                            ::testing::Values(PadMode::causal),
                                            ::testing::ValuesIn(every_plan())));

TEST(Conv, TakesAModePerDimension) {
  const PadMode modes[] = {PadMode::causal, PadMode::same, PadMode::valid, PadMode::same_lower};
  for (const Case& c : kCases) {
    const Tensors t(c);
    const auto conv = kConvs[c.size.size() - 1];
    for (size_t first = 0; first < std::size(modes); ++first) {
      std::vector<PadMode> each;
      naive::Conv args{c.stride, c.dilation, {}, c.groups};
      bool fits = true;
      for (size_t i = 0; i < c.size.size(); ++i) {
        each.push_back(modes[(first + i) % std::size(modes)]);
        args.pads.push_back(
            naive::pads(each.back(), c.size[i], c.kernel[i], c.stride[i], c.dilation[i]));
        fits &= each.back() != PadMode::valid || c.size[i] > (c.kernel[i] - 1) * c.dilation[i];
      }
      SCOPED_TRACE(::testing::Message() << Padding(each) << " size " << at::IntArrayRef(c.size));
      if (!fits) {
        EXPECT_THROW(conv(t.input, t.weight, t.bias, c.stride, each, c.dilation, c.groups, "zeros"),
                     c10::Error);
        continue;
      }
      const auto expected = naive::conv(t.input, t.weight, args) + t.bias_column();
      const auto output =
          conv(t.input, t.weight, t.bias, c.stride, each, c.dilation, c.groups, "zeros");
      ASSERT_EQ(output.sizes(), expected.sizes());
      EXPECT_TRUE(at::allclose(output, expected, 1e-12, 1e-12));
      const auto explained =
          explain_conv(t.input, t.weight, t.bias, c.stride, each, c.dilation, c.groups);
      for (size_t i = 0; i < each.size(); ++i) {
        EXPECT_EQ(explained.pads[i].before, args.pads[i].first);
        EXPECT_EQ(explained.pads[i].after, args.pads[i].second);
      }
    }
  }
}

TEST(Conv, EqualModesAreOneMode) {
  const Tensors t(kCases[5]);
  EXPECT_TRUE(at::equal(samepad::conv2d(t.input, t.weight, t.bias, 2, {"same", "same"}),
                        samepad::conv2d(t.input, t.weight, t.bias, 2, "same")));
  EXPECT_TRUE(at::equal(samepad::conv2d(t.input, t.weight, t.bias, 2, {"valid", "valid"}),
                        at::conv2d(t.input, t.weight, t.bias, 2)));
}

TEST(Conv, StrideOneIsAtensSame) {
  const Tensors t(kCases[5]);
  EXPECT_TRUE(at::allclose(samepad::conv2d(t.input, t.weight, t.bias),
                           at::conv2d(t.input, t.weight, t.bias, 1, "same")));
}

TEST(Conv, ValidIsAtensOwn) {
  const Tensors t(kCases[5]);
  EXPECT_TRUE(at::equal(samepad::conv2d(t.input, t.weight, t.bias, 2, "valid"),
                        at::conv2d(t.input, t.weight, t.bias, 2, "valid")));
}

TEST(Conv, AmountsAreAtensOwn) {
  const Tensors t(kCases[5]);
  for (const int64_t amount : {0, 1, 2}) {
    EXPECT_TRUE(at::equal(samepad::conv2d(t.input, t.weight, t.bias, 2, amount),
                          at::conv2d(t.input, t.weight, t.bias, 2, amount)));
  }
  EXPECT_TRUE(at::equal(samepad::conv2d(t.input, t.weight, {}, {2, 1}, {1, 2}),
                        at::conv2d(t.input, t.weight, {}, {2, 1}, {1, 2})));
}

TEST(Conv, NegativePairsCrop) {
  const Tensors t(kCases[5]);
  EXPECT_TRUE(at::allclose(samepad::conv2d(t.input, t.weight, {}, 1, Padding{{-1, 2}, {0, -2}}),
                           samepad::conv2d(t.input.slice(2, 1).slice(3, 0, 6), t.weight, {}, 1,
                                           Padding{{0, 2}, {0, 0}})));
}

class EmptyInput : public ::testing::TestWithParam<Sizes> {};

TEST_P(EmptyInput, GivesAnEmptyOutputWithGradients) {
  const auto input = at::zeros(GetParam(), at::kDouble).requires_grad_();
  const auto weight = at::ones({8, 4, 3, 3}, at::kDouble).requires_grad_();
  const auto bias = at::ones({8}, at::kDouble).requires_grad_();
  const auto output = samepad::conv2d(input, weight, bias, 2);
  EXPECT_EQ(output.sizes(),
            at::IntArrayRef({GetParam()[0], 8, (GetParam()[2] + 1) / 2, (GetParam()[3] + 1) / 2}));
  output.sum().backward();
  EXPECT_EQ(input.grad().sizes(), input.sizes());
  EXPECT_TRUE(at::equal(weight.grad(), at::zeros_like(weight)));
  EXPECT_TRUE(at::equal(bias.grad(), at::zeros_like(bias)));
}

INSTANTIATE_TEST_SUITE_P(Sizes, EmptyInput,
                         ::testing::Values(Sizes{2, 4, 0, 5}, Sizes{2, 4, 5, 0}, Sizes{2, 4, 0, 0},
                                           Sizes{0, 4, 5, 6}));

class PaddingModes : public ::testing::TestWithParam<const char*> {};

TEST_P(PaddingModes, FillAsPadFills) {
  const std::string mode = GetParam();
  const Tensors t(kCases[5]);
  const auto padded = at::pad(t.input, {0, 1, 0, 1}, mode);
  EXPECT_TRUE(at::allclose(samepad::conv2d(t.input, t.weight, t.bias, 2, "same", 1, 1, mode),
                           at::conv2d(padded, t.weight, t.bias, 2)));
}

INSTANTIATE_TEST_SUITE_P(All, PaddingModes, ::testing::Values("reflect", "replicate", "circular"));

TEST(Conv, KeepsChannelsLast) {
  const auto input = at::randn({2, 4, 8, 8}).contiguous(at::MemoryFormat::ChannelsLast);
  const auto weight = at::randn({8, 4, 3, 3});
  for (const auto plan : {"crop", "pad", "dense"}) {
    const detail::PlanGuard guard(plan);
    EXPECT_TRUE(
        samepad::conv2d(input, weight, {}, 2).is_contiguous(at::MemoryFormat::ChannelsLast));
  }
}

}  // namespace
}  // namespace samepad
