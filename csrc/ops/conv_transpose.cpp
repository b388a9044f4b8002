// Implements samepad::conv_transpose1d, conv_transpose2d and conv_transpose3d as composite
// operators over PyTorch's transposed convolutions.

#include <ATen/core/Tensor.h>
#include <ATen/ops/add.h>
#include <ATen/ops/conv_transpose1d_ops.h>
#include <ATen/ops/conv_transpose2d_ops.h>
#include <ATen/ops/conv_transpose3d_ops.h>
#include <c10/util/Exception.h>
#include <c10/util/irange.h>
#include <samepad/conv_transpose.h>
#include <torch/library.h>

#include <algorithm>
#include <array>
#include <limits>

#include "autograd/plain_convolution.h"
#include "dispatch.h"
#include "plans/library_faults.h"
#include "plans/own.h"
#include "static_layer.h"

namespace samepad {
namespace {

using detail::ConvArgs;
using detail::Dims;
using detail::PadList;
using detail::SymDims;

constexpr std::array kNames{"conv_transpose1d", "conv_transpose2d", "conv_transpose3d"};

struct TransposedArgs : ConvArgs {
  /// Empty if the other arguments determine the sizes.
  SymDims output_size;
  Dims output_padding;

  /// The length of the full result in dimension i.
  c10::SymInt full_size(int64_t i) const { return (size(i) - 1) * stride[i] + extent(i); }
};

/// How one dimension of the full result is cut: what to crop from both sides, and the number of
/// elements to append afterwards, which contain only the bias.
struct Cut {
  Pads<c10::SymInt> crop;
  c10::SymInt tail;
};
using CutList = c10::SmallVector<Cut, 3>;

/// Throws if an output size is not in [least, most].
void check_output_size(const TransposedArgs& args, int64_t i, const c10::SymInt& least,
                       const c10::SymInt& most) {
  const c10::SymInt& size = args.output_size[i];
  TORCH_SYM_CHECK(least.sym_le(size).sym_and(size.sym_le(most)), "expected output_size to be from ",
                  least, " to ", most, " in spatial dimension ", i, ", for ", args.size(i),
                  " input elements with stride ", args.stride[i],
                  ", but got output_size=", c10::SymIntArrayRef(args.output_size));
}

/// SAME, where the result is the gradient of the SAME convolution that turns m elements into n.
Cut cut_for_mode(const TransposedArgs& args, int64_t i, PadMode mode) {
  const int64_t stride = args.stride[i];
  const int64_t extent = args.extent(i);
  if (args.output_size.empty()) {
    const auto crop = transposed_crop(mode, extent, stride);
    return {{crop.before, crop.after}, std::max<int64_t>(0, stride - extent)};
  }
  const c10::SymInt n = args.size(i);
  const c10::SymInt m = args.output_size[i];
  check_output_size(args, i, args.is_empty(i) ? c10::SymInt(0) : (n - 1) * stride + 1, n * stride);
  const auto known_size = m.maybe_as_int();
  const auto crop = known_size ? [&] {
    const auto amounts = mode_pads(mode, *known_size, extent, stride);
    return Pads<c10::SymInt>{amounts.before, amounts.after};
  }()
                               : mode_pads(mode, m, extent, stride);
  // With the full result's size F and the crop C = max(0, F - m), the tail m - F + C is max(0, m -
  // F).
  return {crop, m - args.full_size(i) + crop.before + crop.after};
}

/// Amounts, where the tail is PyTorch's `output_padding` or follows from `output_size`.
Cut cut_for_amounts(const TransposedArgs& args, int64_t i, const Pads<int64_t>& crop) {
  const int64_t longest = std::max(args.stride[i], args.dilation[i]) - 1;
  TORCH_CHECK(args.output_padding[i] <= longest,
              "expected output_padding to be smaller than stride or dilation, ", args.stride[i],
              " and ", args.dilation[i], " in spatial dimension ", i,
              ", but got output_padding=", at::IntArrayRef(args.output_padding));
  const auto full = args.full_size(i).maybe_as_int();
  const int64_t tail = args.output_size.empty() ? args.output_padding[i] : args.stride[i] - 1;
  // The amounts are compared one at a time because their sum might overflow.
  TORCH_CHECK(!full || (crop.before < *full + tail && crop.after < *full + tail - crop.before),
              "padding (", crop.before, ", ", crop.after, ") in spatial dimension ", i,
              " leaves nothing of the ", *full, " elements of the transposed convolution");
  const Pads<c10::SymInt> amounts{crop.before, crop.after};
  if (args.output_size.empty()) {
    return {amounts, tail};
  }
  const c10::SymInt least = args.full_size(i) - crop.before - crop.after;
  const auto known_least = least.maybe_as_int();
  check_output_size(args, i, known_least ? c10::SymInt(std::max<int64_t>(*known_least, 1)) : least,
                    least + (args.stride[i] - 1));
  return {amounts, args.output_size[i] - least};
}

at::Tensor convolve(const TransposedArgs& args, const SymDims& padding,
                    const SymDims& output_padding) {
  const SymDims stride(args.stride.begin(), args.stride.end());
  const SymDims dilation(args.dilation.begin(), args.dilation.end());
  if (args.plain && args.input.is_floating_point()) {
    return detail::plain_convolution({args.input, args.weight, args.bias},
                                     {stride, padding, dilation, output_padding},
                                     /*transposed=*/true, args.groups);
  }
  const auto run = args.dimensions() == 1   ? at::_ops::conv_transpose1d::call
                   : args.dimensions() == 2 ? at::_ops::conv_transpose2d_input::call
                                            : at::_ops::conv_transpose3d_input::call;
  return run(args.input, args.weight, args.bias, stride, padding, output_padding, args.groups,
             dilation);
}

/// How PyTorch computes one dimension, and which part of its result to keep, if not all of it.
struct Call {
  c10::SymInt padding;
  c10::SymInt output_padding;
  std::optional<detail::Part> part;
};

Call call_for(const TransposedArgs& args, int64_t i, const Pads<int64_t>& crop,
              const c10::SymInt& tail) {
  const auto fit = fit_transposed(args.stride[i], args.dilation[i], crop, tail);
  Call call{fit.padding, fit.output_padding, std::nullopt};
  if (fit.skipped > 0 || fit.dropped > 0) {
    call.part = {args.axis(i), fit.skipped,
                 fit.dropped > 0 ? -fit.dropped : std::numeric_limits<int64_t>::max()};
  }
  return call;
}

/// A symbolic output size has a symbolic crop. PyTorch crops the amount that every output size has
/// in common, and the rest is sliced off its result.
Call call_for_any_size(const TransposedArgs& args, int64_t i, const Pads<c10::SymInt>& crop) {
  const auto shared = transposed_crop(PadMode::same, args.extent(i), args.stride[i]);
  const c10::SymInt start = crop.before - shared.before;
  return {shared.before, std::max<int64_t>(0, args.stride[i] - args.extent(i)),
          detail::Part{args.axis(i), start, start + args.output_size[i]}};
}

bool is_known(const Cut& cut) {
  return detail::known(cut.crop).has_value() && cut.tail.maybe_as_int().has_value();
}

/// The output's sizes. None of the cuts may be symbolic.
Dims output_sizes(const TransposedArgs& args, const CutList& cuts) {
  Dims sizes;
  for (const auto i : c10::irange(args.dimensions())) {
    const auto& [crop, tail] = cuts[i];
    sizes.push_back((args.full_size(i) - crop.before - crop.after + tail).expect_int());
  }
  return sizes;
}

/// Whether PyTorch would compute this wrongly. It computes a transposed convolution as the gradient
/// of a convolution of the output, so that convolution is checked.
bool is_faulty(const TransposedArgs& args, const CutList& cuts) {
  if (!std::ranges::all_of(cuts, is_known) ||
      args.input.unsafeGetTensorImpl()->has_symbolic_sizes_strides() ||
      args.weight.unsafeGetTensorImpl()->has_symbolic_sizes_strides()) {
    return false;
  }
  detail::KnownPads pads;
  for (const auto& [crop, tail] : cuts) {
    pads.push_back({crop.before.expect_int(), (crop.after - tail).expect_int()});
  }
  // The output itself is a gradient, so this fault matters without training too.
  return detail::has_faulty_stride(args.weight, args.stride) ||
         detail::library_fault(detail::purpose_of(args), args.input, args.weight,
                               output_sizes(args, cuts), args.stride, args.dilation,
                               pads) != nullptr;
}

/// Uses a transposed convolution that PyTorch computes correctly. It computes the full result, from
/// which the output is cut; its tensors are contiguous, and a dimension with one element has no
/// stride.
at::Tensor run_without_fault(const TransposedArgs& args, const CutList& cuts) {
  TransposedArgs call = args;
  const auto given = args.input.scalar_type();
  const auto type = detail::precision_without_fault(args.weight, args.stride);
  call.input = detail::plainly_contiguous(args.input).to(type);
  call.weight = detail::plainly_contiguous(args.weight).to(type);
  call.bias = std::nullopt;
  PadList pads;
  for (const auto i : c10::irange(args.dimensions())) {
    const auto& [crop, tail] = cuts[i];
    pads.push_back({-crop.before, tail - crop.after});
    if (args.size(i) == 1) {
      call.stride[i] = 1;
    }
  }
  const SymDims none(args.dimensions(), 0);
  at::Tensor output = detail::add_padding(convolve(call, none, none).to(given), pads, "constant");
  if (args.bias) {
    SymDims shape(args.dimensions() + 1, 1);
    shape[0] = -1;
    output = at::add(output, args.bias->view_symint(shape));
  }
  const at::MemoryFormat format = args.output_format();
  return args.plain && format != at::MemoryFormat::Contiguous ? output.clone(format)
                                                              : output.contiguous();
}

at::Tensor run(const TransposedArgs& args, const CutList& cuts) {
  SymDims padding;
  SymDims output_padding;
  std::vector<detail::Part> parts;
  for (const auto i : c10::irange(args.dimensions())) {
    const auto& [crop, tail] = cuts[i];
    const auto amounts = detail::known(crop);
    const Call call =
        amounts ? call_for(args, i, *amounts, tail) : call_for_any_size(args, i, crop);
    padding.push_back(call.padding);
    output_padding.push_back(call.output_padding);
    if (call.part) {
      parts.push_back(*call.part);
    }
  }
  const bool faulty = is_faulty(args, cuts);
  if ((faulty || !parts.empty()) && args.plain && std::ranges::all_of(cuts, is_known)) {
    const Dims output_size = output_sizes(args, cuts);
    Dims before;
    for (const auto& cut : cuts) {
      before.push_back(cut.crop.before.expect_int());
    }
    if (own_can_run_transposed(args, output_size, before)) {
      return own_run_transposed(args, output_size, before);
    }
  }
  if (faulty) {
    return run_without_fault(args, cuts);
  }
  return detail::dense_part(convolve(args, padding, output_padding), parts);
}

void check_countable(const TransposedArgs& args) {
  for (const auto i : c10::irange(args.dimensions())) {
    const auto n = args.size(i).maybe_as_int();
    int64_t size = 0;
    TORCH_CHECK(!n || (!__builtin_mul_overflow(*n, args.stride[i], &size) &&
                       !__builtin_add_overflow(size, args.extent(i), &size)),
                "stride=", args.stride[i], " makes the output of ", n.value_or(0),
                " elements larger than int64 can count");
  }
}

at::Tensor run_modes(const TransposedArgs& args, const Modes& modes) {
  const char* function = kNames.at(args.dimensions() - 1);
  detail::check_modes(modes, args.dimensions(), detail::Causal::refused, function);
  CutList cuts;
  for (const auto i : c10::irange(args.dimensions())) {
    TORCH_CHECK(modes[i] == PadMode::valid || args.output_padding[i] == 0,
                "output_padding is for amounts of padding; with padding=", detail::quoted(modes),
                " give ", function,
                " an output_size, but got output_padding=", at::IntArrayRef(args.output_padding));
    cuts.push_back(modes[i] == PadMode::valid ? cut_for_amounts(args, i, {0, 0})
                                              : cut_for_mode(args, i, modes[i]));
  }
  if (!is_filled(args, modes)) {
    return args.as_given(run(args, cuts));
  }
  TransposedArgs filled = args;
  PadList pads;
  for (const auto& cut : cuts) {
    pads.push_back(cut.crop);
  }
  fill_empty(filled, modes, pads);
  for (const auto i : c10::irange(args.dimensions())) {
    if (is_filled(args, modes, i)) {
      cuts[i] = {pads[i], 0};
    }
  }
  return args.as_given(drop_filled(args, modes, run(filled, cuts)));
}

template <int64_t D>
TransposedArgs arguments(const at::Tensor& input, const at::Tensor& weight,
                         const std::optional<at::Tensor>& bias, c10::SymIntArrayRef stride,
                         c10::SymIntArrayRef output_padding, c10::SymInt groups,
                         c10::SymIntArrayRef dilation, at::OptionalSymIntArrayRef output_size) {
  TransposedArgs args{
      ConvArgs(kNames[D - 1], D, detail::WeightLayout::input_first,
               detail::to_be_computed({input, weight, bias}), stride, dilation, std::move(groups)),
      {},
      detail::expand("output_padding", output_padding, D, {.least = 0})};
  check_countable(args);
  if (output_size.has_value()) {
    const auto count = static_cast<int64_t>(output_size->size());
    TORCH_CHECK(count == 1 || count == D,
                "expected output_size to be a single integer value or a list of ", D,
                " values to match the spatial dimensions, but got output_size=", *output_size);
    for (const auto i : c10::irange(D)) {
      args.output_size.push_back((*output_size)[count == 1 ? 0 : i]);
    }
    for (const int64_t extra : args.output_padding) {
      TORCH_CHECK(extra == 0, "expected output_size or output_padding, but got both: output_size=",
                  *output_size, " and output_padding=", output_padding);
    }
  }
  return args;
}

template <int64_t D>
at::Tensor conv_transpose_mode(const at::Tensor& input, const at::Tensor& weight,
                               const std::optional<at::Tensor>& bias, c10::SymIntArrayRef stride,
                               std::string_view padding, c10::SymIntArrayRef output_padding,
                               c10::SymInt groups, c10::SymIntArrayRef dilation,
                               at::OptionalSymIntArrayRef output_size) {
  return run_modes(arguments<D>(input, weight, bias, stride, output_padding, std::move(groups),
                                dilation, output_size),
                   Modes::from_text(padding));
}

template <int64_t D>
at::Tensor conv_transpose_amounts(const at::Tensor& input, const at::Tensor& weight,
                                  const std::optional<at::Tensor>& bias, c10::SymIntArrayRef stride,
                                  c10::SymIntArrayRef padding, c10::SymIntArrayRef output_padding,
                                  c10::SymInt groups, c10::SymIntArrayRef dilation,
                                  at::OptionalSymIntArrayRef output_size) {
  const auto args = arguments<D>(input, weight, bias, stride, output_padding, std::move(groups),
                                 dilation, output_size);
  const PadList pads = detail::pads_for_amounts(D, padding);
  detail::check_not_negative(kNames[D - 1], pads);
  CutList cuts;
  for (const auto i : c10::irange(D)) {
    // Symbolic amounts are specialised, because a graph is for one padding.
    const auto amount = [](const c10::SymInt& a) { return a.guard_int(__FILE__, __LINE__); };
    cuts.push_back(cut_for_amounts(args, i, {amount(pads[i].before), amount(pads[i].after)}));
  }
  return args.as_given(run(args, cuts));
}

template <int64_t D>
at::Tensor dispatch(const at::Tensor& input, const at::Tensor& weight,
                    const std::optional<at::Tensor>& bias, at::IntArrayRef stride,
                    const Padding& padding, at::IntArrayRef output_padding, int64_t groups,
                    at::IntArrayRef dilation, at::OptionalIntArrayRef output_size) {
  const auto sym_stride = c10::fromIntArrayRefSlow(stride);
  const auto sym_dilation = c10::fromIntArrayRefSlow(dilation);
  const auto sym_output_padding = c10::fromIntArrayRefSlow(output_padding);
  const auto sym_output_size =
      output_size ? at::OptionalSymIntArrayRef(c10::fromIntArrayRefSlow(*output_size))
                  : std::nullopt;
  if (const Modes* modes = padding.modes()) {
    static const auto op =
        detail::find_operator<decltype(conv_transpose_mode<D>)>(kNames[D - 1], "");
    return op.call(input, weight, bias, sym_stride, modes->text(), sym_output_padding, groups,
                   sym_dilation, sym_output_size);
  }
  static const auto op =
      detail::find_operator<decltype(conv_transpose_amounts<D>)>(kNames[D - 1], "padding");
  return op.call(input, weight, bias, sym_stride, c10::fromIntArrayRefSlow(padding.amounts(D)),
                 sym_output_padding, groups, sym_dilation, sym_output_size);
}

void register_kernels(torch::Library& m) {
  m.impl("conv_transpose1d", conv_transpose_mode<1>);
  m.impl("conv_transpose1d.padding", conv_transpose_amounts<1>);
  m.impl("conv_transpose2d", conv_transpose_mode<2>);
  m.impl("conv_transpose2d.padding", conv_transpose_amounts<2>);
  m.impl("conv_transpose3d", conv_transpose_mode<3>);
  m.impl("conv_transpose3d.padding", conv_transpose_amounts<3>);
}

}  // namespace

at::Tensor conv_transpose1d(const at::Tensor& input, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias, at::IntArrayRef stride,
                            const Padding& padding, at::IntArrayRef output_padding, int64_t groups,
                            at::IntArrayRef dilation, at::OptionalIntArrayRef output_size) {
  return dispatch<1>(input, weight, bias, stride, padding, output_padding, groups, dilation,
                     output_size);
}

at::Tensor conv_transpose2d(const at::Tensor& input, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias, at::IntArrayRef stride,
                            const Padding& padding, at::IntArrayRef output_padding, int64_t groups,
                            at::IntArrayRef dilation, at::OptionalIntArrayRef output_size) {
  return dispatch<2>(input, weight, bias, stride, padding, output_padding, groups, dilation,
                     output_size);
}

at::Tensor conv_transpose3d(const at::Tensor& input, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias, at::IntArrayRef stride,
                            const Padding& padding, at::IntArrayRef output_padding, int64_t groups,
                            at::IntArrayRef dilation, at::OptionalIntArrayRef output_size) {
  return dispatch<3>(input, weight, bias, stride, padding, output_padding, groups, dilation,
                     output_size);
}

detail::StaticLayer detail::static_conv_transpose(at::IntArrayRef input_size,
                                                  at::IntArrayRef output_size,
                                                  at::IntArrayRef kernel_size,
                                                  at::IntArrayRef stride, at::IntArrayRef dilation,
                                                  const Padding& padding) {
  const auto dimensions = static_cast<int64_t>(input_size.size());
  if (const Modes* modes = padding.modes()) {
    check_count(*modes, dimensions);
  }
  StaticLayer layer;
  for (const auto i : c10::irange(dimensions)) {
    const int64_t extent = kernel_extent(kernel_size[i], dilation[i]);
    const int64_t full = (input_size[i] - 1) * stride[i] + extent;
    const Pads<int64_t> crop =
        padding.modes() != nullptr
            ? mode_pads((*padding.modes())[i], output_size[i], extent, stride[i])
            : expect_known(pads_for_amounts(
                  dimensions, c10::fromIntArrayRefSlow(padding.amounts(dimensions))))[i];
    const auto fit = fit_transposed(stride[i], dilation[i], crop,
                                    output_size[i] - full + crop.before + crop.after);
    layer.padding.push_back(fit.padding);
    layer.output_padding.push_back(fit.output_padding);
    layer.crops.push_back({fit.skipped, fit.dropped});
  }
  return layer;
}

SAMEPAD_REGISTER_COMPOSITE(register_kernels)

}  // namespace samepad
