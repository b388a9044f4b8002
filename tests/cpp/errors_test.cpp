// Wrong arguments, one per row: the call and what the message of its c10::Error must contain.

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <samepad/samepad.h>

#include <functional>
#include <limits>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

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

/// Calls a transposed convolution of 8x8 elements with stride 2, whose full result is 17x17.
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
     "padding='causal' is for conv1d alone, but got it in conv2d, which takes a mode per "
     "dimension, "
     "such as padding=('causal', 'same')"},
    {"padding_causal_of_one", [] { samepad::conv2d(input(), weight(), {}, 1, {"causal"}); },
     "padding='causal' is for conv1d alone"},
    {"empty_valid_dimension",
     [] { samepad::conv2d(at::ones({1, 4, 0, 0}), weight(), {}, 1, {"same", "valid"}); },
     "Calculated padded input size in spatial dimension 1: 0"},
    {"transposed_output_padding_of_a_mode",
     [] {
       samepad::conv_transpose2d(input(), at::ones({4, 6, 3, 3}), {}, 2, {"valid", "same"}, {0, 1});
     },
     "with padding=('valid', 'same') give conv_transpose2d an output_size, but got "
     "output_padding=[0, 1]"},
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
    {"same_padding_modes", [] { same_padding({8, 8}, 3, 1, 1, {"same", "same", "valid"}); },
     "expected mode to be one mode or a list of 2 modes, as many as input_size has values, but got "
     "mode=('same', 'same', 'valid')"},
    {"same_padding_causal", [] { same_padding({8, 8}, 3, 1, 1, PadMode::causal); },
     "mode='causal' is for one dimension alone"},
    {"transposed_weight_rank", [] { samepad::conv_transpose2d(input(), at::ones({4, 6, 3})); },
     "Expected 4D weight to conv_transpose2d, but got weight of size: [4, 6, 3]"},
    {"transposed_bias_shape",
     [] { samepad::conv_transpose2d(input(), at::ones({4, 6, 3, 3}), at::ones({4})); }, "bias"},
    {"transposed_bias_dtype",
     [] { samepad::conv_transpose2d(input(), at::ones({4, 6, 3, 3}), at::ones({6}, at::kDouble)); },
     "Input type (Float) and bias type (Double) should be the same"},
    {"transposed_groups_zero", [] { transposed("same", 0, {}, /*groups=*/0); },
     "expected groups to be at least 1, but got groups=0"},
    {"transposed_undefined_weight", [] { samepad::conv_transpose2d(input(), at::Tensor()); },
     "expected input and weight to be tensors, but one is undefined"},
    {"transposed_output_padding_count",
     [] { samepad::conv_transpose2d(input(), at::ones({4, 6, 3, 3}), {}, 2, 1, {1, 1, 1}); },
     "expected output_padding to be a single integer value or a list of 2 values"},
    {"transposed_output_padding_same_lower", [] { transposed("same_lower", 1); },
     "with padding='same_lower' give conv_transpose2d an output_size, but got "
     "output_padding=[1, 1]"},
    {"transposed_output_padding_overflow", [] { transposed(1, kMax); },
     "expected output_padding to be smaller than stride or dilation"},
    {"transposed_size_of_pairs", [] { transposed({{1, 2}, {0, 0}}, 0, {{16, 17}}); },
     "expected output_size to be from 14 to 15 in spatial dimension 0"},
    {"transposed_size_of_valid", [] { transposed("valid", 0, {{17, 19}}); },
     "expected output_size to be from 17 to 18 in spatial dimension 1"},
    {"transposed_size_none", [] { transposed("same", 0, at::IntArrayRef()); },
     "expected output_size to be a single integer value or a list of 2 values"},
    {"transposed_size_negative", [] { transposed("same", 0, {{-1, -1}}); },
     "expected output_size to be from 15 to 16 in spatial dimension 0"},
    {"transposed_size_overflow", [] { transposed("same", 0, {{kMax, kMax}}); },
     "expected output_size to be from 15 to 16 in spatial dimension 0"},
    {"transposed_size_of_nothing",
     [] {
       samepad::conv_transpose1d(at::ones({1, 4, 0}), at::ones({4, 6, 3}), {}, 2, "same", 0, 1, 1,
                                 {{1}});
     },
     "expected output_size to be from 0 to 0 in spatial dimension 0, for 0 input elements"},
    {"transposed_size_zero_of_amounts",
     [] {
       samepad::conv_transpose1d(at::ones({1, 4, 1}), at::ones({4, 6, 1}), {}, 3, {{0, 2}}, 0, 1, 1,
                                 {{0}});
     },
     "output_size=[0]"},
    {"transposed_overflow_of_the_output",
     [] {
       const auto many = at::ones({1, 1, 1}).expand({1, 1, kMax / 2});
       samepad::conv_transpose1d(many, at::ones({1, 1, 1}), {}, 3);
     },
     "stride=3 makes the output of 4611686018427387903 elements larger than int64 can count"},
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
    {"pool_divisor_3d", [] { samepad::avg_pool3d(input(), 2, 2, "same", false, {}, 0); },
     "expected divisor_override not to be 0"},
    {"avg_pool_too_small", [] { samepad::avg_pool2d(input(), 9, 2, "valid"); },
     "Output size is too small"},
    {"pad_kernel_zero", [] { samepad::pad(input(), 0); },
     "expected kernel_size to be at least 1, but got kernel_size=[0]"},
    {"pad_stride_zero", [] { samepad::pad(input(), 3, 0); }, "expected stride to be at least 1"},
    {"pad_stride_count", [] { samepad::pad(input(), 3, {1, 1, 1}); },
     "expected stride to be a single integer value or a list of 2 values"},
    {"pad_dilation_zero", [] { samepad::pad(input(), 3, 1, 0); },
     "expected dilation to be at least 1"},
    {"pad_dilation_overflow", [] { samepad::pad(input(), 3, 1, kMax); },
     "spans more elements than int64 can count"},
    {"pad_undefined", [] { samepad::pad(at::Tensor(), 3); },
     "expected input to be a tensor, but it is undefined"},
    {"pad_rank", [] { samepad::pad(at::ones({8}), {3, 3}); },
     "but got kernel_size=[3, 3] for input of size: [8]"},
    {"pad_scalar", [] { samepad::pad(at::ones({}), 3); }, "for input of size: []"},
    {"pad_no_kernel", [] { samepad::pad(input(), at::IntArrayRef{}); },
     "expected kernel_size to be a single integer value"},
    {"pad_circular", [] { samepad::pad(at::ones({1, 1, 2}), 7, 1, 1, PadMode::same, "circular"); },
     "can add 0 to 2 elements on a side of 2"},
    {"pad_replicate_nothing",
     [] { samepad::pad(at::ones({1, 1, 0}), 3, 1, 1, PadMode::same, "replicate"); },
     "can add 0 to 0 elements on a side of 0"},
    {"pad_kernel_count", [] { samepad::pad(input(), {3, 3, 3, 3}); },
     "expected kernel_size to be a single integer value"},
    {"pad_mode", [] { samepad::pad(input(), 3, 1, 1, PadMode::same, "zeros"); },
     "mode must be 'constant', 'reflect', 'replicate' or 'circular', but got mode='zeros'"},
    {"pad_value", [] { samepad::pad(input(), 3, 1, 1, PadMode::same, "reflect", 1.0); },
     "value is for mode='constant'"},
    {"pad_modes", [] { samepad::pad(input(), 3, 1, 1, {"same", "same", "valid"}); },
     "expected padding to be a mode or a list of 2 modes"},
    {"pad_causal", [] { samepad::pad(input(), 3, 1, 1, PadMode::causal); },
     "padding='causal' is for one dimension alone"},
    {"pad_reflect", [] { samepad::pad(at::ones({1, 1, 2}), 5, 1, 1, PadMode::same, "reflect"); },
     "can add 0 to 1 elements on a side of 2"},
    {"pad_overflow", [] { samepad::pad(input(), kMax); }, "larger than int64 can count"},
    {"module_transposed_output_padding",
     [] { SamePadConvTranspose2d(SamePadConvTranspose2dOptions(4, 6, 3).output_padding(1)); },
     "output_padding is for amounts of padding"},
    {"module_transposed_output_padding_lower",
     [] {
       SamePadConvTranspose1d(
           SamePadConvTranspose1dOptions(4, 6, 3).padding("same_lower").output_padding(1));
     },
     "with padding='same_lower' call the module with an output_size, but got output_padding=1"},
    {"module_transposed_channels", [] { SamePadConvTranspose3d(4, 0, 3); },
     "must be positive integers, but got 4, 0 and 1"},
    {"module_transposed_kernel", [] { SamePadConvTranspose2d(4, 6, 0); },
     "kernel_size must be at least 1, but got [0, 0]"},
    {"module_transposed_padding",
     [] { SamePadConvTranspose2d(SamePadConvTranspose2dOptions(4, 6, 3).padding({1, 2, 3})); },
     "but got padding=(1, 2, 3)"},
    {"module_transposed_size",
     [] {
       SamePadConvTranspose2d layer(SamePadConvTranspose2dOptions(4, 6, 3).stride(2));
       const std::vector<int64_t> whole{1, 6, 17, 16};
       layer(input(), whole);
     },
     "expected output_size to be from 15 to 16 in spatial dimension 0"},
    {"module_transposed_size_count",
     [] {
       const std::vector<int64_t> sizes{6, 16, 16};
       SamePadConvTranspose2d(SamePadConvTranspose2dOptions(4, 6, 3).stride(2))(input(), sizes);
     },
     "expected output_size to be a single integer value or a list of 2 values"},
    {"module_transposed_rank",
     [] {
       const std::vector<int64_t> sizes{8};
       SamePadConvTranspose2d(4, 6, 3)(at::ones({8}), sizes);
     },
     "Expected 3D (unbatched) or 4D (batched) input to conv_transpose2d"},
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
    {"module_pool_name", [] { SamePadMaxPool3d(SamePadMaxPool3dOptions(3).padding("SAME")); },
     "Invalid padding string: 'SAME'"},
    {"module_pool_pairs", [] { SamePadAvgPool2d(SamePadAvgPool2dOptions(3).padding({{0, 1}})); },
     "but got padding=((0, 1),)"},
    {"module_pool_kernel", [] { SamePadMaxPool2d(0)(input()); },
     "expected kernel_size to be at least 1"},
    {"module_pool_stride", [] { SamePadAvgPool2d(SamePadAvgPool2dOptions(2).stride(0))(input()); },
     "expected stride to be at least 1"},
    {"module_depthwise_groups",
     [] { SamePadDepthwiseConv2d(SamePadDepthwiseConv2dOptions(4, 3).groups(2)); },
     "a depthwise convolution has a group for each of its 4 channels, but got groups=2"},
    {"module_depthwise_plain_options",
     [] { SamePadDepthwiseConv1d(SamePadConv1dOptions(4, 6, 3)); },
     "a depthwise convolution has a group for each of its 4 channels, but got groups=1"},
    {"module_depthwise_channels", [] { SamePadDepthwiseConv2d(0, 3); },
     "must be positive integers, but got 0, 0 and 0"},
    {"module_depthwise_multiplier",
     [] { SamePadDepthwiseConv2d(SamePadDepthwiseConv2dOptions(4, 3, 0)); },
     "depth_multiplier must be at least 1, but got 0"},
    {"module_depthwise_causal",
     [] { SamePadDepthwiseConv2d(SamePadDepthwiseConv2dOptions(4, 3).padding(PadMode::causal)); },
     "padding='causal' is for SamePadConv1d alone"},
    {"module_separable_channels", [] { SamePadSeparableConv1d(4, 0, 3); },
     "must be positive integers, but got 4, 0 and 1"},
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
    {"module_padding_modes_count",
     [] { SamePadConv2d(SamePadConv2dOptions(4, 6, 3).padding({"same", "same", "same"})); },
     "expected padding to be a mode or a list of 2 modes, but got padding=(same, same, same)"},
    {"module_pool_causal_dimension",
     [] { SamePadMaxPool2d(SamePadMaxPool2dOptions(3).padding({"causal", "same"})); },
     "padding='causal' is for convolutions alone, but got padding=(causal, same) in a pool"},
    {"module_transposed_output_padding_of_a_mode",
     [] {
       SamePadConvTranspose2d(
           SamePadConvTranspose2dOptions(4, 6, 3).padding({"valid", "same"}).output_padding(1));
     },
     "with padding='(valid, same)' call the module with an output_size"},
    {"module_padding_count",
     [] { SamePadConv2d(SamePadConv2dOptions(4, 6, 3).padding({1, 2, 3})); },
     "but got padding=(1, 2, 3)"},
    {"module_stride", [] { SamePadConv2d(SamePadConv2dOptions(4, 6, 3).stride(0))(input()); },
     "expected stride to be at least 1"},
};

