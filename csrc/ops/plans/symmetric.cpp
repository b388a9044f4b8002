#include "library.h"

namespace samepad::detail {
namespace {

bool can_run(const ConvProblem& problem) {
  return problem.symmetric && problem.library_fault() == nullptr;
}

const char* advantage(const ConvProblem& problem) {
  return is_dilated_depthwise(problem) ? nullptr : "the pads are equal on both sides";
}

Work work(const ConvProblem& problem) {
  return library_work(problem, input_size(problem), problem.output_size());
}

}  // namespace

extern const Plan kSymmetric{
    .name = "symmetric",
    .summary =
        "PyTorch's convolution with its own padding, where both sides of each dimension "
        "get the same; nothing is copied",
    .own_kernels = false,
    .takes = takes_everything,
    .can_run = can_run,
    .advantage = advantage,
    .work = work,
    .run = library_convolution,
    .gradients = padded_gradients,
    .bytes_copied = copies_nothing,
};

}  // namespace samepad::detail
