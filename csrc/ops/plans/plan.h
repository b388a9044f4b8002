#pragma once

// A plan is one way to compute a convolution. All plans give the same result up to rounding; which
// one is fastest depends on the convolution (choice/choice.h).
//
// To add a plan, write its functions and its row in a file of its own and name the row in
// table.cpp. Everything else reads the table: the choice, the measurements, `explain`, compiled
// graphs, and the tests, which force each plan in turn.

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <span>

#include "../problem/conv_problem.h"
#include "cost.h"

namespace samepad::detail {

/// The gradients of input, weight and bias; those that were not wanted are undefined.
using Gradients = std::array<at::Tensor, 3>;

/// Which of these gradients are wanted.
using GradientMask = std::array<bool, 3>;

struct Plan {
  const char* name;

  /// Says what the plan does, in one sentence for users.
  const char* summary;

  /// Whether kernels::kDenseKernels or kDepthwiseKernels run. Fused convolutions are then computed
  /// by own_run_fused, compiled graphs choose the plan when they run, and the plan does not run
  /// where PyTorch's result is promised bit for bit. False for everything else.
  bool own_kernels;

  /// Whether the plan supports convolutions of this kind, that is, of this type, device and number
  /// of dimensions. Sizes may still be symbolic.
  bool (*takes)(const ConvProblem& problem);

  /// Whether the plan can compute this particular convolution, in every respect: also its fill, and
  /// whether its sizes and pads are known, which they need not be. The functions below rely on it.
  bool (*can_run)(const ConvProblem& problem);

  /// Why this plan, which can run, may be the one to choose. Null if another should be preferred:
  /// it is then chosen only if it is forced, if it was measured to be the fastest, or as the first
  /// of the table that can run where no plan has an advantage.
  const char* (*advantage)(const ConvProblem& problem);

  /// The work of the plan, which can run, on a CPU. Of the plans that have an advantage the one is
  /// chosen whose work takes the least time; on other devices the first of the table.
  Work (*work)(const ConvProblem& problem);

  /// Computes the output, with a batch, in the input's type and the layout that
  /// `problem.output_format()` names: a new tensor, which callers may change. Autograd has to be
  /// able to differentiate it, or it is wrapped by `differentiable` (autograd/differentiable.h).
  at::Tensor (*run)(const ConvProblem& problem);

  /// In the backward pass of compiled graphs, computes the gradients of a convolution that the plan
  /// can run and that is padded with a known number of zeros. `gradient` is the output's gradient.
  Gradients (*gradients)(const ConvProblem& problem, const at::Tensor& gradient,
                         GradientMask wanted);

  /// The number of bytes that are copied in addition to what the convolution itself reads and
  /// writes; at most the largest int64_t.
  int64_t (*bytes_copied)(const ConvProblem& problem);
};

/// All plans, in order of preference where nothing else decides (choice/choice.h). The last one can
/// run whatever the others cannot.
std::span<const Plan* const> plans();

/// The `bytes_copied` of a plan that copies nothing.
inline int64_t copies_nothing(const ConvProblem& /*problem*/) { return 0; }

}  // namespace samepad::detail
