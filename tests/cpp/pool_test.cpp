#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <samepad/pad.h>
#include <samepad/padding_argument.h>
#include <samepad/pool.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "case.h"
#include "naive.h"

namespace samepad {
namespace {

constexpr decltype(&max_pool2d) kMaxPools[] = {max_pool1d, max_pool2d, max_pool3d};
constexpr decltype(&max_pool2d_with_indices) kWithIndices[] = {
    max_pool1d_with_indices, max_pool2d_with_indices, max_pool3d_with_indices};

at::Tensor avg_pool(const at::Tensor& input, const Case& c, const Padding& padding,
                    std::optional<bool> count_include_pad, bool ceil_mode = false,
                    std::optional<int64_t> divisor = std::nullopt) {
  if (c.size.size() == 1) {
    return samepad::avg_pool1d(input, c.kernel, c.stride, padding, ceil_mode, count_include_pad);
  }
  const auto pool = c.size.size() == 2 ? avg_pool2d : avg_pool3d;
  return pool(input, c.kernel, c.stride, padding, ceil_mode, count_include_pad, divisor);
}

/// The elements of each plane of `input` at these indices.
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
  EXPECT_TRUE(indices.is_contiguous());
  const auto [value, index] =
      kWithIndices[dimensions - 1](input[0], c.kernel, c.stride, mode, c.dilation, false);
  EXPECT_TRUE(at::equal(value, expected[0]));
  EXPECT_TRUE(at::equal(index, indices[0]));