/// Passes if `call` throws a c10::Error whose message contains `expected`.
void expect_error(const std::function<void()>& call, const std::string& expected) {
  try {
    call();
    FAIL() << "nothing was thrown";
  } catch (const c10::Error& error) {
    const std::string message = error.what_without_backtrace();
    EXPECT_NE(message.find(expected), std::string::npos)
        << "expected: " << expected << "\n     got: " << message;
  }
}

class BadInput : public ::testing::TestWithParam<Row> {};

TEST_P(BadInput, IsAClearError) { expect_error(GetParam().call, GetParam().message); }

INSTANTIATE_TEST_SUITE_P(Table, BadInput, ::testing::ValuesIn(kRows),
                         [](const auto& info) { return std::string(info.param.name); });

/// The arguments that all operators share, for any number of dimensions.
struct Arguments {
  at::Tensor input;
  std::vector<int64_t> kernel;
  std::vector<int64_t> stride{1};
  std::vector<int64_t> dilation{1};
  Padding padding = "same";
  at::ScalarType weight_type = at::kFloat;

  explicit Arguments(int64_t dimensions)
      : input(at::ones(sizes(4, dimensions, 8))), kernel(dimensions, 3) {}

  static std::vector<int64_t> sizes(int64_t channels, int64_t dimensions, int64_t size) {
    std::vector<int64_t> result(dimensions + 2, size);
    result[0] = 2;
    result[1] = channels;
    return result;
  }

