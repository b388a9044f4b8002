#include "deferred_conv.h"

#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/ops/empty.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <string>
#include <string_view>
#include <tuple>

#include "autograd/differentiable.h"
#include "choice/choice.h"
#include "dispatch.h"
#include "plans/library_faults.h"

namespace samepad::detail {
namespace {

using ModeText = std::optional<std::string_view>;

ConvProblem problem_of(const at::Tensor& input, const at::Tensor& weight,
                       const std::optional<at::Tensor>& bias, ModeText mode,
                       c10::SymIntArrayRef pads, c10::SymIntArrayRef stride,
                       c10::SymIntArrayRef dilation, const c10::SymInt& groups) {
  return ConvProblem::of_operator("deferred_conv", {input, weight, bias}, mode, pads, stride,
                                  dilation, groups);
}

// On the CPU, the operators choose their plans when they run. The forward operator cannot know
// whether its gradient will be asked for, so it takes the plan of an eager call without gradients.

at::Tensor output(const at::Tensor& input, const at::Tensor& weight,
                  const std::optional<at::Tensor>& bias, ModeText mode, c10::SymIntArrayRef pads,
                  c10::SymIntArrayRef stride, c10::SymIntArrayRef dilation,
                  const c10::SymInt& groups) {
  const ConvProblem problem = problem_of(input, weight, bias, mode, pads, stride, dilation, groups);
  return choose_plan(problem).plan->run(problem).contiguous(problem.output_format());
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> gradients(
    const at::Tensor& gradient, const at::Tensor& input, const at::Tensor& weight, ModeText mode,
    c10::SymIntArrayRef pads, c10::SymIntArrayRef stride, c10::SymIntArrayRef dilation,
    const c10::SymInt& groups, GradientMask wanted) {
  const ConvProblem problem =
      problem_of(input, weight, std::nullopt, mode, pads, stride, dilation, groups);
  const auto expected = problem.output_sizes();
  TORCH_CHECK(gradient.sym_sizes() == c10::SymIntArrayRef(expected), "expected a gradient of size ",
              c10::SymIntArrayRef(expected), ", but got ", gradient.sizes());
  auto [x, w, b] =
      choose_plan(problem, Purpose::training).plan->gradients(problem, gradient, wanted);
  const auto format = problem.output_format();
  return {wanted[0] ? x.contiguous(format) : x, wanted[1] ? w.contiguous(format) : w, b};
}

// On the meta device, the operators only compute sizes, types and layouts.

at::Tensor output_like(const at::Tensor& input, const at::Tensor& weight,
                       const std::optional<at::Tensor>& bias, ModeText mode,
                       c10::SymIntArrayRef pads, c10::SymIntArrayRef stride,
                       c10::SymIntArrayRef dilation, const c10::SymInt& groups) {
  const ConvProblem problem = problem_of(input, weight, bias, mode, pads, stride, dilation, groups);
  return at::empty_symint(problem.output_sizes(), input.options(), problem.output_format());
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> gradients_like(
    const at::Tensor& gradient, const at::Tensor& input, const at::Tensor& weight, ModeText mode,
    c10::SymIntArrayRef pads, c10::SymIntArrayRef stride, c10::SymIntArrayRef dilation,
    const c10::SymInt& groups, GradientMask wanted) {
  const auto format =
      problem_of(input, weight, std::nullopt, mode, pads, stride, dilation, groups).output_format();
  const auto like = [&](const at::Tensor& tensor) {
    return at::empty_symint(tensor.sym_sizes(), gradient.options(), format);
  };
  return {wanted[0] ? like(input) : at::Tensor(), wanted[1] ? like(weight) : at::Tensor(),
          wanted[2] ? at::empty_symint({weight.sym_size(0)}, gradient.options()) : at::Tensor()};
}

/// The arguments of both operators apart from tensors.
struct Settings {
  std::optional<std::string> mode;  ///< the text of the modes, if there are any
  std::vector<c10::SymInt> pads;    ///< empty if there are modes
  SymDims stride;
  SymDims dilation;

  explicit Settings(const ConvProblem& problem)
      : mode(problem.modes ? std::make_optional(problem.modes->text()) : std::nullopt),
        stride(problem.stride.begin(), problem.stride.end()),
        dilation(problem.dilation.begin(), problem.dilation.end()) {
    for (const auto& pad : problem.pads) {
      if (!mode) {
        pads.insert(pads.end(), {pad.before, pad.after});
      }
    }
  }
};

at::Tensor call(const ConvProblem& problem) {
  static const auto op = find_operator<decltype(output)>("deferred_conv", "");
  const auto [mode, pads, stride, dilation] = Settings(problem);
  return op.call(problem.input, problem.weight, problem.bias, mode, pads, stride, dilation,
                 problem.groups);
}

at::Tensor call_below_autograd(const ConvProblem& problem) {
  const at::AutoDispatchBelowADInplaceOrView below;
  return call(problem);
}

Gradients call_gradients(const ConvProblem& problem, const at::Tensor& gradient,
                         GradientMask wanted) {
  static const auto op = find_operator<decltype(gradients)>("deferred_conv_backward", "");
  const auto [mode, pads, stride, dilation] = Settings(problem);
  const auto [x, w, b] = op.call(gradient, problem.input, problem.weight, mode, pads, stride,
                                 dilation, problem.groups, wanted);
  return {x, w, b};
}

bool has_tangent(const ConvArgs& args) {
  const auto has = [](const at::Tensor& tensor) { return tensor._fw_grad(/*level=*/0).defined(); };
  return has(args.input) || has(args.weight) || (args.bias && has(*args.bias));
}

at::Tensor differentiable_output(const at::Tensor& input, const at::Tensor& weight,
                                 const std::optional<at::Tensor>& bias, ModeText mode,
                                 c10::SymIntArrayRef pads, c10::SymIntArrayRef stride,
                                 c10::SymIntArrayRef dilation, const c10::SymInt& groups) {
  const ConvProblem problem = problem_of(input, weight, bias, mode, pads, stride, dilation, groups);
  // Forward-mode differentiation needs operators that have forward derivatives, which those of an
  // eager call have.
  return has_tangent(problem) ? output(input, weight, bias, mode, pads, stride, dilation, groups)
                              : differentiable<call_below_autograd, call_gradients>(problem);
}

/// Whether torch.func's transforms or forward-mode differentiation are active, which only know
/// ATen's operators.
bool is_transformed(const ConvArgs& args) {
  return c10::impl::tls_is_dispatch_key_included(c10::DispatchKey::FuncTorchDynamicLayerBackMode) ||
         has_tangent(args);
}

}  // namespace

bool can_defer(const ConvProblem& problem) {
  if (problem.plain || is_transformed(problem) || !problem.pads_with_zeros() ||
      !problem.input.is_cpu()) {
    return false;
  }
  // Whether PyTorch computes these correctly depends on the sizes, which are known when the graph
  // runs.
  if (is_half_type(problem.input.scalar_type()) &&
      problem.input.unsafeGetTensorImpl()->has_symbolic_sizes_strides()) {
    return true;
  }
  // PyTorch's convolution computes these without help, and a compiler can optimise it if it sees
  // it.
  const bool pytorchs = problem.symmetric && (problem.as_torch || !problem.depthwise);
  return !pytorchs && std::ranges::any_of(plans(), [&](const Plan* plan) {
    return plan->own_kernels && plan->takes(problem);
  });
}

at::Tensor run_deferred(const ConvProblem& problem) { return call(problem); }

TORCH_LIBRARY_IMPL(samepad, CPU, m) {
  m.impl("deferred_conv", output);
  m.impl("deferred_conv_backward", gradients);
}

TORCH_LIBRARY_IMPL(samepad, Meta, m) {
  m.impl("deferred_conv", output_like);
  m.impl("deferred_conv_backward", gradients_like);
}

TORCH_LIBRARY_IMPL(samepad, Autograd, m) { m.impl("deferred_conv", differentiable_output); }

}  // namespace samepad::detail
