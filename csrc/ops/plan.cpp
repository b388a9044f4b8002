#include "plan.h"

#include <c10/util/Exception.h>
#include <c10/util/accumulate.h>
#include <samepad/backends.h>

#include <algorithm>
#include <limits>

#include "../kernels/threads.h"
#include "library_faults.h"
#include "measurement.h"
#include "own_conv.h"
#include "padded_conv.h"

namespace samepad::detail {
namespace {

thread_local std::optional<Plan> forced_plan;

at::Tensor conv(const ConvArgs& args, const at::Tensor& input, const SymDims& padding) {
  const SymDims stride(args.stride.begin(), args.stride.end());
  const SymDims dilation(args.dilation.begin(), args.dilation.end());
  return call_library(input, args.weight, args.bias, stride, padding, dilation, args.groups);
}

/// Why PyTorch would be wrong for what these tensors are wanted for, or null.
const char* fault_of(const ConvArgs& args, const PadList& pads) {
  return library_fault(pass_for(args.input, args.weight, args.bias), args, pads);
}

/// The pads of dimension i, where `can_crop` has seen that they are known.
Pads<int64_t> expect_known(const Pads<c10::SymInt>& pads) {
  return {pads.before.expect_int(), pads.after.expect_int()};
}

/// The part of the pads that the convolution can add itself, on both sides alike: all or some of
/// pads that are known and zeros, none of others, none to nothing, which convolutions refuse, and
/// none where PyTorch would be wrong.
SymDims symmetric_part(const ConvArgs& args, const PadList& pads) {
  SymDims part;
  const bool faulty = fault_of(args, pads) != nullptr;
  for (int64_t i = 0; i < args.dimensions(); ++i) {
    const auto amounts = known(pads[i]);
    part.emplace_back(amounts && args.fill == "constant" && !args.is_empty(i) && !faulty
                          ? std::max<int64_t>(0, std::min(amounts->before, amounts->after))
                          : 0);
  }
  return part;
}

at::Tensor run_symmetric(const ConvArgs& args, const PadList& pads) {
  SymDims padding;
  for (const auto& pad : pads) {
    padding.push_back(pad.before);
  }
  return conv(args, args.input, padding);
}

at::Tensor run_crop(const ConvArgs& args, const PadList& pads) {
  if (args.input.dim() != args.dimensions() + 2) {  // whose layout could not be told
    ConvArgs batched = args;
    batched.input = args.input.unsqueeze(0);
    return run_crop(batched, pads).squeeze(0);
  }
  SymDims padding;
  for (int64_t i = 0; i < args.dimensions(); ++i) {
    padding.emplace_back(crop_padding(expect_known(pads[i]), args.stride[i]));
  }
  const at::Tensor whole = conv(args, args.input, padding);
  std::vector<Part> parts;
  for (int64_t i = 0; i < args.dimensions(); ++i) {
    const auto amounts = expect_known(pads[i]);
    const int64_t n = args.size(i).expect_int();
    const int64_t start = crop_offset(amounts, args.stride[i]);
    const int64_t wanted = padded_output_size(n, args.extent(i), args.stride[i], amounts);
    if (wanted != whole.size(args.axis(i))) {
      parts.push_back({args.axis(i), start, start + wanted});
    }
  }
  return dense_part(whole, parts);
}

/// Whether the padded copy can be made by a kernel, and made again for backward rather than kept.
bool can_run_padded_conv(const ConvArgs& args, const PadList& pads) {
  return args.fill == "constant" && args.input.is_floating_point() && is_plain(args) &&
         std::ranges::all_of(pads, [](const auto& pad) { return known(pad).has_value(); });
}

/// What of the pads the convolution cannot add itself, beside what it can.
PadList rest_of(const PadList& pads, const SymDims& own) {
  PadList rest;
  for (size_t i = 0; i < pads.size(); ++i) {
    rest.push_back({pads[i].before - own[i], pads[i].after - own[i]});
  }
  return rest;
}

PaddedConv padded_conv(const ConvArgs& args, const PadList& pads) {
  PaddedConv result{{},
                    {},
                    {args.stride.begin(), args.stride.end()},
                    {args.dilation.begin(), args.dilation.end()},
                    args.groups.expect_int()};
  const SymDims own = symmetric_part(args, pads);
  const PadList rest = rest_of(pads, own);
  for (int64_t i = 0; i < args.dimensions(); ++i) {
    result.padding.push_back(own[i].expect_int());
    const auto amounts = expect_known(rest[i]);
    result.pads.insert(result.pads.end(), {amounts.before, amounts.after});
  }
  return result;
}

at::Tensor run_pad(const ConvArgs& args, const PadList& pads) {
  const bool faulty = fault_of(args, pads) != nullptr;
  if (faulty && args.fill != "constant") {
    ConvArgs filled = args;
    filled.input = add_padding(args.input, pads, args.fill);
    filled.fill = "constant";
    return run_pad(filled, PadList(pads.size(), {0, 0}));
  }
  if (!faulty && !can_run_padded_conv(args, pads)) {
    const SymDims own = symmetric_part(args, pads);
    return conv(args, add_padding(args.input, rest_of(pads, own), args.fill), own);
  }
  const bool batched = args.input.dim() == args.dimensions() + 2;
  const at::Tensor output =
      run_padded_conv(padded_conv(args, pads), batched ? args.input : args.input.unsqueeze(0),
                      args.weight, args.bias);
  return batched ? output : output.squeeze(0);
}

/// Whether `crop` beats `pad`, for pads that both can do: the first copies the output and computes
/// more of it, the second copies the input. In units of one element copied around padding, an
/// output element costs two, 32 multiplications and additions cost one, and the calls that cut the
/// output cost about as much as 5000 (measured in float32 with AVX2; benchmarks/README.md).
bool crop_is_faster(const ConvArgs& args, const PadList& pads) {
  constexpr double kOperationsPerCopy = 32;
  constexpr double kOutputCopy = 2;
  constexpr double kCalls = 5000;
  const bool depthwise = args.weight.size(1) == 1 && args.input.size(args.axis(-1)) > 1;
  double wanted = 1;
  double computed = 1;
  double padded = 1;
  for (int64_t i = 0; i < args.dimensions(); ++i) {
    const auto amounts = expect_known(pads[i]);
    const int64_t n = args.size(i).expect_int();
    const int64_t p = crop_padding(amounts, args.stride[i]);
    // oneDNN's backward pass of a depthwise convolution falls to its reference code here.
    if (depthwise && p >= args.extent(i) - 1 && p > 0 &&
        needs_gradient(args.input, args.weight, args.bias)) {
      return false;
    }
    wanted *= static_cast<double>(padded_output_size(n, args.extent(i), args.stride[i], amounts));
    computed *= static_cast<double>(padded_output_size(n, args.extent(i), args.stride[i], {p, p}));
    padded *= static_cast<double>(n + amounts.before + amounts.after);
  }
  const auto output_channels = static_cast<double>(args.weight.size(0));
  const auto input_channels = static_cast<double>(args.input.size(args.axis(-1)));
  const auto operations_per_output =
      static_cast<double>(args.weight.numel()) / std::max(output_channels, 1.0);
  const double batch =
      args.input.dim() == args.dimensions() + 2 ? static_cast<double>(args.input.size(0)) : 1;
  const double crop_cost =
      kCalls +
      batch * output_channels *
          (wanted * kOutputCopy + (computed - wanted) * operations_per_output / kOperationsPerCopy);
  return crop_cost < batch * input_channels * padded;
}

/// Why our dense kernels are faster than the other plans; null where they are not, as for many
/// convolutions by equal pads (benchmarks/README.md).
const char* dense_advantage(const ConvArgs& args, const PadList& pads, bool symmetric) {
  constexpr double kFew = 8e6;
  if (!symmetric) {
    return "there are kernels that pad on the way";
  }
  if (c10::multiply_integers(args.kernel) == 1) {
    return kernels::mkl_is_narrow() && args.groups.maybe_as_int() == 1
               ? "it is a product of matrices, for which MKL does not use this CPU's AVX-512"
               : nullptr;
  }
  auto multiplications = static_cast<double>(args.weight.numel());
  if (args.input.dim() == args.dimensions() + 2) {
    multiplications *= static_cast<double>(args.input.size(0));
  }
  for (int64_t i = 0; i < args.dimensions(); ++i) {
    multiplications *= static_cast<double>(padded_output_size(
        args.size(i).expect_int(), args.extent(i), args.stride[i], expect_known(pads[i])));
  }
  return multiplications < kFew ? "it is small, and a call of PyTorch's costs more" : nullptr;
}

/// Whether many elements of few channels make an output, as where audio enters a net: PyTorch's
/// libraries, which copy them side by side, are faster there (benchmarks/README.md).
bool is_long(const ConvArgs& args) {
  constexpr int64_t kFewChannels = 8;
  constexpr int64_t kManyElements = 128;
  return args.groups.maybe_as_int() == 1 &&
         args.weight.sym_size(1).maybe_as_int().value_or(kFewChannels) < kFewChannels &&
         c10::multiply_integers(args.kernel) > kManyElements;
}

bool can_crop(const ConvArgs& args, const PadList& pads) {
  // Past this, n + 2 p might not fit, and nobody would want the outputs that it adds.
  constexpr int64_t kLimit = std::numeric_limits<int32_t>::max();
  if (args.fill != "constant") {
    return false;
  }
  for (int64_t i = 0; i < args.dimensions(); ++i) {
    const auto amounts = known(pads[i]);
    if (!amounts || amounts->before < 0 || amounts->after < 0 || amounts->before > kLimit ||
        amounts->after > kLimit || args.stride[i] > kLimit || !args.size(i).maybe_as_int() ||
        args.is_empty(i)) {
      return false;
    }
  }
  return true;
}

}  // namespace

bool is_symmetric(const ConvArgs& args, const PadList& pads) {
  for (int64_t i = 0; i < args.dimensions(); ++i) {
    const auto amounts = known(pads[i]);
    // An amount that is symbolic: PyTorch's convolution takes it as it is.
    if (args.as_torch && args.fill == "constant" && !amounts && !args.is_empty(i) &&
        pads[i].before.is_same(pads[i].after)) {
      continue;
    }
    if (!amounts || amounts->before != amounts->after || amounts->before < 0 || args.is_empty(i) ||
        (args.fill != "constant" && amounts->before != 0)) {
      return false;
    }
  }
  return true;
}

const char* name(Plan plan) { return kPlanNames.at(static_cast<size_t>(plan)); }

Choice choose_plan(const ConvArgs& args, const PadList& pads) {
  const bool symmetric = is_symmetric(args, pads);
  const char* const fault = fault_of(args, pads);
  if (symmetric && args.as_torch && fault == nullptr) {
    return {Plan::symmetric, "amounts that PyTorch takes are PyTorch's to compute"};
  }
  c10::SmallVector<Plan, 4> plans;
  const bool measured = forced_plan || backends::benchmark();
  const auto wanted = [&](Plan plan) {
    return forced_plan.value_or(plan) == plan && (measured || !is_long(args));
  };
  if (wanted(Plan::depthwise) && can_run_depthwise(args, pads)) {
    plans.push_back(Plan::depthwise);
  } else if (wanted(Plan::dense) && can_run_dense(args, pads) &&
             (measured || fault != nullptr || dense_advantage(args, pads, symmetric) != nullptr)) {
    plans.push_back(Plan::dense);
  }
  if (symmetric && fault == nullptr) {
    plans.push_back(Plan::symmetric);
  } else {
    if (fault == nullptr && can_crop(args, pads)) {
      plans.push_back(Plan::crop);
    }
    plans.push_back(Plan::pad);
  }
  if (forced_plan.has_value() && std::ranges::find(plans, *forced_plan) != plans.end()) {
    return {*forced_plan, "it is forced"};
  }
  if (plans.size() == 1) {
    return {plans[0], fault != nullptr ? fault
                      : symmetric      ? "the pads are equal on both sides"
                                       : "no other plan computes this"};
  }
  const bool plain = is_plain(args);
  if (plain && backends::benchmark() && !forced_plan) {
    return {fastest_plan(args, pads, plans), "it was the fastest when it was measured"};
  }
  if (plans[0] == Plan::depthwise) {
    return {Plan::depthwise, "there are kernels for depthwise convolutions"};
  }
  if (plans[0] == Plan::dense) {
    const char* const advantage = dense_advantage(args, pads, symmetric);
    return {Plan::dense, advantage != nullptr ? advantage : fault};
  }
  // On other devices neither has been measured; there, what everybody runs.
  if (!args.input.is_cpu() || !plain) {
    return {Plan::pad, "it fits every device and transform"};
  }
  return crop_is_faster(args, pads) ? Choice{Plan::crop, "its extra outputs cost less than a copy"}
                                    : Choice{Plan::pad, "a copy costs less than extra outputs"};
}

int64_t bytes_copied(Plan plan, const ConvArgs& args, const PadList& pads) {
  int64_t elements = 1;
  const SymDims own = symmetric_part(args, pads);
  bool copies = plan == Plan::pad && !args.input.is_contiguous() && fault_of(args, pads) != nullptr;
  for (int64_t i = 0; i < args.dimensions(); ++i) {
    const auto amounts = expect_known(pads[i]);
    const int64_t n = args.size(i).expect_int();
    if (plan == Plan::crop) {
      const int64_t p = crop_padding(amounts, args.stride[i]);
      const int64_t wanted = padded_output_size(n, args.extent(i), args.stride[i], amounts);
      elements *= wanted;
      copies |= wanted != padded_output_size(n, args.extent(i), args.stride[i], {p, p});
    } else if (plan == Plan::pad) {
      const int64_t inside = own[i].expect_int();
      elements *= n + amounts.before + amounts.after - 2 * inside;
      copies |= amounts.before != inside || amounts.after != inside;
    }
  }
  if (!copies) {
    return 0;
  }
  const bool batched = args.input.dim() == args.dimensions() + 2;
  const int64_t batch = batched ? args.input.size(0) : 1;
  const int64_t channels =
      plan == Plan::crop ? args.weight.size(0) : args.input.size(args.axis(-1));
  return batch * channels * elements * static_cast<int64_t>(args.input.element_size());
}

at::Tensor run_plan(Plan plan, const ConvArgs& args, const PadList& pads) {
  using Run = at::Tensor (*)(const ConvArgs&, const PadList&);
  constexpr std::array<Run, kPlanNames.size()> kRuns{run_symmetric, run_crop, run_pad,
                                                     run_depthwise, run_dense};
  return kRuns.at(static_cast<size_t>(plan))(args, pads);
}

Gradients plan_gradients(Plan plan, const ConvArgs& args, const PadList& pads,
                         const at::Tensor& gradient, std::array<bool, 3> wanted) {
  return plan == Plan::depthwise || plan == Plan::dense
             ? own_gradients(args, pads, gradient, wanted)
             : padded_conv_gradients(padded_conv(args, pads), gradient, args.input, args.weight,
                                     wanted);
}

PlanGuard::PlanGuard(std::optional<Plan> plan) : previous_(forced_plan) { forced_plan = plan; }

PlanGuard::~PlanGuard() { forced_plan = previous_; }

}  // namespace samepad::detail
