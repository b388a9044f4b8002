#include <c10/core/SymInt.h>
#include <gtest/gtest.h>
#include <samepad/pad.h>
#include <samepad/padding.h>
#include <samepad/padding_argument.h>

#include <algorithm>
#include <limits>

#include "naive.h"

namespace samepad {
namespace {

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

/// Calls `check(n, k, s, d)` over the whole grid of small values.
template <class Check>
void for_every_case(Check check) {
  for (int64_t n = 0; n <= 40; ++n) {
    for (int64_t k = 1; k <= 9; ++k) {
      for (int64_t s = 1; s <= 6; ++s) {
        for (int64_t d = 1; d <= 4; ++d) {
          SCOPED_TRACE(::testing::Message() << "n=" << n << " k=" << k << " s=" << s << " d=" << d);
          check(n, k, s, d);
        }
      }
    }
  }
}

class ModePads : public ::testing::TestWithParam<PadMode> {};

TEST_P(ModePads, AgreesWithCounting) {
  for_every_case([](int64_t n, int64_t k, int64_t s, int64_t d) {
    const auto pads = mode_pads(GetParam(), n, kernel_extent(k, d), s);
    const auto [before, after] = naive::pads(GetParam(), n, k, s, d);
    ASSERT_EQ(pads, (Pads<int64_t>{before, after}));
  });
}

TEST_P(ModePads, IsTheSameForSymbolicIntegers) {
  for_every_case([](int64_t n, int64_t k, int64_t s, int64_t d) {
    if (n == 0) {
      return;  // A symbolic size is at least 1.
    }
    const int64_t extent = kernel_extent(k, d);
    const auto symbolic = mode_pads(GetParam(), c10::SymInt(n), extent, s);
    const auto pads = mode_pads(GetParam(), n, extent, s);
    ASSERT_EQ(symbolic.before.expect_int(), pads.before);
    ASSERT_EQ(symbolic.after.expect_int(), pads.after);
    ASSERT_EQ(same_output_size(c10::SymInt(n), s).expect_int(), same_output_size(n, s));
  });
}

TEST_P(ModePads, MayBeFollowedByWhatNoWindowReads) {
  if (GetParam() == PadMode::causal || GetParam() == PadMode::valid) {
    return;
  }
  for_every_case([](int64_t n, int64_t k, int64_t s, int64_t d) {
    if (n == 0) {
      return;
    }
    const int64_t extent = kernel_extent(k, d);
    auto pads = mode_pads(GetParam(), n, extent, s);
    const int64_t unread = unread_padding(n, extent, s, pads);
    ASSERT_GE(unread, 0);
    pads.after += unread;
    ASSERT_EQ(padded_output_size(n, extent, s, pads), same_output_size(n, s));
    // With these pads n cancels in the padded size, as it should for a symbolic n.
    ASSERT_EQ(n + pads.before + pads.after, (same_output_size(n, s) - 1) * s + std::max(extent, s));
  });
}

TEST_P(ModePads, FunctionOnListsAgrees) {
  for_every_case([](int64_t n, int64_t k, int64_t s, int64_t d) {
    const auto [before, after] = naive::pads(GetParam(), n, k, s, d);
    ASSERT_EQ(same_padding(n, k, s, d, GetParam()), (std::vector<Pads<int64_t>>{{before, after}}));
  });
}

TEST_P(ModePads, OutputSizeFollowsFromThePads) {
  if (GetParam() == PadMode::valid) {
    return;
  }
  for_every_case([](int64_t n, int64_t k, int64_t s, int64_t d) {
    int64_t windows = 0;
    for (int64_t start = 0; start < n; start += s) {
      ++windows;
    }
    ASSERT_EQ(same_output_size(n, s), windows);
    if (n > 0) {
      const int64_t extent = kernel_extent(k, d);
      ASSERT_EQ(padded_output_size(n, extent, s, mode_pads(GetParam(), n, extent, s)), windows);
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Modes, ModePads,
                         ::testing::Values(PadMode::same, PadMode::same_lower, PadMode::causal,
                                           PadMode::valid),
                         [](const auto& info) { return name(info.param); });

TEST(CropIdentity, PlacesEveryWantedOutputOnASymmetricGrid) {
  for_every_case([](int64_t n, int64_t k, int64_t s, int64_t d) {
    for (const PadMode mode : {PadMode::same, PadMode::same_lower, PadMode::causal}) {
      if (n == 0) {
        return;
      }
      const int64_t extent = kernel_extent(k, d);
      const auto pads = mode_pads(mode, n, extent, s);
      const int64_t p = crop_padding(pads, s);
      const int64_t offset = crop_offset(pads, s);
      ASSERT_GE(p, std::max(pads.before, pads.after));
      // Output `offset` of the symmetric convolution starts where the wanted output 0 starts.
      ASSERT_EQ(offset * s - p, -pads.before);
      ASSERT_GE(padded_output_size(n, extent, s, {p, p}), offset + same_output_size(n, s));
      // It is the smallest such padding, because s less would not cover both sides.
      ASSERT_TRUE(p - s < std::max(pads.before, pads.after));
    }
  });
}

TEST(TransposedCrop, LeavesAsManyElementsAsTheConvolutionHad) {
  for_every_case([](int64_t n, int64_t k, int64_t s, int64_t d) {
    const int64_t extent = kernel_extent(k, d);
    const int64_t full = (n - 1) * s + extent;
    for (const PadMode mode : {PadMode::same, PadMode::same_lower}) {
      const auto crop = transposed_crop(mode, extent, s);
      ASSERT_EQ(crop.before + crop.after, std::max<int64_t>(0, full - n * s));
      ASSERT_EQ(crop.after - crop.before,
                (crop.before + crop.after) % 2 * (mode == PadMode::same ? 1 : -1));
      if (n > 0) {
        // The crop equals the padding of the convolution whose gradient is the transposed one.
        ASSERT_EQ(crop, mode_pads(mode, n * s, extent, s));
      }
    }
  });
}

/// The range of elements, of those from 0 to n, that window i reads: the first one and one past the
/// last one.
std::pair<int64_t, int64_t> read(int64_t i, int64_t n, int64_t extent, int64_t s, int64_t before) {
  const int64_t start = i * s - before;
  return {std::max<int64_t>(start, 0), std::min(start + extent, n)};
}

TEST(PoolFit, HasTheWindowsOfTheAsymmetricPool) {
  int64_t fits = 0;
  for_every_case([&](int64_t n, int64_t k, int64_t s, int64_t d) {
    const int64_t extent = kernel_extent(k, d);
    for (const PadMode mode : {PadMode::same, PadMode::same_lower}) {
      const auto pads = mode_pads(mode, n, extent, s);
      const int64_t wanted = same_output_size(n, s);
      for (const bool ceil_mode : {false, true}) {
        const auto fit = fit_pool(n, k, s, d, pads, ceil_mode, wanted);
        if (!fit) {
          continue;
        }
        ++fits;
        // The padding is within PyTorch's limit, and PyTorch computes all wanted windows.
        ASSERT_LE(fit->padding, k / 2);
        ASSERT_LE(fit->skipped + wanted,
                  pooled_output_size(n, extent, s, {fit->padding, fit->padding}, ceil_mode));
        for (int64_t i = 0; i < wanted; ++i) {
          ASSERT_EQ(read(i + fit->skipped, n, extent, s, fit->padding),
                    read(i, n, extent, s, pads.before));
        }
      }
      // Without dilation there is always a fit, so that no input is copied.
      if (d == 1 && n > 0) {
        ASSERT_TRUE(fit_pool(n, k, s, d, pads, s > 1 && mode == PadMode::same, wanted));
      }
    }
  });
  EXPECT_GT(fits, 0);
}

TEST(Arithmetic, IsConstexpr) {
  // For 224 elements, kernel size 3 and stride 2, TensorFlow pads one element, after the input.
  static_assert(mode_pads<int64_t>(PadMode::same, 224, 3, 2) == Pads<int64_t>{0, 1});
  static_assert(mode_pads<int64_t>(PadMode::same_lower, 224, 3, 2) == Pads<int64_t>{1, 0});
  static_assert(same_output_size<int64_t>(5, 3) == 2);
}

TEST(Arithmetic, HoldsAtTheEndOfInt64) {
  EXPECT_FALSE(extent_overflows(2, kMax - 1));
  EXPECT_TRUE(extent_overflows(2, kMax));
  EXPECT_TRUE(extent_overflows(3, kMax / 2 + 1));
  EXPECT_FALSE(extent_overflows(kMax, 1));
  EXPECT_EQ(mode_pads<int64_t>(PadMode::same, kMax, 3, kMax), (Pads<int64_t>{0, 0}));
  EXPECT_EQ(mode_pads<int64_t>(PadMode::same, 1, kMax, 1),
            (Pads<int64_t>{kMax / 2, kMax - 1 - kMax / 2}));
  EXPECT_EQ(same_output_size<int64_t>(kMax, kMax), 1);
  EXPECT_EQ(same_output_size<int64_t>(kMax, 2), kMax / 2 + 1);
}

TEST(SamePadding, TakesOneValueOrOnePerDimension) {
  using List = std::vector<Pads<int64_t>>;
  EXPECT_EQ(same_padding({28, 28}, {3, 5}), (List{{1, 1}, {2, 2}}));
  EXPECT_EQ(same_padding({8, 9, 10}, 3, {1, 2, 3}, 2), (List{{2, 2}, {2, 2}, {2, 2}}));
  EXPECT_EQ(same_padding({224, 225}, 3, 2, 1, PadMode::same_lower), (List{{1, 0}, {1, 1}}));
}

}  // namespace
}  // namespace samepad
