#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <samepad/pad.h>
#include <samepad/pool.h>

#include "case.h"
#include "naive.h"

namespace samepad {
namespace {

constexpr decltype(&max_pool2d) kMaxPools[] = {max_pool1d, max_pool2d, max_pool3d};
constexpr decltype(&max_pool2d_with_indices) kWithIndices[] = {
    max_pool1d_with_indices, max_pool2d_with_indices, max_pool3d_with_indices};

at::Tensor avg_pool(const at::Tensor& input, const Case& c, const Padding& padding,
                    std::optional<bool> count_include_pad) {
  switch (c.size.size()) {
    case 1:
      return avg_pool1d(input, c.kernel, c.stride, padding, false, count_include_pad);
    case 2:
      return avg_pool2d(input, c.kernel, c.stride, padding, false, count_include_pad);
    default:
      return avg_pool3d(input, c.kernel, c.stride, padding, false, count_include_pad);
  }
}

/// The element of each plane of `input` that each index names.
at::Tensor at_indices(const at::Tensor& input, const at::Tensor& indices) {
  return input.flatten(2).gather(2, indices.flatten(2)).view(indices.sizes());
}

class Pool : public ::testing::TestWithParam<std::tuple<Case, PadMode>> {};

TEST_P(Pool, AgreesWithTheNaiveLoop) {
  auto [c, mode] = GetParam();
  const size_t dimensions = c.size.size();
  at::manual_seed(0);
  const auto input = at::randn(shape(2, 3, c.size), at::kDouble) - 3;
  const auto reference = [&] {
    naive::Conv args{c.stride, c.dilation, {}, 1};
    for (size_t i = 0; i < dimensions; ++i) {
      args.pads.push_back(naive::pads(mode, c.size[i], c.kernel[i], c.stride[i], c.dilation[i]));
    }
    return std::pair(naive::pool(input, c.kernel, args), Padding(args.pads));
  };

  const auto [pooled, pairs] = reference();
  const auto& expected = pooled.max;
  const auto output = kMaxPools[dimensions - 1](input, c.kernel, c.stride, mode, c.dilation, false);
  ASSERT_EQ(output.sizes(), expected.sizes());
  EXPECT_TRUE(at::equal(output, expected));
  EXPECT_TRUE(output.is_contiguous());
  EXPECT_TRUE(
      at::equal(kMaxPools[dimensions - 1](input[0], c.kernel, c.stride, mode, c.dilation, false),
                expected[0]));
  EXPECT_TRUE(at::equal(
      kMaxPools[dimensions - 1](input, c.kernel, c.stride, pairs, c.dilation, false), expected));
  const auto [values, indices] =
      kWithIndices[dimensions - 1](input, c.kernel, c.stride, mode, c.dilation, false);
  EXPECT_TRUE(at::equal(values, expected));
  EXPECT_TRUE(at::equal(at_indices(input, indices), expected));

  c.dilation = Sizes(dimensions, 1);
  const auto [undilated, undilated_pairs] = reference();
  for (const bool counts : {false, true}) {
    const auto& means = counts ? undilated.padded : undilated.mean;
    const auto mean = avg_pool(input, c, mode, counts);
    EXPECT_TRUE(at::allclose(mean, means, 1e-12, 1e-12));
    EXPECT_TRUE(mean.is_contiguous());
    EXPECT_TRUE(at::allclose(avg_pool(input, c, undilated_pairs, counts), means, 1e-12, 1e-12));
  }
  EXPECT_TRUE(at::equal(avg_pool(input, c, mode, std::nullopt), avg_pool(input, c, mode, false)));
}

INSTANTIATE_TEST_SUITE_P(Same, Pool,
                         ::testing::Combine(::testing::ValuesIn(kCases),
                                            ::testing::Values(PadMode::same, PadMode::same_lower)));

TEST(Pool, GivesTheWorkedNumbers) {
  const auto x = at::tensor({-1., -2., -3., -4.}).view({1, 1, 4});
  EXPECT_TRUE(at::equal(samepad::max_pool1d(x, 3, 2).view(2), at::tensor({-1., -3.})));
  EXPECT_TRUE(at::equal(samepad::avg_pool1d(-x, 3, 2).view(2), at::tensor({2., 3.5})));
}

TEST(Pool, AmountsAreAtensOwn) {
  const auto x = at::randn({2, 3, 8, 9});
  for (const int64_t padding : {0, 1}) {
    for (const bool ceil_mode : {false, true}) {
      EXPECT_TRUE(at::equal(samepad::max_pool2d(x, 3, 2, padding, 1, ceil_mode),
                            at::max_pool2d(x, 3, 2, padding, 1, ceil_mode)));
      EXPECT_TRUE(at::equal(samepad::avg_pool2d(x, 3, 2, padding, ceil_mode),
                            at::avg_pool2d(x, 3, 2, padding, ceil_mode)));
    }
  }
  EXPECT_TRUE(at::equal(samepad::max_pool2d(x, 3, {}, 0), at::max_pool2d(x, 3)));
}

TEST(Pool, StrideIsTheKernelSizeByDefault) {
  const auto x = at::randn({2, 3, 8, 9});
  EXPECT_TRUE(at::equal(samepad::max_pool2d(x, {3, 2}), samepad::max_pool2d(x, {3, 2}, {3, 2})));
}

TEST(Pool, IntegersIgnorePaddingToo) {
  for (const auto type : {at::kByte, at::kChar, at::kShort, at::kInt, at::kLong}) {
    const auto x = at::zeros({1, 1, 4, 4}, type);
    const auto low = type == at::kByte ? x : x - 5;
    EXPECT_TRUE(at::equal(samepad::max_pool2d(low, 3, 2), low.slice(2, 0, 2).slice(3, 0, 2)));
    // This one pads a copy: the windows are ahead of the input.
    EXPECT_TRUE(at::equal(samepad::max_pool2d(low, 2, 1, Padding{{0, 1}, {0, 1}}, 3),
                          low.slice(2, 0, 2).slice(3, 0, 2)));
  }
}

TEST(Pool, IndicesAreForMaxUnpool) {
  const auto x = at::randn({2, 3, 7, 8});
  const auto [values, indices] = samepad::max_pool2d_with_indices(x, 2, 2);
  const auto unpooled = at::max_unpool2d(values, indices, {7, 8});
  EXPECT_TRUE(at::equal(unpooled, at::where(unpooled != 0, x, at::zeros_like(x))));
  EXPECT_TRUE(at::equal(samepad::max_pool2d(at::where(unpooled != 0, x, -1e9), 2, 2), values));
}

TEST(Pool, OfNothingIsEmptyWithGradients) {
  for (const Sizes& size : {Sizes{2, 4, 0, 5}, {2, 4, 5, 0}, {0, 4, 5, 6}}) {
    const auto x = at::zeros(size, at::kDouble).requires_grad_();
    const auto output = samepad::max_pool2d(x, 3, 2) + samepad::avg_pool2d(x, 3, 2);
    EXPECT_EQ(output.sizes(), at::IntArrayRef({size[0], 4, (size[2] + 1) / 2, (size[3] + 1) / 2}));
    output.sum().backward();
    EXPECT_EQ(x.grad().sizes(), x.sizes());
  }
}

TEST(Pool, KeepsChannelsLast) {
  const auto x = at::randn({2, 4, 8, 8}).contiguous(at::MemoryFormat::ChannelsLast);
  for (const int64_t kernel : {2, 3}) {
    for (const int64_t stride : {1, 2}) {
      EXPECT_TRUE(
          samepad::max_pool2d(x, kernel, stride).is_contiguous(at::MemoryFormat::ChannelsLast));
      EXPECT_TRUE(
          samepad::avg_pool2d(x, kernel, stride).is_contiguous(at::MemoryFormat::ChannelsLast));
    }
  }
}

TEST(Pad, AddsWhatAKernelAsksFor) {
  const auto x = at::randn({2, 3, 8, 9});
  EXPECT_TRUE(at::equal(samepad::pad(x, 3, 2), at::pad(x, {1, 1, 0, 1})));
  EXPECT_TRUE(at::equal(samepad::pad(x, 3, 2, 1, PadMode::same_lower, "constant", -2.5),
                        at::pad(x, {1, 1, 1, 0}, "constant", -2.5)));
  EXPECT_TRUE(at::equal(samepad::pad(x, {3, 4}, {2, 1}, {1, 2}, PadMode::same, "reflect"),
                        at::pad(x, {3, 3, 0, 1}, "reflect")));
  EXPECT_TRUE(at::equal(samepad::pad(x[0], 3, 1, 2, PadMode::causal), at::pad(x[0], {4, 0})));
  EXPECT_TRUE(at::equal(samepad::pad(x, 3, 2, 1, PadMode::valid), x));
}

}  // namespace
}  // namespace samepad
