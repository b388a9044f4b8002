#pragma once

// The cost model: an estimate of how long a plan takes on a CPU.
//
// The time is a sum of amounts of work, each multiplied by a constant, the time that one unit of it
// takes. The amounts follow from the sizes of a convolution and are computed here; the constants
// have been fitted to measurements (cost_constants.h). Estimates are for one thread: more threads
// divide the times of all plans alike.

#include <samepad/export.h>

#include <array>
#include <cstdint>

#include "../problem/conv_problem.h"
#include "library_faults.h"

namespace samepad::detail {

/// The implementations that have constants of their own.
enum class Implementation : uint8_t {
  dense_kernels,
  depthwise_kernels,
  library,            ///< PyTorch's convolution by oneDNN
  library_depthwise,  ///< the same of a depthwise one, for which oneDNN has other kernels
  library_product,    ///< PyTorch's convolution by im2col and a product of matrices
};
inline constexpr size_t kImplementations = 5;

/// The amounts of work of a plan. Every one of them but `calls` is a number of elements or of
/// multiplications.
struct Work {
  Implementation implementation = Implementation::library;
  double calls = 1;
  double multiplications = 0;  ///< one for each product of an input element and a weight
  double unfilled = 0;         ///< multiplications that only fill vectors
  double rearranged = 0;       ///< elements that are gathered or broadcast, or loops that start
  double wide = 0;             ///< multiplications for which there is no fast code
  double input = 0;
  double output = 0;
  double weight = 0;
  double groups = 0;  ///< or images, where these are computed one after the other
  double copies = 0;  ///< of the input or the output, by plans that make one
  double copied = 0;  ///< elements of these

  static constexpr size_t kAmounts = 11;
  std::array<double, kAmounts> amounts() const {
    return {calls,  multiplications, unfilled, rearranged, wide,  input,
            output, weight,          groups,   copies,     copied};
  }
};

/// The spatial sizes of the problem's input, all of which must be known.
Dims input_size(const ConvProblem& problem);

/// The work of samepad's own kernels, dense or depthwise.
Work own_work(const ConvProblem& problem);

/// The work of PyTorch's convolution of an input with an output, given their spatial sizes.
Work library_work(const ConvProblem& problem, const Dims& input_size, const Dims& output_size);

/// The name of the table in cost_constants.h that holds for bfloat16 on this CPU; null if that is
/// the table for float32. For fitting the model.
SAMEPAD_API const char* bfloat16_costs();

/// Whether the model has constants for the convolution: on CPUs with AVX2 or AVX-512, in single and
/// half precision, for which oneDNN has kernels.
bool has_estimates(const ConvProblem& problem);

/// The estimated time in nanoseconds, with that of the gradients if the purpose is training.
double estimated_time(const ConvProblem& problem, Purpose purpose, const Work& work);

}  // namespace samepad::detail
