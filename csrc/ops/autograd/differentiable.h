#pragma once

// Autograd around convolutions whose gradients are computed here: what is kept from the forward
// pass to the backward pass, and how.

#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "../plans/plan.h"

namespace samepad::detail {

/// Keeps the tensors `input` and `weight`, the rest of `args` and the padding, which is of zeros:
/// the mode that asks for it, if there is one, otherwise the pads.
void save(torch::autograd::AutogradContext* context, const at::Tensor& input,
          const at::Tensor& weight, const ConvArgs& args, const PadList& pads,
          std::optional<PadMode> mode);

/// What `save` has kept.
struct Saved {
  at::Tensor input;
  at::Tensor weight;
  SymDims settings;       ///< everything of the convolution but its tensors
  GradientMask wanted{};  ///< the gradients that autograd asks for

  explicit Saved(torch::autograd::AutogradContext* context);

  /// The problem with these tensors, without a bias, which no gradient depends on.
  ConvProblem problem(const at::Tensor& input, const at::Tensor& weight) const;
};

/// A convolution whose output is `Output` and whose gradients are `Backward`.
template <auto Output, auto Backward>
class Differentiable : public torch::autograd::Function<Differentiable<Output, Backward>> {
 public:
  // Autograd looks for tensors among the arguments themselves, not inside of the problem.
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& input,
                            const at::Tensor& weight, const std::optional<at::Tensor>& /*bias*/,
                            const ConvProblem& problem) {
    save(context, input, weight, problem, problem.pads, problem.mode);
    return Output(problem);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& outputs) {
    torch::autograd::variable_list result(4);
    if (outputs[0].defined()) {
      const Saved saved(context);
      std::ranges::move(
          Backward(saved.problem(saved.input, saved.weight), outputs[0], saved.wanted),
          result.begin());
    }
    return result;
  }
};

/// `Output` of a batched convolution padded with zeros, differentiable by `Backward`.
template <auto Output, auto Backward>
at::Tensor differentiable(const ConvProblem& problem) {
  return problem.needs_gradient() ? Differentiable<Output, Backward>::apply(
                                        problem.input, problem.weight, problem.bias, problem)
                                  : Output(problem);
}

}  // namespace samepad::detail