  at::Tensor weight(int64_t first, int64_t second) const {
    std::vector<int64_t> result{first, second};
    result.insert(result.end(), kernel.begin(), kernel.end());
    return at::ones(result, weight_type);
  }
};

enum Family : uint8_t {
  kConv = 1,
  kTransposed = 2,
  kMaximum = 4,
  kIndices = 8,
  kAvg = 16,
  kMaxPools = kMaximum | kIndices,
  kPools = kMaxPools | kAvg,
  kConvs = kConv | kTransposed,
  kAll = kPools | kConvs,
};

std::string operator_name(Family family, int64_t dimensions) {
  const std::string size = std::to_string(dimensions) + "d";
  switch (family) {
    case kConv:
      return "conv" + size;
    case kTransposed:
      return "conv_transpose" + size;
    case kMaximum:
      return "max_pool" + size;
    case kIndices:
      return "max_pool" + size + "_with_indices";
    default:
      return "avg_pool" + size;
  }
}

void call(Family family, int64_t dimensions, const Arguments& a) {
  constexpr decltype(&conv2d) kConvolutions[] = {conv1d, conv2d, conv3d};
  constexpr decltype(&conv_transpose2d) kTransposes[] = {conv_transpose1d, conv_transpose2d,
                                                         conv_transpose3d};
  constexpr decltype(&max_pool2d) kMaxima[] = {max_pool1d, max_pool2d, max_pool3d};
  constexpr decltype(&max_pool2d_with_indices) kWithIndices[] = {
      max_pool1d_with_indices, max_pool2d_with_indices, max_pool3d_with_indices};
  const int64_t i = dimensions - 1;
  switch (family) {
    case kConv:
      kConvolutions[i](a.input, a.weight(6, 4), {}, a.stride, a.padding, a.dilation, 1, "zeros");
      break;
    case kTransposed:
      kTransposes[i](a.input, a.weight(4, 6), {}, a.stride, a.padding, 0, 1, a.dilation, {});
      break;
    case kMaximum:
      kMaxima[i](a.input, a.kernel, a.stride, a.padding, a.dilation, false);
      break;
    case kIndices:
      kWithIndices[i](a.input, a.kernel, a.stride, a.padding, a.dilation, false);
      break;
    default:
      if (dimensions == 1) {
        avg_pool1d(a.input, a.kernel, a.stride, a.padding);
      } else {
        (dimensions == 2 ? avg_pool2d : avg_pool3d)(a.input, a.kernel, a.stride, a.padding, false,
                                                    {}, {});
      }
  }
}

