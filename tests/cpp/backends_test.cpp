#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <samepad/backends.h>
#include <samepad/conv.h>

namespace samepad {
namespace {

TEST(Explain, SaysWhatRuns) {
  const auto dense =
      explain_conv(at::ones({2, 3, 8, 8}), at::ones({64, 3, 3, 3}), {}, /*stride=*/2);
  EXPECT_EQ(dense.plan, "dense");
  EXPECT_EQ(dense.bytes_copied, 0);
  EXPECT_EQ(dense.output_size, (std::vector<int64_t>{2, 64, 4, 4}));
  EXPECT_EQ(dense.flops, int64_t{2} * 2 * 64 * 4 * 4 * 27);
  EXPECT_EQ(dense.pads, (std::vector<Pads<int64_t>>{{0, 1}, {0, 1}}));
  const auto padded = explain_conv(at::ones({2, 3, 8, 8}, at::kHalf),
                                   at::ones({64, 3, 3, 3}, at::kHalf), {}, /*stride=*/2);
  EXPECT_EQ(padded.plan, "pad");
  EXPECT_EQ(padded.bytes_copied, 2 * 3 * 9 * 9 * 2);
  const auto depthwise =
      explain_conv(at::ones({2, 3, 8}), at::ones({3, 1, 3}), {}, 2, "same", 1, /*groups=*/3);
  EXPECT_EQ(depthwise.plan, "depthwise");
  EXPECT_EQ(depthwise.bytes_copied, 0);
  EXPECT_THROW(explain_conv(at::ones({2, 3, 8}), at::ones({3, 3})), c10::Error);
  EXPECT_THROW(explain_conv(at::ones({2, 3, 0}), at::ones({3, 3, 1})), c10::Error);
}

TEST(Backends, MeasuresOnceWhereAsked) {
  const at::NoGradGuard no_grad;
  const auto input = at::ones({2, 4, 8, 8});
  const auto weight = at::ones({4, 1, 3, 3});
  const auto run = [&] { return samepad::conv2d(input, weight, {}, 2, "same", 1, 4); };
  const auto expected = run();
  EXPECT_TRUE(backends::measurements().empty());
  backends::set_benchmark(true);
  EXPECT_TRUE(backends::benchmark());
  EXPECT_TRUE(at::allclose(run(), expected));
  EXPECT_TRUE(at::allclose(run(), expected));
  backends::set_benchmark(false);
  ASSERT_EQ(backends::measurements().size(), 1);
  EXPECT_EQ(backends::measurements()[0].times.size(), 3);
  backends::reset_measurements();
  EXPECT_TRUE(backends::measurements().empty());
}

}  // namespace
}  // namespace samepad
