#include "own.h"

namespace samepad::detail {
namespace {

bool takes(const ConvProblem& problem) { return problem.depthwise && own_takes(problem); }

bool can_run(const ConvProblem& problem) { return problem.depthwise && own_can_run(problem); }

const char* advantage(const ConvProblem& /*problem*/) {
  return "there are kernels for depthwise convolutions";
}

}  // namespace

extern const Plan kDepthwise{
    .name = "depthwise",
    .summary =
        "samepad's own kernels for depthwise convolutions, with the padding inside; nothing "
        "is copied",
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