/// One wrong argument, the families of operators that reject it, and what their errors say.
struct Mistake {
  const char* name;
  int families;
  std::function<void(Arguments&, int64_t dimensions)> make;
  /// The expected message, in which $D stands for the number of dimensions and $name for the
  /// operator.
  const char* message;
};

const Mistake kMistakes[] = {
    {"no_input", kAll, [](Arguments& a, int64_t) { a.input = at::Tensor(); }, "expected input"},
    {"too_few_dimensions", kAll, [](Arguments& a, int64_t) { a.input = a.input[0][0]; },
     "input to $name, but got input of size"},
    {"too_many_dimensions", kAll, [](Arguments& a, int64_t) { a.input = a.input.unsqueeze(0); },
     "input to $name, but got input of size: [1, 2, 4, 8"},
    {"kernel_zero", kAll, [](Arguments& a, int64_t) { a.kernel.back() = 0; },
     "expected kernel_size to be at least 1, but got kernel_size=["},
    {"kernel_negative", kPools, [](Arguments& a, int64_t) { a.kernel.back() = -3; },
     "expected kernel_size to be at least 1, but got kernel_size=["},
    {"kernel_count", kPools, [](Arguments& a, int64_t d) { a.kernel.resize(d + 1, 3); },
     "expected kernel_size to be a single integer value or a list of $D values"},
    {"kernel_missing", kPools, [](Arguments& a, int64_t) { a.kernel.clear(); },
     "expected kernel_size to be a single integer value or a list of $D values"},
    {"kernel_too_large", kPools, [](Arguments& a, int64_t) { a.kernel.back() = kMax; },
     "expected kernel_size to be at most 2147483647"},
    {"stride_zero", kAll, [](Arguments& a, int64_t d) { a.stride = std::vector<int64_t>(d, 0); },
     "expected stride to be at least 1, but got stride=["},
    {"stride_negative", kAll, [](Arguments& a, int64_t) { a.stride = {-1}; },
     "expected stride to be at least 1, but got stride=[-1]"},
    {"stride_count", kAll,
     [](Arguments& a, int64_t d) { a.stride = std::vector<int64_t>(d + 1, 1); },
     "expected stride to be a single integer value or a list of $D values"},
    {"stride_missing", kConvs, [](Arguments& a, int64_t) { a.stride.clear(); },
     "expected stride to be a single integer value or a list of $D values"},
    {"stride_too_large", kPools | kTransposed, [](Arguments& a, int64_t) { a.stride = {kMax}; },
     "expected stride to be at most 2147483647"},
    {"dilation_zero", kAll & ~kAvg, [](Arguments& a, int64_t) { a.dilation = {0}; },
     "expected dilation to be at least 1, but got dilation=[0]"},
    {"dilation_negative", kAll & ~kAvg, [](Arguments& a, int64_t) { a.dilation = {-2}; },
     "expected dilation to be at least 1, but got dilation=[-2]"},
    {"dilation_count", kAll & ~kAvg,
     [](Arguments& a, int64_t d) { a.dilation = std::vector<int64_t>(d + 1, 1); },
     "expected dilation to be a single integer value or a list of $D values"},
    {"dilation_too_large", kMaxPools | kTransposed,
     [](Arguments& a, int64_t) { a.dilation = {kMax}; },
     "expected dilation to be at most 2147483647"},
    {"dilation_overflows", kConv, [](Arguments& a, int64_t) { a.dilation = {kMax}; },
     "spans more elements than int64 can count"},
    {"padding_causal", kPools | kTransposed,
     [](Arguments& a, int64_t) { a.padding = PadMode::causal; },
     "padding='causal' is for conv1d alone, but got it in $name"},
    {"padding_causal_dimension", kPools | kTransposed,
     [](Arguments& a, int64_t d) {
       std::vector<PadMode> modes(d, PadMode::same);
       modes.back() = PadMode::causal;
       a.padding = modes;
     },
     "padding='causal' is for conv"},
    {"padding_modes_count", kAll,
     [](Arguments& a, int64_t d) { a.padding = std::vector<PadMode>(d + 1, PadMode::same); },
     "expected padding to be a mode or a list of $D modes, but got padding=('same', 'same'"},
    {"padding_no_modes", kAll, [](Arguments& a, int64_t) { a.padding = std::vector<PadMode>{}; },
     "Invalid padding string: ''"},
    {"padding_count", kAll,
     [](Arguments& a, int64_t d) { a.padding = std::vector<int64_t>(d + 1, 0); },
     "expected padding to be a mode, a list of $D modes, a single integer, a list of $D integers"},
    {"padding_pairs_count", kAll,
     [](Arguments& a, int64_t d) { a.padding = std::vector<Padding::Pair>(d + 1); },
     "expected padding to be a mode, a list of $D modes, a single integer, a list of $D integers"},
    {"padding_negative", kAll, [](Arguments& a, int64_t) { a.padding = -1; },
     "negative padding is not supported"},
    {"padding_negative_pair", kAll & ~kConv,
     [](Arguments& a, int64_t d) { a.padding = std::vector<Padding::Pair>(d, {0, -1}); },
     "negative padding is not supported in $name, but got padding=(0, -1)"},
    {"padding_pair_too_long", kPools,
     [](Arguments& a, int64_t d) { a.padding = std::vector<Padding::Pair>(d, {3, 0}); },
     "to be at most 2 elements, as the kernel spans 3, but got padding (3, 0)"},
    {"padding_pair_overflows", kPools,
     [](Arguments& a, int64_t d) { a.padding = std::vector<Padding::Pair>(d, {kMax, kMax}); },
     "to be at most 2 elements"},
    {"padding_over_half_the_kernel", kPools, [](Arguments& a, int64_t) { a.padding = 2; },
     "at most half"},
    {"padding_crops_all", kTransposed, [](Arguments& a, int64_t) { a.padding = 5; },
     "leaves nothing of the 10 elements"},
    {"padding_crops_more_than_can_be_counted", kTransposed,
     [](Arguments& a, int64_t d) { a.padding = std::vector<Padding::Pair>(d, {kMax, kMax}); },
     "leaves nothing of the 10 elements"},
    {"padding_overflows", kConv, [](Arguments& a, int64_t) { a.padding = kMax; },
     "makes the input larger than int64 can count"},
    {"channels", kConvs,
     [](Arguments& a, int64_t d) { a.input = at::ones(Arguments::sizes(5, d, 8)); },
     "expected input to have 4 channels"},
    {"weight_type", kConvs, [](Arguments& a, int64_t) { a.weight_type = at::kDouble; },
     "Input type (Float) and weight type (Double) should be the same"},
    {"integers", kConvs,
     [](Arguments& a, int64_t) {
       a.input = a.input.to(at::kLong);
       a.weight_type = at::kLong;
     },
     "Expected input of a floating point or complex type, but got Long"},
};

