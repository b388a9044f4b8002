#include "library_faults.h"

#include <c10/core/MemoryFormat.h>
#include <c10/core/ScalarType.h>
#include <c10/util/strides.h>

#include <algorithm>

#include "../../kernels/common/arithmetic.h"

namespace samepad::detail {
namespace {

/// One dimension of a convolution.
struct Axis {
  int64_t size;
  int64_t kernel;
  int64_t stride;
  int64_t dilation;
  Pads<int64_t> pads;  ///< Not negative: what negative pads crop is subtracted from `size`.

  bool is_padded() const { return pads.before > 0 || pads.after > 0; }

  int64_t extent() const { return kernel_extent(kernel, dilation); }

  int64_t outputs() const { return padded_output_size(size, extent(), stride, pads); }

  /// Whether a window contains no padding.
  bool has_inner_window() const {
    const int64_t first = kernels::ceil_div(pads.before, stride);
    return first < outputs() && first * stride - pads.before + extent() <= size;
  }
};

/// Whether there is an i < count for which none of the positions i step + j other_step - before, j
/// < other_count, lies in the image [0, size).
bool misses(int64_t count, int64_t step, int64_t other_count, int64_t other_step, int64_t before,
            int64_t size) {
  const auto meets = [&](int64_t i) {
    const int64_t first = i * step - before;
    const int64_t j = first < 0 ? kernels::ceil_div(-first, other_step) : 0;
    return j < other_count && first + j * other_step < size;
  };
  if (!meets(0) || !meets(count - 1)) {
    return true;
  }
  // Steps no longer than the image cannot jump over it, so only the first or the last i can miss
  // it.
  if (other_step <= size) {
    return false;
  }
  // Checking more than this would take too long. Assuming a fault is safe, only slower.
  constexpr int64_t kMany = 4096;
  if (count > kMany) {
    return true;
  }
  for (int64_t i = 0; i < count; ++i) {
    if (!meets(i)) {
      return true;
    }
  }
  return false;
}

/// Whether a window contains only padding, or an element of the kernel meets only padding in all
/// windows.
bool sees_padding_alone(const Axis& axis) {
  const auto& [size, kernel, stride, dilation, pads] = axis;
  const int64_t outputs = axis.outputs();
  return axis.is_padded() && (misses(outputs, stride, kernel, dilation, pads.before, size) ||
                              misses(kernel, dilation, outputs, stride, pads.before, size));
}

/// Whether oneDNN computes this type. Double precision is computed by PyTorch's own code.
bool is_onednn_type(at::ScalarType type) {
  const auto real = c10::toRealValueType(type);
  return real == at::kFloat || real == at::kBFloat16 || real == at::kHalf;
}

/// Whether PyTorch might compute in channels_last. Under transforms the layout is not known.
bool may_be_channels_last(const at::Tensor& input, const at::Tensor& weight) {
  return !is_plain(input) || !is_plain(weight) ||
         layout_of_output(input, weight) != at::MemoryFormat::Contiguous;
}

bool has_known_strides(const at::Tensor& tensor) {
  return tensor.layout() == at::kStrided &&
         !tensor.unsafeGetTensorImpl()->has_symbolic_sizes_strides();
}

/// Whether oneDNN may compute this kernel wrongly by AMX, which multiplies blocks of 32 elements.
/// The kernels found to be so have fewer than 32 channels, and each of their rows, with all
/// channels, fills two or more blocks exactly.
bool has_faulty_rows(const at::Tensor& weight) {
  constexpr int64_t kBlock = 32;
  if (weight.scalar_type() != at::kBFloat16) {
    return false;
  }
  const int64_t channels = weight.size(1);
  const int64_t last = weight.size(-1);
  const int64_t row = channels * (last == 1 && weight.dim() > 3 ? weight.size(-2) : last);
  return channels < kBlock && row > kBlock && row % kBlock == 0;
}

/// Whether oneDNN may compute this weight's gradient wrongly, in float32 too, if there are groups
/// and the output is 1 wide. The kernels found to be so have 16 to 19 rows and columns.
bool has_faulty_gradient(const at::Tensor& weight) {
  constexpr int64_t kLarge = 16;
  return weight.dim() == 4 && weight.size(2) >= kLarge && weight.size(3) >= kLarge &&
         is_onednn_type(weight.scalar_type()) && !weight.is_complex();
}

bool is_plainly_contiguous(const at::Tensor& tensor) {
  return tensor.strides() == at::IntArrayRef(c10::contiguous_strides(tensor.sizes()));
}

}  // namespace

bool is_half_type(at::ScalarType type) { return type == at::kBFloat16 || type == at::kHalf; }

bool is_half_on_cpu(const at::Tensor& tensor) {
  return tensor.is_cpu() && is_half_type(tensor.scalar_type());
}

bool has_faulty_stride(const at::Tensor& weight, at::IntArrayRef stride) {
  constexpr int64_t kMost = 8;
  return is_half_on_cpu(weight) && !stride.empty() && stride.back() > kMost &&
         stride.back() > weight.size(-1);
}

at::Tensor plainly_contiguous(const at::Tensor& tensor) {
  return has_known_strides(tensor) && is_plainly_contiguous(tensor)
             ? tensor
             : tensor.clone(at::MemoryFormat::Contiguous);
}

at::Tensor with_plain_strides(const at::Tensor& weight) {
  if (!has_known_strides(weight) || is_plainly_contiguous(weight)) {
    return weight;
  }
  const at::IntArrayRef sizes = weight.sizes();
  const at::IntArrayRef strides = weight.strides();
  const bool is_channels_last =
      (weight.dim() == 4 && strides == at::IntArrayRef(c10::get_channels_last_strides_2d(sizes))) ||
      (weight.dim() == 5 && strides == at::IntArrayRef(c10::get_channels_last_strides_3d(sizes)));
  return is_channels_last ? weight : weight.clone(at::MemoryFormat::Contiguous);
}

const char* library_fault(Purpose purpose, const at::Tensor& input, const at::Tensor& weight,
                          at::IntArrayRef size, at::IntArrayRef stride, at::IntArrayRef dilation,
                          at::ArrayRef<Pads<int64_t>> pads) {
  if (!weight.is_cpu() || !is_onednn_type(weight.scalar_type())) {
    return nullptr;
  }
  const at::IntArrayRef kernel = weight.sizes().slice(2);
  const bool is_half = is_half_type(weight.scalar_type());
  const bool is_training = purpose == Purpose::training;
  const size_t width = size.size() - 1;
  c10::SmallVector<Axis, 3> axes;
  for (size_t i = 0; i < size.size(); ++i) {
    constexpr int64_t kNone = 0;
    const auto& [before, after] = pads[i];
    axes.push_back({size[i] + std::min(before, kNone) + std::min(after, kNone),
                    kernel[i],
                    stride[i],
                    dilation[i],
                    {std::max(before, kNone), std::max(after, kNone)}});
  }
  const bool is_half_or_3d = is_half || axes.size() == 3;
  if (is_half_or_3d && std::ranges::any_of(axes, sees_padding_alone)) {
    return "PyTorch is wrong where an output, or a part of the kernel, sees padding alone";
  }
  // This costs nothing to avoid, and strides that overflow 32 bits crash oneDNN for all types.
  if (std::ranges::any_of(
          axes, [](const Axis& axis) { return axis.stride > 1 && axis.outputs() == 1; })) {
    return "PyTorch is wrong where a dimension with a stride has one output";
  }
  if (has_faulty_rows(weight)) {
    return "PyTorch is wrong in bfloat16 where the rows of a kernel with fewer than 32 channels "
           "fill whole blocks";
  }
  const bool adds_padding = std::ranges::any_of(axes, &Axis::is_padded);
  const auto skips = [](const Axis& axis) { return axis.kernel < axis.stride; };
  if (is_half && adds_padding && std::any_of(axes.begin(), axes.begin() + width, skips)) {
    return "PyTorch is wrong in half precision where it pads and a stride exceeds the kernel";
  }
  if (is_half && axes.size() == 3 && axes[0].kernel < axes[0].stride) {
    return "PyTorch is wrong in half precision where the depth's stride exceeds the kernel";
  }
  if (is_training && has_faulty_stride(weight, stride)) {
    return "PyTorch's gradient is wrong in half precision for wide strides that exceed the kernel";
  }
  if (is_training && is_half_or_3d && axes[width].size < axes[width].stride && adds_padding) {
    return "PyTorch's gradient is wrong where the input is narrower than the stride";
  }
  if (is_training && axes.size() == 3 && axes[0].is_padded() && !axes[0].has_inner_window()) {
    return "PyTorch's gradient is wrong where every window contains padding of the depth";
  }
  // There are groups where the weight has fewer channels than the input. For a transposed
  // convolution, whose input is the output here, this may hold without groups too, which is safe.
  if (is_training && has_faulty_gradient(weight) && axes[width].outputs() == 1 &&
      weight.size(1) != input.size(input.dim() - static_cast<int64_t>(size.size()) - 1)) {
    return "PyTorch's gradient is wrong for large kernels in groups where the output is 1 wide";
  }
  if (!is_training || !may_be_channels_last(input, weight)) {
    return nullptr;
  }
  const auto is_one = [](int64_t value) { return value == 1; };
  constexpr int64_t kOneDnnBlock = 16;
  const bool is_pointwise = std::ranges::all_of(kernel, is_one);
  if (is_pointwise && !std::ranges::all_of(stride, is_one) && weight.size(1) < kOneDnnBlock) {
    return "PyTorch's gradient is wrong for 1x1 kernels with a stride over few channels in "
           "channels_last";
  }
  if (is_pointwise && is_half && axes.size() == 3 && weight.size(1) < 2 * kOneDnnBlock) {
    return "PyTorch's gradient is wrong in half precision for 1x1x1 kernels over few channels in "
           "channels_last";
  }
  constexpr int64_t kNarrow = 16;
  if (is_half && !std::ranges::all_of(dilation.slice(0, width), is_one) &&
      axes[width].outputs() > kNarrow) {
    return "PyTorch's gradient is wrong for dilated kernels in half precision in channels_last";
  }
  return nullptr;
}

const char* library_fault(Purpose purpose, const ConvProblem& problem) {
  if (!problem.has_known_pads ||
      problem.weight.unsafeGetTensorImpl()->has_symbolic_sizes_strides()) {
    return nullptr;
  }
  Dims size;
  for (int64_t i = 0; i < problem.dimensions(); ++i) {
    const auto known_size = problem.size(i).maybe_as_int();
    if (!known_size || *known_size == 0) {
      return nullptr;
    }
    // The remedy is a padded copy, and one with so much padding would not fit in memory.
    constexpr int64_t kMostPadding = 1048576;
    const auto& [before, after] = problem.known_pads[i];
    if (std::max(before, after) > kMostPadding) {
      return nullptr;
    }
    size.push_back(*known_size);
  }
  return library_fault(purpose, problem.input, problem.weight, size, problem.stride,
                       problem.dilation, problem.known_pads);
}

Purpose purpose_of(const ConvArgs& args) {
  return !args.plain || args.needs_gradient() ? Purpose::training : Purpose::inference;
}

at::ScalarType precision_without_fault(const at::Tensor& weight, at::IntArrayRef stride) {
  if (has_faulty_gradient(weight)) {
    return at::kDouble;
  }
  const at::ScalarType given = weight.scalar_type();
  const bool is_faulty = (is_half_type(given) && weight.dim() == 5) ||
                         has_faulty_stride(weight, stride) || has_faulty_rows(weight);
  return is_faulty ? at::kFloat : given;
}

}  // namespace samepad::detail
