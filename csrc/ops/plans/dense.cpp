#include "own.h"

namespace samepad::detail {
namespace {

bool takes(const ConvProblem& problem) { return !problem.depthwise && own_takes(problem); }

bool can_run(const ConvProblem& problem) { return !problem.depthwise && own_can_run(problem); }

const char* advantage(const ConvProblem& problem) {
  if (const char* const fault = problem.library_fault()) {
    return fault;
  }
  return problem.symmetric ? "samepad's own kernels are estimated to be faster than PyTorch's"
                           : "there are kernels that pad on the way";
}

}  // namespace

extern const Plan kDense{
    .name = "dense",
    .summary =
        "samepad's own kernels for convolutions that are not depthwise, with the padding "
        "inside; no padded copy is made",
    .own_kernels = true,
    .takes = takes,
    .can_run = can_run,
    .advantage = advantage,
    .work = own_work,
    .run = own_run,
    .gradients = own_gradients,
    .bytes_copied = copies_nothing,
};

}  // namespace samepad::detail