class EveryOperator : public ::testing::TestWithParam<std::tuple<Family, int64_t>> {};

TEST_P(EveryOperator, RefusesMistakes) {
  const auto& [family, dimensions] = GetParam();
  const std::pair<std::string, std::string> values[] = {
      {"$D", std::to_string(dimensions)}, {"$name", operator_name(family, dimensions)}};
  call(family, dimensions, Arguments(dimensions));  // a call without a mistake works
  for (const Mistake& mistake : kMistakes) {
    if ((mistake.families & family) == 0) {
      continue;
    }
    SCOPED_TRACE(mistake.name);
    std::string message = mistake.message;
    for (const auto& [key, value] : values) {
      for (size_t at = message.find(key); at != std::string::npos; at = message.find(key)) {
        message.replace(at, key.size(), value);
      }
    }
    Arguments arguments(dimensions);
    mistake.make(arguments, dimensions);
    expect_error([&] { call(family, dimensions, arguments); }, message);
  }
}

std::string test_name(const ::testing::TestParamInfo<std::tuple<Family, int64_t>>& info) {
  return operator_name(std::get<0>(info.param), std::get<1>(info.param));
}

INSTANTIATE_TEST_SUITE_P(Table, EveryOperator,
                         ::testing::Combine(::testing::Values(kConv, kTransposed, kMaximum,
                                                              kIndices, kAvg),
                                            ::testing::Values(1, 2, 3)),
                         test_name);

}  // namespace
}  // namespace samepad
