#include <c10/util/irange.h>

#include <algorithm>
#include <limits>

#include "library.h"

namespace samepad::detail {
namespace {

/// The largest padding that this plan handles. With more, n + 2 p might overflow int64_t, and the
/// extra outputs would cost too much anyway.
constexpr int64_t kMostPadding = std::numeric_limits<int32_t>::max();

/// The symmetric padding of dimension i. The output computed with it contains the wanted outputs.
int64_t padding(const ConvProblem& problem, int64_t i) {
  return crop_padding(problem.known_pads[i], problem.stride[i]);
}

/// The problem whose output is cropped.
ConvProblem whole(const ConvProblem& problem) {
  PadList pads;
  for (const auto i : c10::irange(problem.dimensions())) {
    const int64_t amount = padding(problem, i);
    pads.push_back({amount, amount});
  }
  return {static_cast<const ConvArgs&>(problem), std::move(pads), problem.fill, problem.as_torch};
}

bool can_run(const ConvProblem& problem) {
  if (problem.symmetric || !problem.pads_with_zeros() || !problem.has_known_pads ||
      problem.library_fault() != nullptr) {
    return false;
  }
  for (const auto i : c10::irange(problem.dimensions())) {
    const auto& [before, after] = problem.known_pads[i];
    if (std::min(before, after) < 0 || std::max(before, after) > kMostPadding ||
        problem.stride[i] > kMostPadding || !problem.size(i).maybe_as_int() ||
        problem.is_empty(i)) {
      return false;
    }
  }
  return whole(problem).library_fault() == nullptr;
}

/// The size of dimension i of the output before it is cropped.
int64_t whole_size(const ConvProblem& problem, int64_t i) {
  const int64_t p = padding(problem, i);
  return padded_output_size(problem.size(i).expect_int(), problem.extent(i), problem.stride[i],
                            Pads<int64_t>{p, p});
}

const char* advantage(const ConvProblem& problem) {
  // Without an estimate that it is faster, samepad pads, as everybody does.
  if (!has_estimates(problem) || !problem.plain || is_dilated_depthwise(problem)) {
    return nullptr;
  }
  for (const auto i : c10::irange(problem.dimensions())) {
    // oneDNN has only slow code for windows that are wider than the input, and for those that lie
    // in the padding altogether; for the gradients of depthwise convolutions also for those that do
    // so except for one element.
    const int64_t slow =
        problem.extent(i) - (problem.depthwise && problem.needs_gradient() ? 1 : 0);
    const int64_t p = padding(problem, i);
    if (p > 0 && (p >= slow || problem.extent(i) > problem.size(i).expect_int())) {
      return nullptr;
    }
  }
  return "its extra outputs cost less than a copy";
}

/// The convolution computes more outputs, and the wanted ones are copied.
Work work(const ConvProblem& problem) {
  Dims whole;
  for (const auto i : c10::irange(problem.dimensions())) {
    whole.push_back(whole_size(problem, i));
  }
  const Dims input = input_size(problem);
  Work result = library_work(problem, input, whole);
  result.copies = 1;
  result.copied = library_work(problem, input, problem.output_size()).output;
  return result;
}

at::Tensor run(const ConvProblem& problem) {
  const at::Tensor uncropped = library_convolution(whole(problem));
  const Dims wanted = problem.output_size();
  std::vector<Part> parts;
  for (const auto i : c10::irange(problem.dimensions())) {
    if (wanted[i] != uncropped.size(problem.axis(i))) {
      const int64_t start = crop_offset(problem.known_pads[i], problem.stride[i]);
      parts.push_back({problem.axis(i), start, start + wanted[i]});
    }
  }
  return dense_part(uncropped, parts);
}

/// Cropping copies the wanted part of the output. Nothing is copied if that is the whole output.
int64_t bytes_copied(const ConvProblem& problem) {
  const Dims wanted = problem.output_size();
  for (const auto i : c10::irange(problem.dimensions())) {
    if (wanted[i] != whole_size(problem, i)) {
      return count_bytes(problem, problem.weight.size(0), wanted);
    }
  }
  return 0;
}

}  // namespace

extern const Plan kCrop{
    .name = "crop",
    .summary =
        "PyTorch's convolution with more padding than is wanted, on both sides alike, and a "
        "copy of the part of its output that is wanted",
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
