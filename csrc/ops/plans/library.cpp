#include "library.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/conv1d_ops.h>
#include <ATen/ops/conv2d_ops.h>
#include <ATen/ops/conv3d_ops.h>
#include <ATen/ops/convolution.h>
#include <ATen/ops/convolution_backward.h>
#include <c10/util/irange.h>

#include <algorithm>

#include "../../kernels/common/padded_copy.h"

namespace samepad::detail {
namespace {

/// `tensor` with zeros around its spatial dimensions; negative amounts crop. Differentiable.
at::Tensor add_zeros(const at::Tensor& tensor, const KnownPads& pads) {
  const auto all = [&](const auto& condition) {
    return std::ranges::all_of(
        pads, [&](const auto& pad) { return condition(pad.before) && condition(pad.after); });
  };
  if (all([](int64_t amount) { return amount == 0; })) {
    return tensor;
  }
  const bool differentiable = at::GradMode::is_enabled() && tensor.requires_grad();
  if (!differentiable && is_plain(tensor) && kernels::can_copy_padded(tensor) &&
      all([](int64_t amount) { return amount >= 0; })) {
    return kernels::padded_copy(tensor, pads);
  }
  PadList amounts;
  for (const auto& [before, after] : pads) {
    amounts.push_back({before, after});
  }
  return add_padding(tensor, amounts, "constant");
}

SymDims no_output_padding(const ConvProblem& problem) { return SymDims(problem.dimensions(), 0); }

}  // namespace

at::Tensor library_convolution(const ConvProblem& problem, const at::Tensor& input,
                               const SymDims& padding) {
  const SymDims stride = as_symbols(problem.stride);
  const SymDims dilation = as_symbols(problem.dilation);
  // What the operators below come to where nothing looks on.
  if (problem.plain && input.is_floating_point()) {
    return at::convolution_symint(input, problem.weight, problem.bias, stride, padding, dilation,
                                  /*transposed=*/false, no_output_padding(problem), problem.groups);
  }
  const auto run = problem.dimensions() == 1   ? at::_ops::conv1d::call
                   : problem.dimensions() == 2 ? at::_ops::conv2d::call
                                               : at::_ops::conv3d::call;
  return run(input, problem.weight, problem.bias, stride, padding, dilation, problem.groups);
}

SplitPads split_pads(const ConvProblem& problem) {
  SplitPads split;
  for (const auto i : c10::irange(problem.dimensions())) {
    // PyTorch's convolutions add zeros, of known number, but none to a dimension without elements.
    const auto& pad = problem.pads[i];
    const auto amounts = known(pad);
    const int64_t inside = amounts && problem.pads_with_zeros() && !problem.is_empty(i)
                               ? std::max<int64_t>(0, std::min(amounts->before, amounts->after))
                               : 0;
    split.inside.push_back(inside);
    split.copied.push_back({pad.before - inside, pad.after - inside});
  }
  return split;
}

at::Tensor padded_output(const ConvProblem& problem) {
  const auto [inside, copied] = split_pads(problem);
  return library_convolution(problem, add_zeros(problem.input, *known_pads(copied)),
                             as_symbols(inside));
}

Gradients padded_gradients(const ConvProblem& problem, const at::Tensor& gradient,
                           GradientMask wanted) {
  const auto [inside, copied] = split_pads(problem);
  KnownPads pads = *known_pads(copied);
  const c10::SymInt filters = problem.weight.sym_size(0);
  auto [input, weight, bias] = at::convolution_backward_symint(
      gradient, add_zeros(problem.input, pads), problem.weight, at::OptionalSymIntArrayRef(filters),
      as_symbols(problem.stride), as_symbols(inside), as_symbols(problem.dilation),
      /*transposed=*/false, no_output_padding(problem), problem.groups, wanted);
  if (wanted[0]) {
    for (auto& [before, after] : pads) {
      before = -before;
      after = -after;
    }
    input = add_zeros(input, pads);
  }
  return {input, weight, bias};
}

int64_t count_bytes(const ConvProblem& problem, int64_t channels, const Dims& size) {
  int64_t bytes = static_cast<int64_t>(problem.input.element_size());
  Dims factors = size;
  factors.push_back(problem.input.size(0));
  factors.push_back(channels);
  for (const int64_t factor : factors) {
    bytes = saturating_product(bytes, factor);
  }
  return bytes;
}

}  // namespace samepad::detail
