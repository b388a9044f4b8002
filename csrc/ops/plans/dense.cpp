#include <c10/util/accumulate.h>

#include "../../kernels/common/cpu.h"
#include "own.h"

namespace samepad::detail {
namespace {

bool takes(const ConvProblem& problem) { return !problem.depthwise && own_takes(problem); }

bool can_run(const ConvProblem& problem) { return !problem.depthwise && own_can_run(problem); }

/// Whether a large kernel covers few channels, as in the first layer of a network for audio.
/// PyTorch's libraries, which use im2col there, are faster for these convolutions
/// (benchmarks/README.md).
bool is_long(const ConvProblem& problem) {
  constexpr int64_t kFewChannels = 8;
  constexpr int64_t kManyElements = 128;
  return problem.groups.expect_int() == 1 && problem.weight.size(1) < kFewChannels &&
         c10::multiply_integers(problem.kernel) > kManyElements;
}

double multiplications(const ConvProblem& problem) {
  auto count =
      static_cast<double>(problem.weight.numel()) * static_cast<double>(problem.input.size(0));
  for (const int64_t size : problem.output_size()) {
    count *= static_cast<double>(size);
  }
  return count;
}

/// With equal pads PyTorch's convolution copies nothing either, and is often faster
/// (benchmarks/README.md).
const char* advantage(const ConvProblem& problem) {
  constexpr double kFewMultiplications = 8e6;
  if (is_long(problem)) {
    return nullptr;
  }
  if (!problem.symmetric) {
    return "there are kernels that pad on the way";
  }
  if (c10::multiply_integers(problem.kernel) == 1) {
    return kernels::mkl_is_narrow() && problem.groups.expect_int() == 1
               ? "it is a product of matrices, for which MKL does not use this CPU's AVX-512"
               : problem.library_fault();
  }
  return multiplications(problem) < kFewMultiplications
             ? "it is small, and a call of PyTorch's costs more"
             : problem.library_fault();
}

}  // namespace

extern const Plan kDense{
    .name = "dense",
    .summary =
        "samepad's own kernels for convolutions that are not depthwise, with the padding "
        "inside; nothing is copied",
    .own_kernels = true,
    .takes = takes,
    .can_run = can_run,
    .advantage = advantage,
    .run = own_run,
    .gradients = own_gradients,
    .bytes_copied = copies_nothing,
};

}  // namespace samepad::detail
