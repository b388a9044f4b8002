// Implements samepad::conv1d, conv2d and conv3d as composite operators, so that autograd, autocast,
// functorch, compilation and export see the ATen operators that they call.

#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>
#include <c10/util/irange.h>
#include <samepad/backends.h>
#include <samepad/conv.h>
#include <torch/library.h>

#include <array>

#include "choice/choice.h"
#include "deferred_conv.h"
#include "dispatch.h"
#include "plans/library.h"
#include "static_layer.h"

namespace samepad {
namespace {

using detail::ConvArgs;
using detail::ConvProblem;
using detail::PadList;

constexpr std::array kNames{"conv1d", "conv2d", "conv3d"};

// The two forms of the `padding` argument: the text of modes, and amounts.
using ModeText = std::string_view;
using Amounts = c10::SymIntArrayRef;

/// `deferrable` says whether a traced graph may choose the plan each time that it runs.
at::Tensor run(const ConvProblem& problem, bool deferrable) {
  return problem.as_given(deferrable && can_defer(problem)
                              ? run_deferred(problem)
                              : choose_plan(problem).plan->run(problem));
}

ConvArgs arguments(int64_t dimensions, detail::ConvTensors tensors, c10::SymIntArrayRef stride,
                   c10::SymIntArrayRef dilation, c10::SymInt groups) {
  return {kNames.at(dimensions - 1), dimensions, detail::WeightLayout::output_first,
          std::move(tensors),        stride,     dilation,
          std::move(groups)};
}

void check_modes(const ConvArgs& args, const Modes& modes) {
  detail::check_modes(modes, args.dimensions(), detail::Causal::allowed,
                      kNames.at(args.dimensions() - 1));
}

ConvProblem problem_for(const ConvArgs& args, Amounts padding, const std::string& fill) {
  return {args, detail::pads_for_amounts(args.dimensions(), padding), fill, /*as_torch=*/true};
}

at::Tensor convolve(const ConvArgs& args, Amounts padding, const std::string& fill,
                    bool deferrable) {
  return run(problem_for(args, padding, fill), deferrable);
}

/// Computes a convolution with symbolic sizes whose padding is not filled with zeros. The elements
/// that `pads_for_windows` adds beyond what the modes prescribe are filled with zeros, because the
/// input may be too short to reflect that many.
at::Tensor run_filled(const ConvArgs& args, const Modes& modes, const std::string& fill,
                      bool deferrable) {
  const PadList pads = pads_for_modes(args, modes);
  check_fill(args, pads, fill);
  ConvArgs filled = args;
  filled.input = detail::add_padding(args.input, pads, fill);
  PadList rest = pads_for_windows(args, modes);
  for (const auto i : c10::irange(args.dimensions())) {
    rest[i] = {0, rest[i].after - pads[i].after};
  }
  return run({filled, rest, "constant", /*as_torch=*/false}, deferrable);
}

at::Tensor convolve(const ConvArgs& args, ModeText padding, const std::string& fill,
                    bool deferrable) {
  const Modes modes = Modes::from_text(padding);
  check_modes(args, modes);
  if (is_filled(args, modes)) {
    PadList pads = pads_for_windows(args, modes);
    ConvArgs filled = args;
    fill_empty(filled, modes, pads);
    return drop_filled(args, modes, run({filled, pads, fill, /*as_torch=*/false}, deferrable));
  }
  if (fill != "constant" && !detail::are_known(pads_for_modes(args, modes))) {
    return run_filled(args, modes, fill, deferrable);
  }
  return run(ConvProblem::of_modes(args, modes, fill), deferrable);
}

template <int64_t D, class PaddingArg, bool Deferrable = false>
at::Tensor conv(const at::Tensor& input, const at::Tensor& weight,
                const std::optional<at::Tensor>& bias, c10::SymIntArrayRef stride,
                PaddingArg padding, c10::SymIntArrayRef dilation, c10::SymInt groups,
                std::string_view padding_mode) {
  return convolve(arguments(D, detail::to_be_computed({input, weight, bias}), stride, dilation,
                            std::move(groups)),
                  padding, detail::fill_name(padding_mode), Deferrable);
}

template <int64_t D>
at::Tensor call(const at::Tensor& input, const at::Tensor& weight,
                const std::optional<at::Tensor>& bias, at::IntArrayRef stride,
                const Padding& padding, at::IntArrayRef dilation, int64_t groups,
                std::string_view padding_mode) {
  const auto sym_stride = c10::fromIntArrayRefSlow(stride);
  const auto sym_dilation = c10::fromIntArrayRefSlow(dilation);
  if (const Modes* modes = padding.modes()) {
    static const auto op = detail::find_operator<decltype(conv<D, ModeText>)>(kNames[D - 1], "");
    return op.call(input, weight, bias, sym_stride, modes->text(), sym_dilation, groups,
                   padding_mode);
  }
  static const auto op =
      detail::find_operator<decltype(conv<D, Amounts>)>(kNames[D - 1], "padding");
  return op.call(input, weight, bias, sym_stride, c10::fromIntArrayRefSlow(padding.amounts(D)),
                 sym_dilation, groups, padding_mode);
}

template <int64_t D, bool Deferrable>
void register_conv(torch::Library& m, const std::string& name) {
  m.impl(name.c_str(), conv<D, ModeText, Deferrable>);
  m.impl((name + ".padding").c_str(), conv<D, Amounts, Deferrable>);
}

void register_kernels(torch::Library& m) {
  register_conv<1, false>(m, "conv1d");
  register_conv<2, false>(m, "conv2d");
  register_conv<3, false>(m, "conv3d");
  register_conv<1, true>(m, "compiled_conv1d");
  register_conv<2, true>(m, "compiled_conv2d");
  register_conv<3, true>(m, "compiled_conv3d");
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
                             std::string_view padding_mode, bool is_fused) {
  TORCH_CHECK(weight.defined() && weight.dim() >= 3 && weight.dim() <= 5,
              "expected the weight of a convolution in 1, 2 or 3 dimensions, but got ",
              weight.defined() ? std::to_string(weight.dim()) + "D weight" : "none");
  const int64_t dimensions = weight.dim() - 2;
  const ConvArgs args =
      arguments(dimensions, detail::cast_for_autocast({input, weight, bias}),
                c10::fromIntArrayRefSlow(stride), c10::fromIntArrayRefSlow(dilation), groups);
  TORCH_CHECK(!input.unsafeGetTensorImpl()->has_symbolic_sizes_strides() && input.numel() > 0,
              "expected an input with elements, but got input of size: ", input.sym_sizes());
  const std::string fill = detail::fill_name(padding_mode);
  const Modes* const modes = padding.modes();
  if (modes != nullptr) {
    check_modes(args, *modes);
  }
  const ConvProblem problem =
      modes != nullptr
          ? ConvProblem::of_modes(args, *modes, fill)
          : problem_for(args, c10::fromIntArrayRefSlow(padding.amounts(dimensions)), fill);
  const auto [plan, reason] =
      choose_plan(problem, is_fused ? detail::Purpose::fused_inference : purpose_of(problem));
  ConvExplanation result{plan->name,
                         reason,
                         {problem.known_pads.begin(), problem.known_pads.end()},
                         {},
                         plan->bytes_copied(problem),
                         // Each output element takes a multiplication and an addition for each
                         // weight of its filter.
                         2};
  if (args.batched) {
    result.output_size.push_back(input.size(0));
  }
  result.output_size.push_back(weight.size(0));
  for (const int64_t size : problem.output_size()) {
    result.output_size.push_back(size);
  }
  for (const int64_t size : result.output_size) {
    result.flops = saturating_product(result.flops, size);
  }
  for (const int64_t size : weight.sizes().slice(1)) {
    result.flops = saturating_product(result.flops, size);
  }
  return result;
}

std::vector<detail::PlanWork> detail::works_of_same_conv(const at::Tensor& input,
                                                         const at::Tensor& weight,
                                                         at::IntArrayRef stride,
                                                         at::IntArrayRef dilation, int64_t groups) {
  const ConvArgs args =
      arguments(weight.dim() - 2, {input, weight, std::nullopt}, c10::fromIntArrayRefSlow(stride),
                c10::fromIntArrayRefSlow(dilation), groups);
  const ConvProblem problem = ConvProblem::of_modes(args, PadMode::same, "constant");
  TORCH_CHECK(problem.plain && problem.has_known_pads, "expected plain tensors of known sizes");
  std::vector<PlanWork> result;
  for (const Plan* const plan : plans()) {
    if (plan->can_run(problem) && plan->advantage(problem) != nullptr) {
      const Work work = plan->work(problem);
      result.push_back({plan->name, work, estimated_time(problem, purpose_of(problem), work)});
    }
  }
  return result;
}

detail::StaticLayer detail::static_conv(at::IntArrayRef input_size, at::IntArrayRef kernel_size,
                                        at::IntArrayRef stride, at::IntArrayRef dilation,
                                        const Padding& padding, std::string_view padding_mode) {
  const auto of_size = [](at::IntArrayRef spatial) {
    std::vector<int64_t> sizes{1, 1};
    sizes.insert(sizes.end(), spatial.begin(), spatial.end());
    return at::empty(sizes, at::TensorOptions(at::kMeta));
  };
  const auto dimensions = static_cast<int64_t>(input_size.size());
  const ConvArgs args =
      arguments(dimensions, {of_size(input_size), of_size(kernel_size), std::nullopt},
                c10::fromIntArrayRefSlow(stride), c10::fromIntArrayRefSlow(dilation), 1);
  const PadList pads = pads_for(args, padding);
  // nn.Conv*d itself adds equal amounts on both sides, in every padding mode.
  const bool equal =
      std::ranges::all_of(pads, [](const auto& pad) { return pad.before == pad.after; });
  const LibraryCall call =
      library_call({args, pads, equal ? "constant" : fill_name(padding_mode), /*as_torch=*/false},
                   /*fault=*/nullptr);
  return {.padding = call.inside, .pads = expect_known(call.copied)};
}

SAMEPAD_REGISTER_COMPOSITE(register_kernels)

}  // namespace samepad
