// Implements samepad::fused_conv: a convolution, a residual and an activation function in one
// operator, for inference.

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/elu.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/hardsigmoid.h>
#include <ATen/ops/hardswish.h>
#include <ATen/ops/leaky_relu.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/tanh.h>
#include <c10/util/Exception.h>
#include <samepad/fused_conv.h>
#include <torch/library.h>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

#include "choice/choice.h"
#include "dispatch.h"
#include "plans/own.h"

namespace samepad {
namespace detail {
namespace {

using kernels::Activation;
using Parameters = kernels::ActivationParameters;

/// An activation function. `apply` computes it in place, where PyTorch computes the convolution.
struct NamedActivation {
  std::string_view name;
  Activation activation;
  size_t parameters;  ///< their number
  void (*apply)(at::Tensor& tensor, const Parameters& parameters);
};

constexpr std::array kActivations{
    NamedActivation{"identity", Activation::identity, 0, [](at::Tensor&, const Parameters&) {}},
    NamedActivation{"relu", Activation::relu, 0,
                    [](at::Tensor& x, const Parameters&) { at::relu_(x); }},
    NamedActivation{"clamp", Activation::clamp, 2,
                    [](at::Tensor& x, const Parameters& p) { at::clamp_(x, p[0], p[1]); }},
    NamedActivation{"leaky_relu", Activation::leaky_relu, 1,
                    [](at::Tensor& x, const Parameters& p) { at::leaky_relu_(x, p[0]); }},
    NamedActivation{"hardswish", Activation::hardswish, 0,
                    [](at::Tensor& x, const Parameters&) { at::hardswish_(x); }},
    NamedActivation{"hardsigmoid", Activation::hardsigmoid, 0,
                    [](at::Tensor& x, const Parameters&) { at::hardsigmoid_(x); }},
    NamedActivation{"silu", Activation::silu, 0,
                    [](at::Tensor& x, const Parameters&) { at::silu_(x); }},
    NamedActivation{"sigmoid", Activation::sigmoid, 0,
                    [](at::Tensor& x, const Parameters&) { at::sigmoid_(x); }},
    NamedActivation{"tanh", Activation::tanh, 0,
                    [](at::Tensor& x, const Parameters&) { at::tanh_(x); }},
    NamedActivation{"gelu", Activation::gelu, 0,
                    [](at::Tensor& x, const Parameters&) { at::gelu_(x); }},
    NamedActivation{"gelu_tanh", Activation::gelu_tanh, 0,
                    [](at::Tensor& x, const Parameters&) { at::gelu_(x, "tanh"); }},
    NamedActivation{"elu", Activation::elu, 1,
                    [](at::Tensor& x, const Parameters& p) { at::elu_(x, p[0]); }},
};

const NamedActivation& find_activation(std::string_view name, at::ArrayRef<double> parameters) {
  const auto* const found = std::ranges::find(kActivations, name, &NamedActivation::name);
  if (found == kActivations.end()) {
    std::string names;
    for (const NamedActivation& activation : kActivations) {
      names.append(names.empty() ? "" : ", ").append(activation.name);
    }
    TORCH_CHECK(false, "expected activation to be one of ", names, ", but got '", name, "'");
  }
  TORCH_CHECK(parameters.size() == found->parameters, "activation '", name, "' has ",
              found->parameters, " parameters, but got parameters=", parameters);
  return *found;
}

/// Checks the residual and gives it the output's number of dimensions.
std::optional<at::Tensor> checked_residual(const ConvProblem& problem,
                                           const std::optional<at::Tensor>& residual) {
  if (!residual) {
    return std::nullopt;
  }
  auto result = problem.batched ? *residual : residual->unsqueeze(0);
  const auto expected = problem.output_sizes();
  TORCH_CHECK(result.sym_sizes() == c10::SymIntArrayRef(expected) &&
                  result.scalar_type() == problem.input.scalar_type() &&
                  result.device() == problem.input.device(),
              "expected residual to be a tensor of the output's size ",
              c10::SymIntArrayRef(expected), ", ", problem.input.scalar_type(), " on ",
              problem.input.device(), ", but got one of size ", residual->sym_sizes(), ", ",
              result.scalar_type(), " on ", result.device());
  return result;
}

at::Tensor output(const at::Tensor& input, const at::Tensor& weight,
                  const std::optional<at::Tensor>& bias, const std::optional<at::Tensor>& residual,
                  const std::optional<at::Tensor>& packed, std::optional<std::string_view> mode,
                  c10::SymIntArrayRef pads, c10::SymIntArrayRef stride,
                  c10::SymIntArrayRef dilation, const c10::SymInt& groups,
                  std::string_view activation, at::ArrayRef<double> parameters,
                  bool residual_last) {
  const ConvProblem problem = ConvProblem::of_operator("fused_conv", {input, weight, bias}, mode,
                                                       pads, stride, dilation, groups);
  const NamedActivation& function = find_activation(activation, parameters);
  kernels::Fusion fusion{
      function.activation, {}, checked_residual(problem, residual), residual_last, packed};
  std::ranges::copy(parameters, fusion.parameters.begin());
  const Plan& plan = *choose_plan(problem, Purpose::fused_inference).plan;
  if (plan.own_kernels) {
    return problem.as_given(own_run_fused(problem, fusion));
  }
  at::Tensor result = plan.run(problem).contiguous(problem.output_format());
  if (fusion.residual && !residual_last) {
    result.add_(*fusion.residual);
  }
  function.apply(result, fusion.parameters);
  if (fusion.residual && residual_last) {
    result.add_(*fusion.residual);
  }
  return problem.as_given(result);
}

at::Tensor output_like(const at::Tensor& input, const at::Tensor& weight,
                       const std::optional<at::Tensor>& bias,
                       const std::optional<at::Tensor>& residual,
                       const std::optional<at::Tensor>& /*packed*/,
                       std::optional<std::string_view> mode, c10::SymIntArrayRef pads,
                       c10::SymIntArrayRef stride, c10::SymIntArrayRef dilation,
                       const c10::SymInt& groups, std::string_view activation,
                       at::ArrayRef<double> parameters, bool /*residual_last*/) {
  const ConvProblem problem = ConvProblem::of_operator("fused_conv", {input, weight, bias}, mode,
                                                       pads, stride, dilation, groups);
  find_activation(activation, parameters);
  checked_residual(problem, residual);
  return problem.as_given(
      at::empty_symint(problem.output_sizes(), input.options(), problem.output_format()));
}

const auto& fused_conv_operator() {
  static const auto op = find_operator<decltype(output)>("fused_conv", "");
  return op;
}

at::Tensor output_without_gradient(const at::Tensor& input, const at::Tensor& weight,
                                   const std::optional<at::Tensor>& bias,
                                   const std::optional<at::Tensor>& residual,
                                   const std::optional<at::Tensor>& packed,
                                   std::optional<std::string_view> mode, c10::SymIntArrayRef pads,
                                   c10::SymIntArrayRef stride, c10::SymIntArrayRef dilation,
                                   const c10::SymInt& groups, std::string_view activation,
                                   at::ArrayRef<double> parameters, bool residual_last) {
  const auto requires_gradient = [](const at::Tensor& tensor) { return tensor.requires_grad(); };
  const bool wanted =
      at::GradMode::is_enabled() &&
      (requires_gradient(input) || requires_gradient(weight) ||
       (bias && requires_gradient(*bias)) || (residual && requires_gradient(*residual)));
  TORCH_CHECK(!wanted,
              "fused convolutions are for inference and have no gradients, but a tensor requires "
              "its gradient; call them in torch.no_grad() or torch.inference_mode(), or use the "
              "original layers");
  const at::AutoDispatchBelowADInplaceOrView below;
  return fused_conv_operator().call(input, weight, bias, residual, packed, mode, pads, stride,
                                    dilation, groups, activation, parameters, residual_last);
}

}  // namespace

TORCH_LIBRARY_IMPL(samepad, CompositeExplicitAutograd, m) { m.impl("fused_conv", output); }

TORCH_LIBRARY_IMPL(samepad, Meta, m) { m.impl("fused_conv", output_like); }

TORCH_LIBRARY_IMPL(samepad, Autograd, m) { m.impl("fused_conv", output_without_gradient); }

}  // namespace detail

at::Tensor fused_conv(const at::Tensor& input, const at::Tensor& weight,
                      const std::optional<at::Tensor>& bias, at::IntArrayRef stride,
                      const Padding& padding, at::IntArrayRef dilation, int64_t groups,
                      const FusedActivation& activation, const std::optional<at::Tensor>& residual,
                      const std::optional<at::Tensor>& packed) {
  TORCH_CHECK(weight.defined() && weight.dim() >= 3 && weight.dim() <= 5,
              "expected weight to have 3 to 5 dimensions, but got one of size ", weight.sizes());
  const auto dimensions = static_cast<size_t>(weight.dim() - 2);
  const auto expanded = [&](at::IntArrayRef values) {
    detail::SymDims result(values.begin(), values.end());
    if (values.size() == 1) {
      result.resize(dimensions, values.front());
    }
    return result;
  };
  const Modes* const modes = padding.modes();
  const auto pads = modes == nullptr ? padding.amounts(weight.dim() - 2) : at::IntArrayRef();
  return detail::fused_conv_operator().call(
      input, weight, bias, residual, packed,
      modes == nullptr ? std::nullopt : std::optional(modes->text()),
      c10::fromIntArrayRefSlow(pads), expanded(stride), expanded(dilation), groups, activation.name,
      activation.parameters, activation.residual_last);
}

std::optional<at::Tensor> packed_weight(const at::Tensor& weight, int64_t groups,
                                        bool channels_last) {
  TORCH_CHECK(weight.dim() >= 3 && weight.dim() <= 5,
              "expected weight to have 3 to 5 dimensions, but got one of size ", weight.sizes());
  return detail::own_packed_weight(weight, groups, channels_last);
}

}  // namespace samepad
