#pragma once

// Autograd functions for convolutions whose gradients are computed by this project, and what they
// save for the backward pass.

#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "../plans/plan.h"

namespace samepad::detail {

/// Saves the tensors `input` and `weight`, the rest of `args` and the padding, which is filled with
/// zeros: its modes if they have been kept, otherwise the pads.
void save(torch::autograd::AutogradContext* context, const at::Tensor& input,
          const at::Tensor& weight, const ConvArgs& args, const PadList& pads,
          const std::optional<Modes>& modes);

/// What `save` has saved.
struct Saved {
  at::Tensor input;
  at::Tensor weight;
  SymDims settings;       ///< everything about the convolution except its tensors
  GradientMask wanted{};  ///< the gradients that autograd needs

  explicit Saved(torch::autograd::AutogradContext* context);

  /// The problem with these tensors and without a bias, on which no gradient depends.
  ConvProblem problem(const at::Tensor& input, const at::Tensor& weight) const;
};

/// The autograd function of a convolution. `Output` computes its output, `Backward` its gradients.
template <auto Output, auto Backward>
class Differentiable : public torch::autograd::Function<Differentiable<Output, Backward>> {
 public:
  // The tensors are passed in addition to the problem, because autograd only finds tensors that are
  // arguments themselves.
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& input,
                            const at::Tensor& weight, const std::optional<at::Tensor>& /*bias*/,
                            const ConvProblem& problem) {
    save(context, input, weight, problem, problem.pads, problem.modes);
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

/// Runs `Output` for a batched convolution padded with zeros. `Backward` makes it differentiable.
template <auto Output, auto Backward>
at::Tensor differentiable(const ConvProblem& problem) {
  return problem.needs_gradient() ? Differentiable<Output, Backward>::apply(
                                        problem.input, problem.weight, problem.bias, problem)
                                  : Output(problem);
}

}  // namespace samepad::detail
