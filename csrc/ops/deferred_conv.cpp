#include "deferred_conv.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/empty.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <samepad/padding_argument.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <tuple>

#include "dispatch.h"
#include "own_conv.h"
#include "plan.h"

namespace samepad::detail {
namespace {

using Mask = std::array<bool, 3>;

ConvArgs arguments(const at::Tensor& input, const at::Tensor& weight,
                   const std::optional<at::Tensor>& bias, c10::SymIntArrayRef stride,
                   c10::SymIntArrayRef dilation, const c10::SymInt& groups) {
  return {"deferred_conv",
          static_cast<int64_t>(stride.size()),
          WeightLayout::output_first,
          input,
          weight,
          bias,
          stride,
          dilation,
          groups};
}

/// The name of the mode that the pads follow from when the graph runs; none where they are given.
using ModeName = std::optional<std::string_view>;

PadList pads_of(const ConvArgs& args, ModeName mode, c10::SymIntArrayRef pads) {
  return mode ? pads_for_windows(args, *Padding(*mode).mode())
              : pads_for_amounts(args.dimensions(), pads);
}

std::vector<c10::SymInt> output_sizes(const ConvArgs& args, const PadList& pads) {
  std::vector<c10::SymInt> sizes{args.input.sym_size(0), args.weight.sym_size(0)};
  for (int64_t i = 0; i < args.dimensions(); ++i) {
    sizes.push_back(padded_output_size(args.size(i), args.extent(i), args.stride[i], pads[i]));
  }
  return sizes;
}

// On CPU: for these sizes, the plan that an eager call would have.

at::Tensor output(const at::Tensor& input, const at::Tensor& weight,
                  const std::optional<at::Tensor>& bias, ModeName mode, c10::SymIntArrayRef pads,
                  c10::SymIntArrayRef stride, c10::SymIntArrayRef dilation,
                  const c10::SymInt& groups) {
  const ConvArgs args = arguments(input, weight, bias, stride, dilation, groups);
  const PadList amounts = pads_of(args, mode, pads);
  check_fits(args, amounts);
  return run_plan(choose_plan(args, amounts).plan, args, amounts).contiguous(output_format(args));
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> gradients(
    const at::Tensor& gradient, const at::Tensor& input, const at::Tensor& weight, ModeName mode,
    c10::SymIntArrayRef pads, c10::SymIntArrayRef stride, c10::SymIntArrayRef dilation,
    const c10::SymInt& groups, Mask wanted) {
  const ConvArgs args = arguments(input, weight, std::nullopt, stride, dilation, groups);
  const PadList amounts = pads_of(args, mode, pads);
  const auto expected = output_sizes(args, amounts);
  TORCH_CHECK(gradient.sym_sizes() == c10::SymIntArrayRef(expected), "expected a gradient of size ",
              c10::SymIntArrayRef(expected), ", but got ", gradient.sizes());
  auto [x, w, b] = plan_gradients(choose_plan(args, amounts).plan, args, amounts, gradient, wanted);
  const auto format = output_format(args);
  return {wanted[0] ? x.contiguous(format) : x, wanted[1] ? w.contiguous(format) : w, b};
}

// Sizes, types and layouts alone.

at::Tensor output_like(const at::Tensor& input, const at::Tensor& weight,
                       const std::optional<at::Tensor>& bias, ModeName mode,
                       c10::SymIntArrayRef pads, c10::SymIntArrayRef stride,
                       c10::SymIntArrayRef dilation, const c10::SymInt& groups) {
  const ConvArgs args = arguments(input, weight, bias, stride, dilation, groups);
  const PadList amounts = pads_of(args, mode, pads);
  return at::empty_symint(output_sizes(args, amounts), input.options(), output_format(args));
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> gradients_like(
    const at::Tensor& gradient, const at::Tensor& input, const at::Tensor& weight,
    ModeName /*mode*/, c10::SymIntArrayRef /*pads*/, c10::SymIntArrayRef stride,
    c10::SymIntArrayRef dilation, const c10::SymInt& groups, Mask wanted) {
  const auto format =
      output_format(arguments(input, weight, std::nullopt, stride, dilation, groups));
  const auto like = [&](const at::Tensor& tensor) {
    return at::empty_symint(tensor.sym_sizes(), gradient.options(), format);
  };
  return {wanted[0] ? like(input) : at::Tensor(), wanted[1] ? like(weight) : at::Tensor(),
          wanted[2] ? at::empty_symint({weight.sym_size(0)}, gradient.options()) : at::Tensor()};
}

at::Tensor call(const at::Tensor& input, const at::Tensor& weight,
                const std::optional<at::Tensor>& bias, ModeName mode, c10::SymIntArrayRef pads,
                c10::SymIntArrayRef stride, c10::SymIntArrayRef dilation,
                const c10::SymInt& groups) {
  static const auto op = find_operator<decltype(output)>("deferred_conv", "");
  return op.call(input, weight, bias, mode, pads, stride, dilation, groups);
}

bool has_tangent(const at::Tensor& input, const at::Tensor& weight,
                 const std::optional<at::Tensor>& bias) {
  const auto has = [](const at::Tensor& tensor) { return tensor._fw_grad(/*level=*/0).defined(); };
  return has(input) || has(weight) || (bias && has(*bias));
}

class Deferred : public torch::autograd::Function<Deferred> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& input,
                            const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                            ModeName mode, c10::SymIntArrayRef pads, c10::SymIntArrayRef stride,
                            c10::SymIntArrayRef dilation, const c10::SymInt& groups) {
    context->save_for_backward({input, weight});
    auto& saved = context->saved_data;
    saved["mode"] = mode;
    saved["pads"] = pads;
    saved["stride"] = stride;
    saved["dilation"] = dilation;
    saved["groups"] = groups;
    saved["has_bias"] = bias.has_value();
    const at::AutoDispatchBelowADInplaceOrView below;
    return call(input, weight, bias, mode, pads, stride, dilation, groups);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& outputs) {
    torch::autograd::variable_list result(8);
    if (!outputs[0].defined()) {
      return result;
    }
    const auto tensors = context->get_saved_variables();
    auto& saved = context->saved_data;
    const Mask wanted{context->needs_input_grad(0), context->needs_input_grad(1),
                      saved["has_bias"].toBool() && context->needs_input_grad(2)};
    static const auto op = find_operator<decltype(gradients)>("deferred_conv_backward", "");
    std::tie(result[0], result[1], result[2]) =
        op.call(outputs[0], tensors[0], tensors[1], saved["mode"].toOptional<std::string_view>(),
                saved["pads"].toSymIntVector(), saved["stride"].toSymIntVector(),
                saved["dilation"].toSymIntVector(), saved["groups"].toSymInt(), wanted);
    return result;
  }
};

at::Tensor differentiable(const at::Tensor& input, const at::Tensor& weight,
                          const std::optional<at::Tensor>& bias, ModeName mode,
                          c10::SymIntArrayRef pads, c10::SymIntArrayRef stride,
                          c10::SymIntArrayRef dilation, const c10::SymInt& groups) {
  // Forward mode around a compiled graph sees through what eager calls are made of.
  return has_tangent(input, weight, bias)
             ? output(input, weight, bias, mode, pads, stride, dilation, groups)
             : Deferred::apply(input, weight, bias, mode, pads, stride, dilation, groups);
}

/// Whether torch.func's transforms or forward mode look on, which know ATen's operators alone.
bool is_transformed(const ConvArgs& args) {
  return c10::impl::tls_is_dispatch_key_included(c10::DispatchKey::FuncTorchDynamicLayerBackMode) ||
         has_tangent(args.input, args.weight, args.bias);
}

}  // namespace

bool can_defer(const ConvArgs& args, const PadList& pads) {
  const bool depthwise = args.weight.sym_size(1).maybe_as_int() == 1 &&
                         args.input.sym_size(args.axis(-1)).maybe_as_int() == args.groups;
  const auto type = args.input.scalar_type();
  const bool has_kernels = type == at::kFloat || type == at::kDouble ||
                           (depthwise && (type == at::kBFloat16 || type == at::kHalf));
  const bool theirs = is_symmetric(args, pads) && (args.as_torch || !depthwise);
  return has_kernels && !theirs && args.dimensions() <= 2 && args.fill == "constant" &&
         args.input.is_cpu() && !is_plain(args) && !is_transformed(args);
}

at::Tensor run_deferred(const ConvArgs& args, const PadList& pads, std::optional<PadMode> mode) {
  std::vector<c10::SymInt> amounts;
  for (const auto& pad : pads) {
    if (!mode) {
      amounts.insert(amounts.end(), {pad.before, pad.after});
    }
  }
  const SymDims stride(args.stride.begin(), args.stride.end());
  const SymDims dilation(args.dilation.begin(), args.dilation.end());
  const bool batched = args.input.dim() == args.dimensions() + 2;
  const at::Tensor output = call(batched ? args.input : args.input.unsqueeze(0), args.weight,
                                 args.bias, mode ? ModeName(samepad::name(*mode)) : std::nullopt,
                                 amounts, stride, dilation, args.groups);
  return batched ? output : output.squeeze(0);
}

TORCH_LIBRARY_IMPL(samepad, CPU, m) {
  m.impl("deferred_conv", output);
  m.impl("deferred_conv_backward", gradients);
}

TORCH_LIBRARY_IMPL(samepad, Meta, m) {
  m.impl("deferred_conv", output_like);
  m.impl("deferred_conv_backward", gradients_like);
}

TORCH_LIBRARY_IMPL(samepad, Autograd, m) { m.impl("deferred_conv", differentiable); }

}  // namespace samepad::detail