  c.dilation = Sizes(dimensions, 1);
  const auto [undilated, undilated_pairs] = reference();
  for (const bool counts : {false, true}) {
    const auto& means = counts ? undilated.padded : undilated.mean;
    const auto mean = avg_pool(input, c, mode, counts);
    EXPECT_TRUE(at::allclose(mean, means, 1e-12, 1e-12));
    EXPECT_TRUE(mean.is_contiguous());
    EXPECT_TRUE(at::allclose(avg_pool(input[0], c, mode, counts), means[0], 1e-12, 1e-12));
    EXPECT_TRUE(at::allclose(avg_pool(input, c, undilated_pairs, counts), means, 1e-12, 1e-12));
    if (dimensions > 1) {
      for (const Padding& padding : {Padding(mode), undilated_pairs}) {
        EXPECT_TRUE(at::allclose(avg_pool(input, c, padding, counts, false, /*divisor=*/-7),
                                 undilated.sum / -7, 1e-12, 1e-12));
      }
    }
  }
  EXPECT_TRUE(at::equal(avg_pool(input, c, mode, std::nullopt), avg_pool(input, c, mode, false)));
}

INSTANTIATE_TEST_SUITE_P(Same, Pool,
                         ::testing::Combine(::testing::ValuesIn(kCases),
                                            ::testing::Values(PadMode::same, PadMode::same_lower)));

void expect_gradients(const Case& c, PadMode mode) {
  SCOPED_TRACE(::testing::PrintToString(c) + " padding " + name(mode));
  const auto x = at::randn(shape(2, 2, c.size), at::kDouble).requires_grad_();
  const auto check = [&](const auto& pool) {
    const auto output = pool(x);
    const auto cotangent = at::randn_like(output);
    x.mutable_grad() = at::Tensor();
    output.backward(cotangent);
    EXPECT_TRUE(at::allclose(x.grad(), naive::gradient(pool, x, cotangent), 1e-6, 1e-7));
  };
  const size_t d = c.size.size() - 1;
  check([&](const at::Tensor& input) {
    return kMaxPools[d](input, c.kernel, c.stride, mode, c.dilation, false);
  });
  check([&](const at::Tensor& input) {
    return std::get<0>(kWithIndices[d](input, c.kernel, c.stride, mode, c.dilation, false));
  });
  for (const bool counts : {false, true}) {
    check([&](const at::Tensor& input) { return avg_pool(input, c, mode, counts); });
  }
}

TEST(Pool, HasGradients) {
  at::manual_seed(0);
  for (const Case& c : kCases) {
    expect_gradients(c, PadMode::same);
    expect_gradients(c, PadMode::same_lower);
  }
}

/// A one-dimensional input of n elements, and a window of k elements with stride s and dilation d.
struct Line {
  int64_t n;
  int64_t k;
  int64_t s;
  int64_t d;
};

void expect_naive(const Line& line, const Padding& padding, std::pair<int64_t, int64_t> pads,
                  bool ceil_mode) {
  const auto& [n, k, s, d] = line;
  SCOPED_TRACE(::testing::Message()
               << "n=" << n << " k=" << k << " s=" << s << " d=" << d << " padding=" << padding
               << " (" << pads.first << ", " << pads.second << ") ceil_mode=" << ceil_mode);
  const auto x = at::randn({1, 2, n}, at::kDouble);
  // The output size of SAME does not depend on ceil_mode.
  const bool rounds_up = ceil_mode && padding.modes() == nullptr;
  const auto expected = naive::pool(x, {k}, {{s}, {d}, {pads}, 1}, rounds_up);
  const auto values = samepad::max_pool1d(x, k, s, padding, d, ceil_mode);
  ASSERT_EQ(values.sizes(), expected.max.sizes());
  EXPECT_TRUE(at::equal(values, expected.max));
  const auto [maxima, indices] = samepad::max_pool1d_with_indices(x, k, s, padding, d, ceil_mode);
  EXPECT_TRUE(at::equal(maxima, expected.max));
  // Even a window that contains only padding has an index inside the input.
  ASSERT_TRUE(((indices >= 0) & (indices < n)).all().item<bool>());
  EXPECT_TRUE((maxima.isinf() | (at_indices(x, indices) == maxima)).all().item<bool>());
  if (d > 1) {
    return;
  }
  for (const bool counts : {false, true}) {
    const auto mean = samepad::avg_pool1d(x, k, s, padding, ceil_mode, counts);
    const auto& means = counts ? expected.padded : expected.mean;
    ASSERT_EQ(mean.sizes(), means.sizes());
    EXPECT_TRUE(at::allclose(mean, means, 1e-12, 1e-12));
  }
}

/// Tests inputs of so few elements that windows reach past both ends.
class ShortPool : public ::testing::TestWithParam<int64_t> {};

TEST_P(ShortPool, AgreesWithTheNaiveLoopForEveryWindowAndPair) {
  at::manual_seed(0);
  const int64_t n = GetParam();
  for (const auto& [k, s, d] : windows(/*kernels=*/4, /*strides=*/5, /*dilations=*/3)) {
    const int64_t extent = (k - 1) * d + 1;
    for (const bool ceil_mode : {false, true}) {
      for (const PadMode mode : {PadMode::same, PadMode::same_lower}) {
        expect_naive({n, k, s, d}, mode, naive::pads(mode, n, k, s, d), ceil_mode);
      }
      for (int64_t before = 0; before < extent; ++before) {
        for (int64_t after = std::max<int64_t>(0, extent - n - before); after < extent; ++after) {
          expect_naive({n, k, s, d}, Padding{{before, after}}, {before, after}, ceil_mode);
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, ShortPool, ::testing::Values(1, 2, 3, 5, 7));

TEST(Pool, CeilModeStartsNoWindowInThePadding) {
  // Here the number of windows differs between dimensions, and the input is padded first.
  const auto x = at::randn({2, 3, 4, 7, 5}, at::kDouble);
  const Case c{{4, 7, 5}, {3, 3, 4}, {4, 2, 5}, {1, 1, 1}, 1};
  const std::vector<Padding::Pair> pairs{{0, 2}, {1, 2}, {0, 3}};
  const auto expected = naive::pool(x, c.kernel, {c.stride, c.dilation, pairs, 1}, true);
  ASSERT_EQ(expected.max.sizes(), at::IntArrayRef({2, 3, 1, 4, 1}));
  EXPECT_TRUE(at::equal(samepad::max_pool3d(x, c.kernel, c.stride, pairs, 1, true), expected.max));
  EXPECT_TRUE(at::allclose(avg_pool(x, c, pairs, true, true), expected.padded));
  EXPECT_TRUE(at::allclose(avg_pool(x, c, pairs, false, true), expected.mean));
}

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
    // With this padding, dilated windows reach past the end of the input but never start before it.
    EXPECT_TRUE(at::equal(samepad::max_pool2d(low, 2, 1, Padding{{0, 1}, {0, 1}}, 3),
                          low.slice(2, 0, 2).slice(3, 0, 2)));
  }
}

TEST(Pool, IntegersHaveIndices) {
  const auto x = at::arange(-40, 40, at::kLong).view({2, 2, 4, 5}).neg().contiguous();
  for (const PadMode mode : {PadMode::same, PadMode::same_lower}) {
    const auto [values, indices] = samepad::max_pool2d_with_indices(x, 3, 2, mode);
    EXPECT_TRUE(
        at::equal(values, samepad::max_pool2d(x.to(at::kDouble), 3, 2, mode).to(at::kLong)));
    EXPECT_TRUE(at::equal(at_indices(x, indices), values));
  }
}

TEST(Pool, IgnoresPaddingInEveryFloatingType) {
  for (const auto type : {at::kHalf, at::kBFloat16, at::kFloat, at::kDouble}) {
    const auto x = at::full({1, 1, 5, 5}, -2, type);
    // Each padding is computed in a different way: the first one on the input itself, the second
    // one on a padded copy.
    for (const Padding& padding : {Padding("same"), Padding{{0, 2}, {2, 0}}}) {
      const auto max = samepad::max_pool2d(x, 3, 2, padding);
      EXPECT_EQ(max.scalar_type(), type);
      EXPECT_TRUE(at::equal(max, at::full_like(max, -2)));
      const auto mean = samepad::avg_pool2d(x, 3, 2, padding, false, false);
      EXPECT_EQ(mean.scalar_type(), type);
      EXPECT_TRUE(at::equal(mean, at::full_like(mean, -2)));
    }
  }
}

TEST(Pool, TakesNaNsAndInfinitiesAsTheyAre) {
  constexpr double kInf = std::numeric_limits<double>::infinity();
  const auto x = at::tensor({-kInf, -kInf, -kInf, -kInf, 1., NAN}).view({1, 1, 6});
  const auto [values, indices] = samepad::max_pool1d_with_indices(x, 2, 2);
  EXPECT_TRUE(at::equal(values.view(3).slice(0, 0, 2), at::tensor({-kInf, -kInf})));
  EXPECT_TRUE(values.view(3)[2].isnan().item<bool>());
  EXPECT_TRUE(((indices >= 0) & (indices < 6)).all().item<bool>());
}

TEST(Pool, IndicesOfTheLowestValueAreOfTheirWindows) {
  // Padding ties with the lowest value. With dilation, the first element of a window inside the
  // input is not the one nearest to the padding.
  constexpr double kInf = std::numeric_limits<double>::infinity();
  const auto bytes = at::tensor({9, 9, 0}, at::kByte).view({1, 1, 3});
  const auto of_bytes = std::get<1>(samepad::max_pool1d_with_indices(bytes, 2, 1, "same", 4));
  EXPECT_EQ(of_bytes.view(3)[0].item<int64_t>(), 2);
  const auto low = at::full({1, 1, 5, 5}, -kInf);
  const auto [values, indices] = samepad::max_pool2d_with_indices(low, 2, 1, {{0, 3}, {3, 0}}, 3);
  EXPECT_TRUE(at::equal(values, low));
  // The windows' rows start inside the input. Output columns 0 to 2 start before the input, and the
  // first elements of their windows inside it are in columns 0 to 2.
  const auto columns = at::tensor({0, 1, 2, 0, 1});
  EXPECT_TRUE(at::equal(indices[0][0], at::arange(5).mul(5).view({5, 1}) + columns));
}

TEST(Pool, IndicesAreForMaxUnpool) {
  const auto x = at::randn({2, 3, 7, 8});
  const auto [values, indices] = samepad::max_pool2d_with_indices(x, 2, 2);
  const auto unpooled = at::max_unpool2d(values, indices, {7, 8});
  EXPECT_TRUE(at::equal(unpooled, at::where(unpooled != 0, x, at::zeros_like(x))));
  EXPECT_TRUE(at::equal(samepad::max_pool2d(at::where(unpooled != 0, x, -1e9), 2, 2), values));
}

class EmptyPool : public ::testing::TestWithParam<Sizes> {};

TEST_P(EmptyPool, IsEmptyWithGradients) {
  const Sizes& size = GetParam();
  const size_t dimensions = size.size() - 2;
  const Sizes kernel(dimensions, 3);
  const Sizes stride(dimensions, 2);
  Sizes expected{size[0], size[1]};
  for (size_t i = 0; i < dimensions; ++i) {
    expected.push_back((size[i + 2] + 1) / 2);
  }
  const Case c{Sizes(size.begin() + 2, size.end()), kernel, stride, {}, 1};
  for (const PadMode mode : {PadMode::same, PadMode::same_lower}) {
    const auto x = at::zeros(size, at::kDouble).requires_grad_();
    const auto [values, indices] = kWithIndices[dimensions - 1](x, kernel, stride, mode, 2, false);
    EXPECT_EQ(indices.sizes(), at::IntArrayRef(expected));
    EXPECT_EQ(indices.scalar_type(), at::kLong);
    const auto output = values + kMaxPools[dimensions - 1](x, kernel, stride, mode, 2, false) +
                        avg_pool(x, c, mode, std::nullopt);
    EXPECT_EQ(output.sizes(), at::IntArrayRef(expected));
    output.sum().backward();
    EXPECT_EQ(x.grad().sizes(), x.sizes());
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, EmptyPool,
                         ::testing::Values(Sizes{2, 4, 0}, Sizes{0, 4, 5}, Sizes{2, 4, 0, 5},
                                           Sizes{2, 4, 5, 0}, Sizes{2, 4, 0, 0}, Sizes{0, 4, 5, 6},
                                           Sizes{2, 4, 5, 0, 6}, Sizes{2, 4, 0, 0, 0},
                                           Sizes{0, 4, 5, 6, 7}));

class PoolLayout : public ::testing::TestWithParam<std::tuple<int64_t, int64_t, Padding>> {};

TEST_P(PoolLayout, KeepsChannelsLast) {
  const auto& [kernel, stride, padding] = GetParam();
  const auto x = at::randn({2, 4, 8, 8}).contiguous(at::MemoryFormat::ChannelsLast);
  const auto is_kept = [](const at::Tensor& output) {
    return output.is_contiguous(at::MemoryFormat::ChannelsLast);
  };
  EXPECT_TRUE(is_kept(samepad::max_pool2d(x, kernel, stride, padding)));
  EXPECT_TRUE(is_kept(std::get<0>(samepad::max_pool2d_with_indices(x, kernel, stride, padding))));
  EXPECT_TRUE(is_kept(std::get<1>(samepad::max_pool2d_with_indices(x, kernel, stride, padding))));
  EXPECT_TRUE(is_kept(samepad::avg_pool2d(x, kernel, stride, padding)));
  EXPECT_TRUE(is_kept(samepad::avg_pool2d(x, kernel, stride, padding, false, true)));
}

INSTANTIATE_TEST_SUITE_P(Same, PoolLayout,
                         ::testing::Combine(::testing::Values(2, 3), ::testing::Values(1, 2),
                                            ::testing::Values(Padding("same"),
                                                              Padding("same_lower"),
                                                              Padding{{0, 1}, {1, 0}})));

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

void expect_counted(const Case& c, PadMode mode) {
  SCOPED_TRACE(::testing::PrintToString(c) + " padding " + name(mode));
  std::vector<int64_t> amounts;  // in the order of at::pad, last dimension first
  for (size_t i = c.size.size(); i-- > 0;) {
    const auto [before, after] =
        naive::pads(mode, c.size[i], c.kernel[i], c.stride[i], c.dilation[i]);
    amounts.insert(amounts.end(), {before, after});
  }
  const auto x = at::randn(shape(2, 3, c.size)).requires_grad_();
  const auto padded = samepad::pad(x, c.kernel, c.stride, c.dilation, mode, "constant", 1.5);
  EXPECT_TRUE(at::equal(padded, at::constant_pad_nd(x, amounts, 1.5)));
  EXPECT_TRUE(padded.is_contiguous());
  EXPECT_TRUE(at::equal(samepad::pad(x, c.kernel, c.stride, c.dilation, mode, "replicate"),
                        at::pad(x, amounts, "replicate")));
  padded.sum().backward();
  EXPECT_TRUE(at::equal(x.grad(), at::ones_like(x)));
}

TEST(Pad, AddsWhatCountingSays) {
  for (const Case& c : kCases) {
    for (const PadMode mode : {PadMode::same, PadMode::same_lower, PadMode::valid}) {
      expect_counted(c, mode);
    }
  }
}

TEST(Pad, TakesIntegersAndNothing) {
  const auto x = at::ones({1, 1, 5, 5}, at::kLong);
  EXPECT_TRUE(at::equal(samepad::pad(x, 2), at::constant_pad_nd(x, {0, 1, 0, 1}, 0)));
  EXPECT_EQ(samepad::pad(at::ones({0, 3, 4, 5}), 3).sizes(), at::IntArrayRef({0, 3, 6, 7}));
  EXPECT_EQ(samepad::pad(at::ones({2, 3, 0}), 3, 2).sizes(), at::IntArrayRef({2, 3, 1}));
}

}  // namespace
}  // namespace samepad
