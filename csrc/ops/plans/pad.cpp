#include <c10/util/irange.h>

#include "../autograd/differentiable.h"
#include "library.h"

namespace samepad::detail {
namespace {

bool can_run(const ConvProblem& problem) { return !problem.symmetric; }

const char* advantage(const ConvProblem& problem) {
  const bool has_choice =
      std::ranges::count_if(plans(), [&](const Plan* plan) { return plan->can_run(problem); }) > 1;
  return !has_choice                                 ? "no other plan computes this"
         : !problem.input.is_cpu() || !problem.plain ? "it fits every device and transform"
                                                     : "a copy costs less than extra outputs";
}

/// Padding that is not a known number of zeros, or that something else than autograd looks at, is
/// added by ATen's operators. Elsewhere a kernel adds it, and backward adds it again, so that
/// autograd keeps the input itself and no padded copy, as it does for nn.Conv2d.
at::Tensor run(const ConvProblem& problem) {
  if (problem.plain && problem.known_pads && problem.pads_with_zeros() &&
      problem.input.is_floating_point()) {
    return differentiable<padded_output, padded_gradients>(problem);
  }
  const auto [inside, copied] = split_pads(problem);
  return library_convolution(problem, add_padding(problem.input, copied, problem.fill),
                             as_symbols(inside));
}

/// The padded input is copied, where the convolution does not add all of the padding itself.
int64_t bytes_copied(const ConvProblem& problem) {
  const auto copied = known_pads(split_pads(problem).copied);
  Dims padded;
  bool copies = false;
  for (const auto i : c10::irange(problem.dimensions())) {
    const auto& [before, after] = (*copied)[i];
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
    .run = run,
    .gradients = padded_gradients,
    .bytes_copied = bytes_copied,
};

}  // namespace samepad::detail
