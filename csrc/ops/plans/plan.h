#pragma once

// The plans: the ways in which a convolution can be computed. All of them give the same result but
// for rounding; which one is the fastest depends on the convolution (choice/choice.h).
//
// To add one, write its row and its functions in a file of its own and name the row in table.cpp.
// Everything else reads the table: the choice, measurement, `explain`, compiled graphs, and the
// tests, which force each plan in turn.

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <span>

#include "../problem/conv_problem.h"

namespace samepad::detail {

/// Gradients of input, weight and bias; those that were not wanted are undefined.
using Gradients = std::array<at::Tensor, 3>;

/// Which of these gradients are wanted.
using GradientMask = std::array<bool, 3>;

struct Plan {
  const char* name;

  /// What the plan does, in one sentence for its users.
  const char* summary;

  /// Whether kernels of this project run, rather than PyTorch's convolutions.
  bool own_kernels;

  /// Whether the plan computes convolutions of this kind: of this type, device and number of
  /// dimensions. Sizes may still be symbolic.
  bool (*takes)(const ConvProblem& problem);

  /// Whether the plan computes this very convolution.
  bool (*can_run)(const ConvProblem& problem);

  /// Why the plan, which can run, should be preferred to those after it in the table; null where it
  /// should not.
  const char* (*advantage)(const ConvProblem& problem);

  at::Tensor (*run)(const ConvProblem& problem);

  /// The gradients of a convolution that the plan can run, whose padding is a known number of
  /// zeros. `gradient` is the output's.
  Gradients (*gradients)(const ConvProblem& problem, const at::Tensor& gradient,
                         GradientMask wanted);

  /// Bytes that are copied beside what the convolution itself reads and writes; the largest int64_t
  /// where there are more.
  int64_t (*bytes_copied)(const ConvProblem& problem);
};

/// All plans, those to be preferred first. The last one can run whatever the others cannot.
std::span<const Plan* const> plans();

/// What a plan that copies nothing has for `bytes_copied`.
inline int64_t copies_nothing(const ConvProblem& /*problem*/) { return 0; }

}  // namespace samepad::detail
