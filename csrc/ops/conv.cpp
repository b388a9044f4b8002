// samepad::conv1d, conv2d and conv3d: composite operators, so that autograd, autocast, functorch,
// compilation and export see the ATen operators they are made of.

#include <c10/util/Exception.h>
#include <c10/util/accumulate.h>
#include <c10/util/irange.h>
#include <samepad/backends.h>
#include <samepad/conv.h>
#include <torch/library.h>

#include <array>

#include "deferred_conv.h"
#include "dispatch.h"
#include "plan.h"

namespace samepad {
namespace {

using detail::ConvArgs;
using detail::PadList;
using detail::Plan;

/// Checks the pads and chooses the plan.
detail::Choice choose(const ConvArgs& args, const PadList& pads) {
  check_fill(args, pads, args.fill);
  check_fits(args, pads);
  const detail::Choice choice = choose_plan(args, pads);
  TORCH_CHECK(
      choice.plan == Plan::symmetric || args.input.layout() == at::kStrided,
      "padding that differs between the sides of a dimension needs a strided input, but got "
      "layout ",
      args.input.layout());
  return choice;
}

/// `mode` is what has asked for the pads, where they are symbolic.
at::Tensor run(const ConvArgs& args, const PadList& pads,
               std::optional<PadMode> mode = std::nullopt) {
  if (args.deferrable && can_defer(args, pads)) {
    return run_deferred(args, pads, mode);
  }
  return run_plan(choose(args, pads).plan, args, pads);
}

void check_mode(const ConvArgs& args, PadMode mode) {
  TORCH_CHECK(mode != PadMode::causal || args.dimensions() == 1,
              "padding='causal' is for conv1d alone, but got it in conv", args.dimensions(), "d");
}

/// Padding that is not of zeros, where sizes are symbolic. What `pads_for_windows` has more than
/// the mode asks for is added as zeros, as reflection may have no elements for it.
at::Tensor run_filled(const ConvArgs& args, PadMode mode) {
  const PadList pads = pads_for_mode(args, mode);
  check_fill(args, pads, args.fill);
  ConvArgs filled = args;
  filled.input = detail::add_padding(args.input, pads, args.fill);
  filled.fill = "constant";
  PadList rest = pads_for_windows(args, mode);
  for (const auto i : c10::irange(args.dimensions())) {
    rest[i] = {0, rest[i].after - pads[i].after};
  }
  return run(filled, rest);
}

at::Tensor run_mode(const ConvArgs& args, PadMode mode) {
  check_mode(args, mode);
  PadList pads = pads_for_windows(args, mode);
  if (mode != PadMode::valid && args.is_empty()) {
    ConvArgs filled = args;
    fill_empty(filled, pads);
    return drop_filled(args, run(filled, pads));
  }
  if (detail::are_known(pads)) {
    return run(args, pads);
  }
  return args.fill == "constant" ? run(args, pads, mode) : run_filled(args, mode);
}

constexpr std::array kNames{"conv1d", "conv2d", "conv3d"};

template <int64_t D>
ConvArgs arguments(const at::Tensor& input, const at::Tensor& weight,
                   const std::optional<at::Tensor>& bias, c10::SymIntArrayRef stride,
                   c10::SymIntArrayRef dilation, c10::SymInt groups,
                   std::string_view padding_mode) {
  ConvArgs args(kNames[D - 1], D, detail::WeightLayout::output_first, input, weight, bias, stride,
                dilation, std::move(groups));
  args.fill = detail::fill_name(padding_mode);
  return args;
}

template <int64_t D, bool Deferrable = false>
at::Tensor conv_mode(const at::Tensor& input, const at::Tensor& weight,
                     const std::optional<at::Tensor>& bias, c10::SymIntArrayRef stride,
                     std::string_view padding, c10::SymIntArrayRef dilation, c10::SymInt groups,
                     std::string_view padding_mode) {
  auto args = arguments<D>(input, weight, bias, stride, dilation, std::move(groups), padding_mode);
  const PadMode mode = *Padding(padding).mode();
  args.as_torch = mode == PadMode::valid;
  args.deferrable = Deferrable;
  return run_mode(args, mode);
}

template <int64_t D, bool Deferrable = false>
at::Tensor conv_amounts(const at::Tensor& input, const at::Tensor& weight,
                        const std::optional<at::Tensor>& bias, c10::SymIntArrayRef stride,
                        c10::SymIntArrayRef padding, c10::SymIntArrayRef dilation,
                        c10::SymInt groups, std::string_view padding_mode) {
  auto args = arguments<D>(input, weight, bias, stride, dilation, std::move(groups), padding_mode);
  args.as_torch = true;
  args.deferrable = Deferrable;
  return run(args, detail::pads_for_amounts(D, padding));
}

template <int64_t D>
at::Tensor call(const at::Tensor& input, const at::Tensor& weight,
                const std::optional<at::Tensor>& bias, at::IntArrayRef stride,
                const Padding& padding, at::IntArrayRef dilation, int64_t groups,
                std::string_view padding_mode) {
  const auto sym_stride = c10::fromIntArrayRefSlow(stride);
  const auto sym_dilation = c10::fromIntArrayRefSlow(dilation);
  if (const PadMode* mode = padding.mode()) {
    static const auto op = detail::find_operator<decltype(conv_mode<D>)>(kNames[D - 1], "");
    return op.call(input, weight, bias, sym_stride, name(*mode), sym_dilation, groups,
                   padding_mode);
  }
  static const auto op = detail::find_operator<decltype(conv_amounts<D>)>(kNames[D - 1], "padding");
  return op.call(input, weight, bias, sym_stride, c10::fromIntArrayRefSlow(padding.amounts(D)),
                 sym_dilation, groups, padding_mode);
}

void register_kernels(torch::Library& m) {
  m.impl("conv1d", conv_mode<1>);
  m.impl("conv1d.padding", conv_amounts<1>);
  m.impl("conv2d", conv_mode<2>);
  m.impl("conv2d.padding", conv_amounts<2>);
  m.impl("conv3d", conv_mode<3>);
  m.impl("conv3d.padding", conv_amounts<3>);
  m.impl("compiled_conv1d", conv_mode<1, true>);
  m.impl("compiled_conv1d.padding", conv_amounts<1, true>);
  m.impl("compiled_conv2d", conv_mode<2, true>);
  m.impl("compiled_conv2d.padding", conv_amounts<2, true>);
}

}  // namespace

at::Tensor conv1d(const at::Tensor& input, const at::Tensor& weight,
                  const std::optional<at::Tensor>& bias, at::IntArrayRef stride,
                  const Padding& padding, at::IntArrayRef dilation, int64_t groups,
                  std::string_view padding_mode) {
  return call<1>(input, weight, bias, stride, padding, dilation, groups, padding_mode);
}

at::Tensor conv2d(const at::Tensor& input, const at::Tensor& weight,
                  const std::optional<at::Tensor>& bias, at::IntArrayRef stride,
                  const Padding& padding, at::IntArrayRef dilation, int64_t groups,
                  std::string_view padding_mode) {
  return call<2>(input, weight, bias, stride, padding, dilation, groups, padding_mode);
}

at::Tensor conv3d(const at::Tensor& input, const at::Tensor& weight,
                  const std::optional<at::Tensor>& bias, at::IntArrayRef stride,
                  const Padding& padding, at::IntArrayRef dilation, int64_t groups,
                  std::string_view padding_mode) {
  return call<3>(input, weight, bias, stride, padding, dilation, groups, padding_mode);
}

ConvExplanation explain_conv(const at::Tensor& input, const at::Tensor& weight,
                             const std::optional<at::Tensor>& bias, at::IntArrayRef stride,
                             const Padding& padding, at::IntArrayRef dilation, int64_t groups,
                             std::string_view padding_mode) {
  TORCH_CHECK(weight.defined() && weight.dim() >= 3 && weight.dim() <= 5,
              "expected the weight of a convolution in 1, 2 or 3 dimensions, but got ",
              weight.defined() ? std::to_string(weight.dim()) + "D weight" : "none");
  constexpr std::array kArguments{arguments<1>, arguments<2>, arguments<3>};
  const int64_t dimensions = weight.dim() - 2;
  ConvArgs args =
      kArguments.at(dimensions - 1)(input, weight, bias, c10::fromIntArrayRefSlow(stride),
                                    c10::fromIntArrayRefSlow(dilation), groups, padding_mode);
  const PadMode* const mode = padding.mode();
  args.as_torch = mode == nullptr || *mode == PadMode::valid;
  if (mode != nullptr) {
    check_mode(args, *mode);
  }
  const PadList pads = mode != nullptr
                           ? pads_for_mode(args, *mode)
                           : detail::pads_for_amounts(
                                 dimensions, c10::fromIntArrayRefSlow(padding.amounts(dimensions)));
  TORCH_CHECK(!input.unsafeGetTensorImpl()->has_symbolic_sizes_strides() && input.numel() > 0,
              "expected an input with elements, but got input of size: ", input.sym_sizes());
  const auto [plan, reason] = choose(args, pads);
  ConvExplanation result{name(plan), reason, {}, {}, bytes_copied(plan, args, pads), 0};
  if (input.dim() == dimensions + 2) {
    result.output_size.push_back(input.size(0));
  }
  result.output_size.push_back(weight.size(0));
  for (const auto i : c10::irange(dimensions)) {
    const Pads<int64_t> amounts{pads[i].before.expect_int(), pads[i].after.expect_int()};
    result.pads.push_back(amounts);
    result.output_size.push_back(
        padded_output_size(input.size(args.axis(i)), args.extent(i), args.stride[i], amounts));
  }
  // Per output element, a multiplication and an addition for each of a filter's weights.
  result.flops = 2 * c10::multiply_integers(result.output_size) * weight.numel() / weight.size(0);
  return result;
}

SAMEPAD_REGISTER_COMPOSITE(register_kernels)

}  // namespace samepad
