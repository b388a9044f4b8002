// Wrong arguments, one row each: what is called, and what its c10::Error must say.

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <samepad/samepad.h>

#include <functional>
#include <limits>

namespace samepad {
namespace {

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

const at::Tensor& input() {
  static const at::Tensor tensor = at::ones({1, 4, 8, 8});
  return tensor;
}

const at::Tensor& weight() {
  static const at::Tensor tensor = at::ones({6, 4, 3, 3});
  return tensor;
}

/// A transposed convolution of 8x8 elements with stride 2, whose full result is 17x17.
void transposed(const Padding& padding, int64_t output_padding = 0,
                at::OptionalIntArrayRef output_size = std::nullopt, int64_t groups = 1) {
  samepad::conv_transpose2d(input(), at::ones({4, 6, 3, 3}), {}, 2, padding, output_padding, groups,
                            1, output_size);
}

struct Row {
  const char* name;
  std::function<void()> call;
  const char* message;
};

void PrintTo(const Row& row, std::ostream* stream) { *stream << row.name; }

const Row kRows[] = {
    {"input_rank", [] { samepad::conv2d(at::ones({1, 1, 4, 8, 8}), weight()); },
     "Expected 3D (unbatched) or 4D (batched) input to conv2d"},
    {"weight_rank", [] { samepad::conv2d(input(), at::ones({6, 4, 3})); },
     "Expected 4D weight to conv2d"},
    {"channels", [] { samepad::conv2d(at::ones({1, 5, 8, 8}), weight()); },
     "expected input to have 4 channels"},
    {"groups_do_not_divide", [] { samepad::conv2d(input(), weight(), {}, 1, "same", 1, 4); },
     "Given groups=4"},
    {"groups_zero", [] { samepad::conv2d(input(), weight(), {}, 1, "same", 1, 0); },
     "expected groups to be at least 1, but got groups=0"},
    {"groups_negative", [] { samepad::conv2d(input(), weight(), {}, 1, "same", 1, -1); },
     "expected groups to be at least 1, but got groups=-1"},
    {"bias_shape", [] { samepad::conv2d(input(), weight(), at::ones({5})); }, "bias"},
    {"stride_zero", [] { samepad::conv2d(input(), weight(), {}, 0); },
     "expected stride to be at least 1"},
    {"stride_negative", [] { samepad::conv2d(input(), weight(), {}, {1, -2}); },
     "expected stride to be at least 1, but got stride=[1, -2]"},
    {"stride_count", [] { samepad::conv2d(input(), weight(), {}, {1, 1, 1}); },
     "expected stride to be a single integer value or a list of 2 values"},
    {"dilation_zero", [] { samepad::conv2d(input(), weight(), {}, 1, "same", 0); },
     "expected dilation to be at least 1"},
    {"dilation_count", [] { samepad::conv2d(input(), weight(), {}, 1, "same", {1, 2, 3}); },
     "expected dilation to be a single integer value or a list of 2 values"},
    {"kernel_zero", [] { samepad::conv2d(input(), at::ones({6, 4, 0, 3})); },
     "expected kernel_size to be at least 1"},
    {"kernel_too_large", [] { samepad::conv2d(input(), at::ones({6, 4, 9, 9}), {}, 1, "valid"); },
     "The kernel spans 9 elements"},
    {"padding_name", [] { samepad::conv2d(input(), weight(), {}, 1, "sane"); },
     "Invalid padding string: 'sane'"},
    {"padding_causal", [] { samepad::conv2d(input(), weight(), {}, 1, "causal"); },
     "padding='causal' is for conv1d alone"},
    {"padding_count", [] { samepad::conv2d(input(), weight(), {}, 1, {1, 2, 3}); },
     "a list of 2 (before, after) pairs, but got padding=(1, 2, 3)"},
    {"padding_negative", [] { samepad::conv2d(input(), weight(), {}, 1, -1); },
     "negative padding is not supported, but got padding=[-1]"},
    {"padding_overflow", [] { samepad::conv2d(input(), weight(), {}, 1, kMax); },
     "larger than int64 can count"},
    {"dilation_overflow", [] { samepad::conv2d(input(), weight(), {}, 1, "same", kMax); },
     "spans more elements than int64 can count"},
    {"padding_mode", [] { samepad::conv2d(input(), weight(), {}, 1, "same", 1, 1, "zero"); },
     "padding_mode must be"},
    {"reflect_too_wide",
     [] { samepad::conv2d(at::ones({1, 4, 1, 8}), weight(), {}, 1, "same", 1, 1, "reflect"); },
     "padding_mode='reflect' can add 0 to 0 elements"},
    {"circular_too_wide", [] { samepad::conv2d(input(), weight(), {}, 1, 9, 1, 1, "circular"); },
     "padding_mode='circular' can add 0 to 8 elements"},
    {"replicate_negative",
     [] { samepad::conv2d(input(), weight(), {}, 1, Padding{{-1, 0}, {0, 0}}, 1, 1, "replicate"); },
     "padding asks for (-1, 0)"},
    {"dtype", [] { samepad::conv2d(input().to(at::kDouble), weight()); },
     "Input type (Double) and weight type (Float) should be the same"},
    {"bias_dtype", [] { samepad::conv2d(input(), weight(), at::ones({6}, at::kDouble)); },
     "Input type (Float) and bias type (Double) should be the same"},
    {"integers", [] { samepad::conv2d(input().to(at::kLong), weight().to(at::kLong)); },
     "Expected input of a floating point or complex type, but got Long"},
    {"device", [] { samepad::conv2d(input(), weight().to(at::kMeta)); },
     "Input device (cpu) and weight device (meta) should be the same"},
    {"undefined_input", [] { samepad::conv2d(at::Tensor(), weight()); },
     "expected input and weight to be tensors, but one is undefined"},
    {"same_padding_size", [] { same_padding(-1, 3); }, "expected input_size to be at least 0"},
    {"same_padding_none", [] { same_padding(at::IntArrayRef{}, 3); },
     "expected input_size to have a value per dimension"},
    {"same_padding_kernel", [] { same_padding(8, 0); }, "expected kernel_size to be at least 1"},
    {"same_padding_count", [] { same_padding({8, 8}, {3, 3, 3}); },
     "expected kernel_size to be a single integer value or a list of 2 values"},
    {"same_padding_overflow", [] { same_padding(8, 3, 1, kMax); },
     "spans more elements than int64 can count"},
    {"same_padding_causal", [] { same_padding({8, 8}, 3, 1, 1, PadMode::causal); },
     "mode='causal' is for one dimension alone"},
    {"transposed_rank",
     [] { samepad::conv_transpose2d(at::ones({1, 1, 4, 8, 8}), at::ones({4, 6, 3, 3})); },
     "Expected 3D (unbatched) or 4D (batched) input to conv_transpose2d"},
    {"transposed_channels", [] { samepad::conv_transpose2d(input(), at::ones({5, 6, 3, 3})); },
     "expected input to have 5 channels"},
    {"transposed_groups", [] { transposed("same", 0, {}, /*groups=*/3); },
     "a multiple of groups input channels"},
    {"transposed_causal", [] { transposed("causal"); },
     "padding='causal' is for conv1d alone, but got it in conv_transpose2d"},
    {"transposed_negative_pair", [] { transposed({{0, -1}, {0, 0}}); },
     "negative padding is not supported in conv_transpose2d"},
    {"transposed_output_padding", [] { transposed("same", 1); },
     "with padding='same' give conv_transpose2d an output_size"},
    {"transposed_output_padding_too_long", [] { transposed(0, 2); },
     "expected output_padding to be smaller than stride or dilation, 2 and 1"},
    {"transposed_output_padding_negative", [] { transposed(0, -1); },
     "expected output_padding to be at least 0"},
    {"transposed_size_too_small", [] { transposed("same", 0, {{14, 16}}); },
     "expected output_size to be from 15 to 16 in spatial dimension 0, for 8 input elements with "
     "stride 2, but got output_size=[14, 16]"},
    {"transposed_size_too_large", [] { transposed("same_lower", 0, {{16, 17}}); },
     "expected output_size to be from 15 to 16 in spatial dimension 1"},
    {"transposed_size_of_amounts", [] { transposed(1, 0, {{14, 15}}); },
     "expected output_size to be from 15 to 16 in spatial dimension 0"},
    {"transposed_size_count", [] { transposed("same", 0, {{16, 16, 16}}); },
     "expected output_size to be a single integer value or a list of 2 values"},
    {"transposed_both", [] { transposed(0, 1, {{18, 18}}); },
     "expected output_size or output_padding, but got both"},
    {"transposed_cropped_away", [] { transposed(9); },
     "padding (9, 9) in spatial dimension 0 leaves nothing of the 17 elements"},
    {"transposed_overflow", [] { transposed({{kMax, kMax}, {0, 0}}); },
     "leaves nothing of the 17 elements"},
    {"transposed_undefined", [] { samepad::conv_transpose2d(at::Tensor(), weight()); },
     "expected input and weight to be tensors, but one is undefined"},
    {"pool_rank", [] { samepad::max_pool2d(at::ones({8, 8}), 2); },
     "Expected 3D (unbatched) or 4D (batched) input to max_pool2d"},
    {"pool_undefined", [] { samepad::avg_pool2d(at::Tensor(), 2); },
     "expected input to be a tensor, but it is undefined"},
    {"pool_kernel", [] { samepad::max_pool2d(input(), 0); },
     "expected kernel_size to be at least 1, but got kernel_size=[0]"},
    {"pool_kernel_count", [] { samepad::max_pool2d(input(), {2, 2, 2}); },
     "expected kernel_size to be a single integer value or a list of 2 values"},
    {"pool_stride", [] { samepad::avg_pool2d(input(), 2, -1); },
     "expected stride to be at least 1, but got stride=[-1]"},
    {"pool_stride_overflow", [] { samepad::avg_pool2d(input(), 2, kMax); },
     "expected stride to be at most 2147483647"},
    {"pool_dilation", [] { samepad::max_pool2d(input(), 2, 2, "same", 0); },
     "expected dilation to be at least 1"},
    {"pool_causal", [] { samepad::max_pool1d(input()[0], 2, 2, "causal"); },
     "padding='causal' is for conv1d alone, but got it in max_pool1d"},
    {"pool_padding_refused_by_torch", [] { samepad::max_pool2d(input(), 3, 2, 2); },
     "pad should be at most half of effective kernel size"},
    {"pool_pair_too_long", [] { samepad::avg_pool2d(input(), 3, 2, {{0, 3}, {0, 0}}); },
     "expected padding of avg_pool2d to be at most 2 elements"},
    {"pool_pair_negative", [] { samepad::avg_pool2d(input(), 3, 2, {{0, -1}, {0, 0}}); },
     "negative padding is not supported in avg_pool2d"},
    {"pool_divisor", [] { samepad::avg_pool2d(input(), 2, 2, "same", false, {}, 0); },
     "expected divisor_override not to be 0"},
    {"pool_too_small", [] { samepad::max_pool2d(input(), 9, 2, "valid"); },
     "Output size is too small"},
    {"pad_kernel_count", [] { samepad::pad(input(), {3, 3, 3, 3}); },
     "expected kernel_size to be a single integer value"},
    {"pad_mode", [] { samepad::pad(input(), 3, 1, 1, PadMode::same, "zeros"); },
     "mode must be 'constant', 'reflect', 'replicate' or 'circular', but got mode='zeros'"},
    {"pad_value", [] { samepad::pad(input(), 3, 1, 1, PadMode::same, "reflect", 1.0); },
     "value is for mode='constant'"},
    {"pad_causal", [] { samepad::pad(input(), 3, 1, 1, PadMode::causal); },
     "padding='causal' is for one dimension alone"},
    {"pad_reflect", [] { samepad::pad(at::ones({1, 1, 2}), 5, 1, 1, PadMode::same, "reflect"); },
     "can add 0 to 1 elements on a side of 2"},
    {"pad_overflow", [] { samepad::pad(input(), kMax); }, "larger than int64 can count"},
    {"module_transposed_output_padding",
     [] { SamePadConvTranspose2d(SamePadConvTranspose2dOptions(4, 6, 3).output_padding(1)); },
     "output_padding is for amounts of padding"},
    {"module_transposed_causal",
     [] { SamePadConvTranspose1d(SamePadConvTranspose1dOptions(4, 6, 3).padding("causal")); },
     "padding='causal' is for SamePadConv1d alone, but got it in SamePadConvTranspose1d"},
    {"module_transposed_groups",
     [] { SamePadConvTranspose2d(SamePadConvTranspose2dOptions(4, 6, 3).groups(4)); },
     "out_channels (6) must be divisible by groups (4)"},
    {"module_pool_padding", [] { SamePadMaxPool2d(SamePadMaxPool2dOptions(3).padding({1, 2, 3})); },
     "but got padding=(1, 2, 3)"},
    {"module_pool_causal", [] { SamePadAvgPool1d(SamePadAvgPool1dOptions(3).padding("causal")); },
     "padding='causal' is for SamePadConv1d alone"},
    {"module_pool_divisor",
     [] { SamePadAvgPool1d(SamePadAvgPool1dOptions(3).divisor_override(2)); },
     "divisor_override is for 2 and 3 dimensions, but got 2"},
    {"module_separable_groups",
     [] { SamePadSeparableConv2d(SamePadConv2dOptions(4, 6, 3).groups(2)); },
     "a separable convolution has no groups, but got groups=2"},
    {"module_separable_multiplier",
     [] { SamePadSeparableConv2d(SamePadConv2dOptions(4, 6, 3), 0); },
     "depth_multiplier must be at least 1, but got 0"},
    {"module_groups", [] { SamePadConv2d(SamePadConv2dOptions(4, 6, 3).groups(3)); },
     "in_channels (4) must be divisible by groups (3)"},
    {"module_groups_out", [] { SamePadConv2d(SamePadConv2dOptions(4, 5, 3).groups(2)); },
     "out_channels (5) must be divisible by groups (2)"},
    {"module_channels", [] { SamePadConv2d(SamePadConv2dOptions(0, 6, 3)); },
     "must be positive integers, but got 0, 6 and 1"},
    {"module_kernel", [] { SamePadConv2d(SamePadConv2dOptions(4, 6, {3, 0})); },
     "kernel_size must be at least 1, but got [3, 0]"},
    {"module_padding_name", [] { SamePadConv2d(SamePadConv2dOptions(4, 6, 3).padding("full")); },
     "Invalid padding string: 'full'"},
    {"module_padding_causal",
     [] { SamePadConv2d(SamePadConv2dOptions(4, 6, 3).padding("causal")); },
     "padding='causal' is for SamePadConv1d alone"},
    {"module_padding_count",
     [] { SamePadConv2d(SamePadConv2dOptions(4, 6, 3).padding({1, 2, 3})); },
     "but got padding=(1, 2, 3)"},
    {"module_stride", [] { SamePadConv2d(SamePadConv2dOptions(4, 6, 3).stride(0))(input()); },
     "expected stride to be at least 1"},
};

class BadInput : public ::testing::TestWithParam<Row> {};

TEST_P(BadInput, IsAClearError) {
  try {
    GetParam().call();
    FAIL() << "nothing was thrown";
  } catch (const c10::Error& error) {
    const std::string message = error.what_without_backtrace();
    EXPECT_NE(message.find(GetParam().message), std::string::npos) << message;
  }
}

INSTANTIATE_TEST_SUITE_P(Table, BadInput, ::testing::ValuesIn(kRows),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace samepad
