#include <c10/util/irange.h>

#include "../autograd/differentiable.h"
#include "library.h"

namespace samepad::detail {
namespace {

bool can_run(const ConvProblem& problem) {
  return !problem.symmetric || problem.library_fault() != nullptr;
}

const char* advantage(const ConvProblem& problem) {
  if (const char* const fault = problem.library_fault()) {
    return fault;
  }
  const bool has_choice =
      std::ranges::count_if(plans(), [&](const Plan* plan) { return plan->can_run(problem); }) > 1;
  return !has_choice                                 ? "no other plan computes this"
         : !problem.input.is_cpu() || !problem.plain ? "it fits every device and transform"
                                                     : "a copy costs less than the alternatives";
}

/// The padded input is a copy.
Work work(const ConvProblem& problem) {
  Dims padded = input_size(problem);
  for (const auto i : c10::irange(problem.dimensions())) {
    const auto& [before, after] = problem.known_pads[i];
    padded[i] += before + after;
  }
  Work result = library_work(problem, padded, problem.output_size());
  result.copies = 1;
  result.copied = result.input;
  return result;
}

/// ATen's operators pad if the padding is not a known number of zeros, or under transforms.
/// Otherwise a kernel pads, and the backward pass pads again, so that autograd saves the input
/// itself rather than a padded copy, as it does for nn.Conv2d.
at::Tensor run(const ConvProblem& problem) {
  if (problem.plain && problem.has_known_pads && problem.pads_with_zeros() &&
      problem.input.is_floating_point()) {
    return differentiable<padded_output, padded_gradients>(problem);
  }
  const LibraryCall call = library_call(problem, problem.library_fault());
  return run_library(problem, call, add_padding(problem.input, call.copied, problem.fill));
}

/// The padded input counts as a copy unless the convolution adds all of the padding itself.
int64_t bytes_copied(const ConvProblem& problem) {
  const LibraryCall call = library_call(problem, problem.library_fault());
  const KnownPads copied = expect_known(call.copied);
  Dims padded;
  bool copies = call.contiguous && !problem.input.is_contiguous();
  for (const auto i : c10::irange(problem.dimensions())) {
    const auto& [before, after] = copied[i];
    padded.push_back(problem.size(i).expect_int() + before + after);
    copies |= before != 0 || after != 0;
  }
  return copies ? count_bytes(problem, problem.input.size(1), padded) : 0;
}

}  // namespace

extern const Plan kPad{
    .name = "pad",
    .summary =
        "a padded copy of the input, then PyTorch's convolution: every padding, size, type "
        "and device",
    .own_kernels = false,
    .takes = takes_everything,
    .can_run = can_run,
    .advantage = advantage,
    .work = work,
    .run = run,
    .gradients = padded_gradients,
    .bytes_copied = bytes_copied,
};

}  // namespace samepad::detail
