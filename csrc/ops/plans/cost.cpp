#include "cost.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <optional>

#include "../../kernels/common/cpu.h"
#include "../../kernels/dense/runs.h"
#include "cost_constants.h"

namespace samepad::detail {
namespace {

/// The number of channels that oneDNN computes together, and of floats in a vector of AVX-512.
constexpr double kBlock = 16;

double in_blocks(double count) { return std::ceil(count / kBlock) * kBlock; }

/// How many times as much work whole blocks are as the count.
double block_factor(double count) { return in_blocks(count) / std::max(count, 1.0); }

double product(at::IntArrayRef values) {
  return std::accumulate(values.begin(), values.end(), 1.0, std::multiplies<>());
}

bool is_channels_last(const ConvProblem& problem) {
  return problem.output_format() != at::MemoryFormat::Contiguous;
}

struct Sizes {
  double images;
  double groups;
  double channels;  ///< of a group
  double filters;   ///< of a group
  double taps;      ///< elements of the kernel

  explicit Sizes(const ConvProblem& problem)
      : images(static_cast<double>(problem.input.size(0))),
        groups(static_cast<double>(problem.groups.expect_int())),
        channels(std::max(static_cast<double>(problem.weight.size(1)), 1.0)),
        filters(static_cast<double>(problem.weight.size(0)) / groups),
        taps(product(problem.kernel)) {}
};

/// The amounts that every implementation has.
Work common_work(Implementation implementation, const Sizes& sizes, const Dims& input_size,
                 const Dims& output_size) {
  const double output = sizes.images * sizes.groups * sizes.filters * product(output_size);
  Work work{implementation};
  work.multiplications = output * sizes.channels * sizes.taps;
  work.input = sizes.images * sizes.groups * sizes.channels * product(input_size);
  work.output = output;
  work.weight = sizes.groups * sizes.filters * sizes.channels * sizes.taps;
  work.groups = sizes.groups;
  return work;
}

/// Whether the kernel is wider than what oneDNN's generated code takes, so that it runs slower
/// code. For depthwise convolutions in channels_last, this depends on the dilation too; in
/// bfloat16, only kernels 3 wide without a stride have fast gradients. All of this has been found
/// by measurement.
bool has_wide_windows(const ConvProblem& problem) {
  constexpr int64_t kWidest = 13;
  const int64_t last = problem.dimensions() - 1;
  if (problem.depthwise && problem.input.scalar_type() == at::kBFloat16 &&
      problem.needs_gradient()) {
    return problem.kernel[last] != 3 ||
           std::ranges::any_of(problem.stride, [](int64_t stride) { return stride > 1; });
  }
  const bool is_dilated = problem.dilation[last] > 1 && problem.extent(last) > kWidest;
  const bool is_wide = problem.kernel[last] > kWidest;
  return problem.depthwise ? is_dilated || (is_wide && !is_channels_last(problem)) : is_wide;
}

/// Whether the kernel extends in depth alone, for which oneDNN has no fast code.
bool has_deep_windows(const ConvProblem& problem) {
  return problem.dimensions() == 3 && problem.kernel[0] > 1 && problem.kernel[1] == 1 &&
         problem.kernel[2] == 1;
}

/// How much longer a multiplication takes oneDNN in three dimensions than in two. The constants of
/// the model have been fitted to layers of two dimensions; these factors have been measured on some
/// layers of networks for videos and volumes.
///
/// On CPUs without instructions for bfloat16, going from float to bfloat16 slows oneDNN's dense
/// convolutions down about three times as much as samepad's kernels, as measured.
double slowness(const ConvProblem& problem) {
  if (problem.input.scalar_type() == at::kBFloat16 && !problem.depthwise &&
      kernels::bfloat16_products() == kernels::Bfloat16Products::widened) {
    return 3;
  }
  return has_deep_windows(problem) ? 3 : problem.dimensions() == 3 ? 1.25 : 1;
}

bool is_pointwise(const ConvProblem& problem) {
  const auto is_one = [](int64_t value) { return value == 1; };
  return std::ranges::all_of(problem.kernel, is_one) && std::ranges::all_of(problem.stride, is_one);
}

/// The number of pixels that a kernel for planes copies at once: those of a row, or of an image if
/// each output reads the input at its own position alone.
double row_length(const ConvProblem& problem) {
  const Dims sizes = problem.output_size();
  return is_pointwise(problem) ? product(sizes) : static_cast<double>(sizes.back());
}

/// Whether PyTorch computes the convolution of an input of this size itself rather than by oneDNN.
/// The rule is PyTorch's for images and one thread, in use_mkldnn of ATen/native/Convolution.cpp.
/// With more threads it leaves 1x1 layers to oneDNN, but a plan that depended on the number of
/// threads would make the results depend on it.
bool is_product(const ConvProblem& problem, const Sizes& sizes, const Dims& input_size) {
  constexpr double kSmall = 20480;
  constexpr double kManyImages = 16;
  const int64_t last = problem.dimensions() - 1;
  const bool is_small =
      sizes.images == 1 && sizes.groups * sizes.channels * product(input_size) <= kSmall;
  const bool is_large_kernel = last > 0 && problem.kernel[last] > 3 && problem.kernel[last - 1] > 3;
  const bool is_dilated = std::ranges::any_of(problem.dilation, [](int64_t d) { return d > 1; });
  return problem.input.scalar_type() == at::kFloat &&
         ((sizes.groups == 1 && is_small && !is_large_kernel) ||
          (is_pointwise(problem) && !is_dilated && sizes.images < kManyImages));
}

/// Constants and their name.
struct NamedCosts {
  const CostTable& table;
  const char* name;
};

/// Those for bfloat16 on this CPU. Where it is widened to float, they are those of float; see
/// slowness().
std::optional<NamedCosts> costs_of_bfloat16() {
  if (kernels::instruction_set() == kernels::InstructionSet::avx512) {
    switch (kernels::bfloat16_products()) {
      case kernels::Bfloat16Products::tiles:
        return NamedCosts{kAmxCosts, "kAmxCosts"};
      case kernels::Bfloat16Products::vectors:
        return NamedCosts{kAvx512Bf16Costs, "kAvx512Bf16Costs"};
      case kernels::Bfloat16Products::widened:
        break;
    }
  }
  return std::nullopt;
}

/// The constants for this type and CPU.
const CostTable& cost_table(at::ScalarType type) {
  if (type == at::kBFloat16) {
    if (const auto costs = costs_of_bfloat16()) {
      return costs->table;
    }
  }
  return kernels::instruction_set() == kernels::InstructionSet::avx512 ? kAvx512Costs : kAvx2Costs;
}

}  // namespace

Dims input_size(const ConvProblem& problem) {
  Dims result;
  for (int64_t i = 0; i < problem.dimensions(); ++i) {
    result.push_back(problem.size(i).expect_int());
  }
  return result;
}

Work own_work(const ConvProblem& problem) {
  const Sizes sizes(problem);
  Work work = common_work(
      problem.depthwise ? Implementation::depthwise_kernels : Implementation::dense_kernels, sizes,
      input_size(problem), problem.output_size());
  const bool channels_last = is_channels_last(problem);
  if (problem.depthwise) {
    // In channels_last there are kernels for common widths that load a pixel once for all outputs
    // (kernels/depthwise/pixel_rows.h); others load it for each kernel element. This bound is part
    // of the estimate alone.
    constexpr int64_t kWidest = 7;
    const bool is_common = problem.kernel.back() <= kWidest && problem.dilation.back() == 1 &&
                           problem.stride.back() <= 2;
    if (channels_last && !is_common) {
      work.wide = work.multiplications;
    }
    // Vectors hold channels, or the pixels of a row.
    const double filled =
        channels_last ? sizes.groups : static_cast<double>(problem.output_size().back());
    work.unfilled = work.multiplications * (block_factor(filled) - 1);
    // In NCHW every plane starts loops of its own.
    work.rearranged = sizes.images * sizes.groups;
    return work;
  }
  const double pixels = sizes.images * product(problem.output_size());
  if (problem.input.scalar_type() == at::kBFloat16) {
    // Tiles hold 16 filters and 32 elements of a pixel. Where rows of the kernel are joined, a
    // window's part of each input row is copied.
    const kernels::Runs runs = kernels::tile_runs(
        problem.weight.size(1), static_cast<int64_t>(sizes.taps), problem.kernel.back());
    const auto packed = static_cast<double>(runs.packed(kernels::kTileRun));
    const double filled = packed / (sizes.channels * sizes.taps) * block_factor(sizes.filters);
    work.unfilled = work.multiplications * (filled - 1);
    work.rearranged = runs.length == problem.weight.size(1) ? 0 : pixels * packed;
    return work;
  }
  if (channels_last) {
    // Vectors hold filters. Up to 4 of them use an element that is broadcast.
    constexpr double kBroadcast = 4 * kBlock;
    work.unfilled = work.multiplications * (block_factor(sizes.filters) - 1);
    work.rearranged =
        pixels * sizes.groups * sizes.channels * sizes.taps * std::ceil(sizes.filters / kBroadcast);
  } else {
    // Vectors hold pixels. Panels of im2col are filled row by row, and read by all filters of a
    // group.
    work.unfilled = work.multiplications * (block_factor(pixels) - 1);
    work.rearranged = work.multiplications / sizes.filters * block_factor(row_length(problem));
  }
  return work;
}

Work library_work(const ConvProblem& problem, const Dims& input_size, const Dims& output_size) {
  // oneDNN has kernels for the first layer of a network, which do not fill up the channels.
  constexpr double kFewChannels = 4;
  const Sizes sizes(problem);
  if (is_product(problem, sizes, input_size)) {
    Work work = common_work(Implementation::library_product, sizes, input_size, output_size);
    work.rearranged = is_pointwise(problem) ? 0 : work.multiplications / sizes.filters;
    work.groups = sizes.images * sizes.groups;
    // The constants are those of a CPU whose AVX-512 MKL uses. On others its vectors are half as
    // wide.
    work.multiplications *= kernels::mkl_is_narrow() ? 2 : 1;
    return work;
  }
  // oneDNN's kernels for depthwise convolutions are for one filter per channel.
  const bool depthwise = problem.depthwise && sizes.filters == 1;
  Work work = common_work(depthwise ? Implementation::library_depthwise : Implementation::library,
                          sizes, input_size, output_size);
  if (!depthwise) {
    const double channels =
        sizes.groups * sizes.channels <= kFewChannels ? sizes.channels : in_blocks(sizes.channels);
    work.unfilled = in_blocks(sizes.filters) * channels / (sizes.filters * sizes.channels) - 1;
    work.unfilled *= work.multiplications;
  }
  work.rearranged = sizes.images * sizes.groups * product(output_size) * sizes.taps;
  if (has_wide_windows(problem) || has_deep_windows(problem)) {
    work.wide = work.multiplications;
  }
  work.multiplications *= slowness(problem);
  return work;
}

const char* bfloat16_costs() {
  const auto costs = costs_of_bfloat16();
  return costs ? costs->name : nullptr;
}

bool has_estimates(const ConvProblem& problem) {
  const auto type = problem.input.scalar_type();
  return problem.input.is_cpu() && c10::isFloatingType(type) && type != at::kDouble &&
         kernels::instruction_set() != kernels::InstructionSet::generic;
}

double estimated_time(const ConvProblem& problem, Purpose purpose, const Work& work) {
  const auto& by_variant = cost_table(problem.input.scalar_type());
  const size_t variant =
      (purpose == Purpose::training ? 2 : 0) + (is_channels_last(problem) ? 1 : 0);
  const auto amounts = work.amounts();
  const auto& constants = by_variant[variant][static_cast<size_t>(work.implementation)];
  return std::inner_product(amounts.begin(), amounts.end(), constants.begin(), 0.0);
}

}  // namespace samepad::detail
