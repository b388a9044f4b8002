// The dense kernels on tensors and threads.

#include <c10/util/Exception.h>

#include <algorithm>
#include <limits>
#include <type_traits>
#include <vector>

#include "../common/arithmetic.h"
#include "../common/cpu.h"
#include "../common/tensors.h"
#include "../common/types.h"
#include "../common/workspace.h"
#include "../conv_kernels.h"
#include "kernels.h"
#include "parts.h"
#include "phases.h"

namespace samepad::kernels {
namespace {

/// The types that have all kernels, and those that have some.
using PlaneTypes = Types<float, double>;
using DenseTypes = Types<float, double, c10::BFloat16>;

/// For bfloat16 there are kernels for channels_last only, into which tensors in NCHW are converted.
template <class T>
constexpr bool kHasPlanes = !std::is_same_v<T, c10::BFloat16>;

template <class T>
using KernelsOf = std::conditional_t<kHasPlanes<T>, DenseKernels<T>, PixelKernels<T>>;

template <class T>
const KernelsOf<T>& kernels() {
#ifdef SAMEPAD_X86_KERNELS
  if constexpr (kHasPlanes<T>) {
    return instruction_set() == InstructionSet::avx512 ? avx512::dense<T>() : avx2::dense<T>();
  } else {
    return avx512::dense_bfloat16(bfloat16_products());
  }
#else
  TORCH_INTERNAL_ASSERT(false, "takes");
#endif
}

/// `tensor` in a layout; between contiguous and channels_last faster than at::Tensor::contiguous.
template <class T>
at::Tensor in_layout(const at::Tensor& tensor, at::MemoryFormat memory_format) {
  const bool to_pixels = is_channels_last(memory_format);
  if (tensor.is_contiguous(memory_format) ||
      !tensor.is_contiguous(to_pixels ? at::MemoryFormat::Contiguous : channels_last_of(tensor))) {
    return tensor.contiguous(memory_format);
  }
  constexpr int64_t kRows = 64;
  at::Tensor result = at::empty(tensor.sizes(), tensor.options(), memory_format);
  const int64_t channels = tensor.size(1);
  const int64_t pixels = tensor.numel() / (tensor.size(0) * channels);
  const int64_t rows = to_pixels ? channels : pixels;
  const int64_t columns = to_pixels ? pixels : channels;
  const int64_t parts = ceil_div(rows, kRows);
  const T* const from = tensor.const_data_ptr<T>();
  T* const to = result.mutable_data_ptr<T>();
  share_out(tensor.size(0) * parts, kRows * columns, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t image = i / parts * channels * pixels;
      const int64_t row = i % parts * kRows;
      kernels<T>().transpose(from + image + row * columns, std::min(kRows, rows - row), columns,
                             columns, to + image + row, rows);
    }
  });
  return result;
}

/// A new tensor in a layout. If a size is 1, both layouts can be the same in memory; then the
/// strides become those of this layout, from which the operators that follow tell it.
template <class T>
at::Tensor result_in_layout(const at::Tensor& tensor, at::MemoryFormat memory_format) {
  at::Tensor result = in_layout<T>(tensor, memory_format);
  result.unsafeGetTensorImpl()->empty_tensor_restride(memory_format);
  return result;
}

template <class Run>
void run_parts(const Parts& parts, int64_t operations, const Run& run) {
  share_out(parts.count(), operations / parts.count(), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      run(parts[i]);
    }
  });
}

int64_t operations(const ConvShape& shape) {
  return shape.images() * shape.output[0] * shape.output[1] * shape.filters *
         (shape.channels / shape.groups) * shape.taps();
}

template <class T>
void plane_output(const ConvShape& shape, const at::Tensor& input, const at::Tensor& weight,
                  const T* bias, const Epilogue<T>* epilogue, const at::Tensor& output) {
  const T* const x = input.const_data_ptr<T>();
  const T* const w = weight.const_data_ptr<T>();
  T* const y = output.mutable_data_ptr<T>();
  // Rows are joined only as far as enough of them remain for all threads.
  const int64_t pixels = shape.images() * shape.output[0] * shape.output[1];
  const int64_t longest = std::max(pixels / at::get_num_threads(), kLeastPixels);
  const ConvShape rows = with_long_rows(shape, std::min(longest, band_pixels(shape)));
  run_parts(Parts(rows, /*channels_last=*/false, 1), operations(shape), [&](const DensePart& part) {
    kernels<T>().plane_output(rows, x, w, bias, epilogue, y, part);
  });
}

template <class T>
void pixel_output(const ConvShape& shape, const T* input, const DenseWeight<T>& weight,
                  const T* bias, const Epilogue<T>* epilogue, T* output, const PixelSteps& steps) {
  run_parts(Parts(shape, /*channels_last=*/true, kernels<T>().block), operations(shape),
            [&](const DensePart& part) {
              kernels<T>().pixel_output(shape, input, weight, bias, epilogue, output, steps, part);
            });
}

template <class T>
Runs runs_of(const ConvShape& shape) {
  return kernels<T>().runs(shape.channels, shape.taps(), shape.kernel[1]);
}

/// The sizes of a weight of `filters` filters that is packed in blocks. No two types have the same
/// sizes, so that a packed weight that has been converted to another type does not fit: in bfloat16
/// pairs of elements lie side by side.
template <class T>
std::array<int64_t, 3> packed_sizes(int64_t filters, const Runs& runs) {
  const auto& run = kernels<T>();
  constexpr int64_t kBeside = kHasPlanes<T> ? 1 : 2;
  return {ceil_div(filters, run.block), runs.packed(run.run_step) / kBeside, kBeside * run.block};
}

/// Room for a packed weight.
template <class T>
T* take_packed(const ConvShape& shape, Workspace& workspace) {
  const auto [blocks, products, block] = packed_sizes<T>(shape.filters, runs_of<T>(shape));
  return workspace.take<T>(blocks * products * block);
}

/// Packs a weight.
template <class T>
void pack(const T* weight, int64_t filters, const Runs& runs, T* packed) {
  const int64_t block = kernels<T>().block;
  share_out(ceil_div(filters, block), block * runs.count * runs.length,
            [&](int64_t begin, int64_t end) {
              kernels<T>().pack_blocks(weight, filters, runs, begin, end, packed);
            });
}

/// The weight of the convolution that gives these phases: the filters become channels. Packed in
/// blocks.
template <class T>
void pack_phase(const ConvShape& shape, const Phases& phases, const T* weight, T* packed) {
  const auto& [depth, vertical, horizontal] = phases;
  const int64_t block = kernels<T>().block;
  const int64_t slice_taps = vertical.taps * horizontal.taps;
  const int64_t taps = depth.taps * slice_taps;
  const int64_t products = taps * shape.filters;
  const int64_t lanes = kernels<T>().lanes;
  const auto kernel_element = [&](int64_t t) {
    const int64_t z = depth.kernel_element(t / slice_taps);
    const int64_t y = vertical.kernel_element(t % slice_taps / horizontal.taps);
    const int64_t x = horizontal.kernel_element(t % horizontal.taps);
    return (z * shape.kernel[0] + y) * shape.kernel[1] + x;
  };
  if constexpr (!kHasPlanes<T>) {
    // Its filters are made first, because elements of several filters are packed side by side.
    const ConvShape phase = phase_shape(shape, phases);
    Workspace workspace;
    T* const filters = workspace.take<T>(shape.channels, products);
    share_out(taps, shape.channels * shape.filters, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        kernels<T>().transpose(weight + kernel_element(t) * shape.channels, shape.filters,
                               shape.channels, shape.taps() * shape.channels,
                               filters + t * shape.filters, products);
      }
    });
    pack(filters, phase.filters, runs_of<T>(phase), packed);
    return;
  }
  share_out(taps, shape.channels * shape.filters, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t element = kernel_element(t);
      for (int64_t c = 0; c < shape.channels; c += block) {
        const int64_t count = std::min(block, shape.channels - c);
        const int64_t pitch = ceil_div(count, lanes) * lanes;
        T* to = packed + c * products + t * shape.filters * pitch;
        for (int64_t f = 0; f < shape.filters; ++f, to += pitch) {
          const T* const from = weight + (f * shape.taps() + element) * shape.channels + c;
          std::fill(std::copy_n(from, count, to), to + pitch, T(0));
        }
      }
    }
  });
}

/// Computes the input's gradient at the positions of these phases.
template <class T>
void phase_gradient(const ConvShape& shape, const Phases& phases, const at::Tensor& gradient,
                    const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                    at::Tensor& result) {
  if (std::ranges::any_of(phases, [](const Phase& phase) { return phase.taps == 0; })) {
    // No output has read these positions.
    at::Tensor part = result;
    const auto axes = static_cast<int>(result.dim() - 2);
    for (int i = 0; i < axes; ++i) {
      const int axis = 3 - axes + i;
      part = part.slice(2 + i, phases[axis].first, shape.axis(axis).input, shape.axis(axis).stride);
    }
    if (bias) {
      std::vector<int64_t> sizes(axes + 1, 1);
      sizes[0] = -1;
      part.copy_(bias->view(sizes));
    } else {
      part.zero_();
    }
    return;
  }
  const ConvShape phase = phase_shape(shape, phases);
  const int64_t pixel = shape.channels;
  const int64_t row = shape.input[1] * pixel;
  const int64_t slice = shape.input[0] * row;
  const PixelSteps steps{shape.depth.input * slice, shape.depth.stride * slice,
                         shape.stride[0] * row, shape.stride[1] * pixel};
  Workspace workspace;
  T* const packed = take_packed<T>(phase, workspace);
  pack_phase(shape, phases, weight.const_data_ptr<T>(), packed);
  pixel_output<T>(phase, gradient.const_data_ptr<T>(), {packed, true, true},
                  bias ? bias->const_data_ptr<T>() : nullptr, /*epilogue=*/nullptr,
                  result.mutable_data_ptr<T>() + phases[0].first * slice + phases[1].first * row +
                      phases[2].first * pixel,
                  steps);
}

template <class T>
void input_gradient(const ConvShape& shape, const at::Tensor& gradient, const at::Tensor& weight,
                    const std::optional<at::Tensor>& bias, at::Tensor& result) {
  const auto count = [&](int i) { return std::min(shape.axis(i).stride, shape.axis(i).input); };
  for (int64_t z = 0; z < count(0); ++z) {
    for (int64_t y = 0; y < count(1); ++y) {
      for (int64_t x = 0; x < count(2); ++x) {
        phase_gradient<T>(shape, phases_from(shape, {z, y, x}), gradient, weight, bias, result);
      }
    }
  }
}

/// The weight, contiguous, of the convolution that gives the input's gradient where the stride is
/// 1: filters and channels change places, and the kernel's elements are in reverse.
template <class T>
at::Tensor reversed(const ConvShape& shape, const at::Tensor& weight) {
  constexpr int64_t kChannels = 16;  // so that reads are consecutive
  const int64_t taps = shape.taps();
  at::Tensor result = at::empty({shape.channels, shape.filters, taps}, weight.options());
  const T* const from = weight.const_data_ptr<T>();
  T* const to = result.mutable_data_ptr<T>();
  const int64_t blocks = ceil_div(shape.channels, kChannels);
  share_out(blocks, kChannels * shape.filters * taps, [&](int64_t begin, int64_t end) {
    const Pair channels{begin * kChannels, std::min(end * kChannels, shape.channels)};
    for (int64_t first = channels[0]; first < channels[1]; first += kChannels) {
      for (int64_t f = 0; f < shape.filters; ++f) {
        for (int64_t c = first; c < std::min(first + kChannels, channels[1]); ++c) {
          const T* const kernel = from + (f * shape.channels + c) * taps;
          std::reverse_copy(kernel, kernel + taps, to + (c * shape.filters + f) * taps);
        }
      }
    }
  });
  return result;
}

/// The input's gradient in NCHW where the stride is 1; all tensors are contiguous.
template <class T>
void plane_input_gradient(const ConvShape& shape, const at::Tensor& gradient,
                          const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                          at::Tensor& result) {
  plane_output<T>(unstrided_gradient_shape(shape), gradient, reversed<T>(shape, weight),
                  bias ? bias->const_data_ptr<T>() : nullptr, /*epilogue=*/nullptr, result);
}

/// Whether the input has too few channels to fill half of a vector. Its gradient is then computed
/// by col2im.
template <class T>
bool has_few_channels(const ConvShape& shape) {
  constexpr int64_t kFewChannels = 7;
  return kHasPlanes<T> && shape.channels <= kFewChannels;
}

/// Whether a pass is computed in channels_last, for tensors in NCHW after converting them. That is
/// so for the input's gradient with a stride, whose phases are scattered in rows but consist of
/// whole pixels; and where rows do not fill a vector, so that planes are copied and multiplied in
/// pieces. An output of 3 to 7 vectors of pixels is an exception: it is faster to read the weight
/// as it lies, which the kernels for channels_last would pack.
template <class T>
bool runs_in_channels_last(Pass pass, const ConvShape& shape, bool channels_last) {
  if (channels_last || shape.groups > 1 || !kHasPlanes<T>) {
    return channels_last || !kHasPlanes<T>;
  }
  const int64_t lanes = kernels<T>().lanes;
  const auto is_narrow = [&](const ConvShape& shape) {
    return with_long_rows(shape).output[1] < lanes;
  };
  switch (pass) {
    case Pass::output: {
      const int64_t pixels = shape.images() * shape.output[0] * shape.output[1];
      return is_narrow(shape) && (pixels <= 2 * lanes || pixels > 7 * lanes);
    }
    case Pass::input_gradient:
      return !is_unstrided(shape) || is_narrow(unstrided_gradient_shape(shape));
    case Pass::weight_gradient:
      return is_narrow(shape);
  }
  return false;
}

/// The number of output rows that are multiplied at a time for the gradient of an input of few
/// channels.
int64_t product_rows(const ConvShape& shape) {
  ConvShape products = shape;
  products.filters = shape.channels * shape.taps();
  return band_rows(products, /*channels_last=*/false);
}

/// The input's gradient where the input has few channels; all are in `result`'s layout, the weight
/// contiguous.
template <class T>
void col2im_input_gradient(const ConvShape& shape, bool channels_last, const at::Tensor& gradient,
                           const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                           at::Tensor& result) {
  const int64_t products = shape.channels * shape.taps();
  const int64_t rows = product_rows(shape);
  const int64_t bands = shape.batch * ceil_div(shape.output[0], rows);
  Workspace workspace;
  T* const transposed = workspace.take<T>(weight.numel());
  kernels<T>().transpose(weight.const_data_ptr<T>(), shape.filters, products, products, transposed,
                         shape.filters);
  share_out(bands, operations(shape) / bands, [&](int64_t begin, int64_t end) {
    kernels<T>().col2im_input_gradient(
        shape, gradient.const_data_ptr<T>(), transposed, bias ? bias->const_data_ptr<T>() : nullptr,
        result.mutable_data_ptr<T>(), channels_last, rows, begin, end);
  });
}

/// The weight's gradient; all are in one layout.
template <class T>
at::Tensor weight_gradient(const ConvShape& shape, at::MemoryFormat memory_format,
                           const at::Tensor& gradient, const at::Tensor& input) {
  const DenseKernels<T>& run = kernels<T>();
  const int64_t products = shape.channels * shape.taps();
  const int64_t blocks = ceil_div(shape.filters, run.block);
  Workspace workspace;
  auto* const sums = workspace.take<T>(blocks * products * run.block);
  const bool channels_last = is_channels_last(memory_format);
  const ConvShape merged = channels_last ? shape : with_long_rows(shape);
  const int64_t rows = band_rows(merged, /*channels_last=*/true);
  const int64_t threads = std::min<int64_t>(at::get_num_threads(), products);
  share_out(threads, operations(shape) / threads, [&](int64_t begin, int64_t end) {
    run.weight_gradient(merged, gradient.const_data_ptr<T>(), input.const_data_ptr<T>(),
                        channels_last, rows, sums, products * begin / threads,
                        products * end / threads);
  });
  at::Tensor result =
      empty_like(input, shape.filters, shape.channels, shape, &Axis::kernel, memory_format);
  T* const to = result.mutable_data_ptr<T>();
  share_out(blocks * shape.taps(), run.block * shape.channels, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t f = i / shape.taps() * run.block;
      run.transpose(sums + i * shape.channels * run.block, shape.channels,
                    std::min(run.block, shape.filters - f), run.block,
                    to + f * products + i % shape.taps() * shape.channels, products);
    }
  });
  return result;
}

bool takes_type(at::ScalarType type) {
  return DenseTypes::contain(type) &&
         (type != at::kBFloat16 || instruction_set() == InstructionSet::avx512);
}

/// The number of bytes of scratch memory that a thread takes, for any number of threads; infinite
/// if there is no kernel for this pass.
template <class T>
double scratch(Pass pass, const ConvShape& shape, bool channels_last) {
  constexpr double kNoKernel = std::numeric_limits<double>::infinity();
  const auto& run = kernels<T>();
  const auto whole_band = [](const ConvShape& shape, bool channels_last) {
    return DensePart{largest_band(shape, band_rows(shape, channels_last)),
                     {0, shape.filters / shape.groups}};
  };
  const bool by_pixels = runs_in_channels_last<T>(pass, shape, channels_last);
  if (shape.groups > 1 && (by_pixels || pass != Pass::output)) {
    return kNoKernel;
  }
  const bool by_col2im = pass == Pass::input_gradient && has_few_channels<T>(shape);
  if (by_pixels && pass != Pass::weight_gradient && !by_col2im) {
    const auto of_pixels = [&](const ConvShape& shape) {
      return run.pixel_scratch(shape, whole_band(shape, /*channels_last=*/true));
    };
    if (pass == Pass::output) {
      return of_pixels(shape);
    }
    const ConvShape largest = largest_phase(shape);
    // The phases have as many taps as this one, or one less along an axis. Narrower kernels may
    // take more memory, because which columns are stored side by side depends on the width.
    ConvShape narrower = largest;
    narrower.kernel[1] = std::max<int64_t>(largest.kernel[1] - 1, 1);
    return std::max(of_pixels(largest), of_pixels(narrower));
  }
  if constexpr (kHasPlanes<T>) {
    const auto of_planes = [&](const ConvShape& shape) {
      const ConvShape rows = with_long_rows(shape);
      return run.plane_scratch(rows, whole_band(rows, /*channels_last=*/false));
    };
    switch (pass) {
      case Pass::output:
        return of_planes(shape);
      case Pass::input_gradient:
        if (!by_col2im) {
          return of_planes(unstrided_gradient_shape(shape));
        }
        // The kernel for inputs of few channels, col2im, computes two dimensions only.
        return shape.is_flat() ? run.col2im_scratch(shape, channels_last, product_rows(shape))
                               : kNoKernel;
      case Pass::weight_gradient: {
        const ConvShape rows = by_pixels ? shape : with_long_rows(shape);
        return run.weight_scratch(rows, by_pixels, whole_band(rows, /*channels_last=*/true).rows);
      }
    }
  }
  return kNoKernel;
}

bool takes(Pass pass, const ConvShape& shape, at::MemoryFormat memory_format, at::ScalarType type) {
  constexpr double kMostScratch = 16.0 * 1024 * 1024;
  return instruction_set() != InstructionSet::generic && shape.is_countable() && takes_type(type) &&
         DenseTypes::dispatch(type, [&]<class T>() {
           return scratch<T>(pass, shape, is_channels_last(memory_format)) <= kMostScratch;
         });
}

/// The weight for the kernel for pixels: packed if it has been before, if many bands use it, or if
/// the kernel reads no others.
template <class T>
DenseWeight<T> pixel_weight(const ConvShape& shape, const at::Tensor& weight,
                            const std::optional<at::Tensor>& packed, Workspace& workspace) {
  constexpr int64_t kManyBands = 3;
  const Runs runs = runs_of<T>(shape);
  if (const T* const data = packed_data<T>(packed, packed_sizes<T>(shape.filters, runs))) {
    return {data, /*channels_last=*/true, /*packed=*/true};
  }
  const DenseWeight<T> given{weight.const_data_ptr<T>(), !weight.is_contiguous(), false};
  if (kHasPlanes<T> && Parts(shape, /*channels_last=*/true, 1).bands() < kManyBands) {
    return given;
  }
  T* const result = take_packed<T>(shape, workspace);
  pack(given.data, shape.filters, runs, result);
  return {result, given.channels_last, true};
}

at::Tensor output(const ConvShape& shape, at::MemoryFormat memory_format, const at::Tensor& input,
                  const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                  const Fusion& fusion) {
  return DenseTypes::dispatch(input.scalar_type(), [&]<class T>() {
    const bool channels_last =
        runs_in_channels_last<T>(Pass::output, shape, is_channels_last(memory_format));
    const at::MemoryFormat computed = channels_last ? channels_last_of(input) : memory_format;
    const at::Tensor from = in_layout<T>(input, computed);
    const bool as_it_lies =
        channels_last &&
        (weight.is_contiguous(computed) ||
         packed_data<T>(fusion.packed, packed_sizes<T>(shape.filters, runs_of<T>(shape))));
    const at::Tensor filters = as_it_lies      ? weight
                               : kHasPlanes<T> ? weight.contiguous()
                                               : in_layout<T>(weight, computed);
    const std::optional<at::Tensor> added = bias ? std::optional(bias->contiguous()) : std::nullopt;
    const auto* const b = added ? added->const_data_ptr<T>() : nullptr;
    const at::Tensor output =
        empty_like(input, shape.batch, shape.filters, shape, &Axis::output, computed);
    const EpilogueOf<T> epilogue(fusion, computed, output);
    if constexpr (kHasPlanes<T>) {
      if (!channels_last) {
        plane_output<T>(shape, from, filters, b, epilogue.get(), output);
        return result_in_layout<T>(output, memory_format);
      }
    }
    const int64_t row = shape.output[1] * shape.filters;
    const int64_t slice = shape.output[0] * row;
    Workspace workspace;
    pixel_output<T>(shape, from.const_data_ptr<T>(),
                    pixel_weight<T>(shape, filters, fusion.packed, workspace), b, epilogue.get(),
                    output.mutable_data_ptr<T>(),
                    {shape.depth.output * slice, slice, row, shape.filters});
    return result_in_layout<T>(output, memory_format);
  });
}

std::optional<at::Tensor> packed_weight(at::MemoryFormat memory_format, const at::Tensor& weight) {
  if (instruction_set() == InstructionSet::generic) {
    return std::nullopt;
  }
  return DenseTypes::dispatch(weight.scalar_type(), [&]<class T>() -> std::optional<at::Tensor> {
    if (kHasPlanes<T> && !is_channels_last(memory_format)) {
      return std::nullopt;
    }
    const at::Tensor filters = weight.contiguous(channels_last_of(weight));
    const int64_t count = weight.size(0);
    const int64_t channels = weight.size(1);
    const Runs runs =
        kernels<T>().runs(channels, weight.numel() / (count * channels), weight.size(-1));
    at::Tensor packed = at::empty(packed_sizes<T>(count, runs), weight.options());
    // The last block need not be full.
    packed.zero_();
    pack(filters.const_data_ptr<T>(), count, runs, packed.mutable_data_ptr<T>());
    return packed;
  });
}

at::Tensor input_gradient(const ConvShape& shape, at::MemoryFormat memory_format,
                          const at::Tensor& gradient, const at::Tensor& weight,
                          const std::optional<at::Tensor>& bias) {
  const std::optional<at::Tensor> added = bias ? std::optional(bias->contiguous()) : std::nullopt;
  return DenseTypes::dispatch(gradient.scalar_type(), [&]<class T>() {
    const bool channels_last = is_channels_last(memory_format);
    const bool by_col2im = has_few_channels<T>(shape);
    const bool by_pixels =
        !by_col2im && runs_in_channels_last<T>(Pass::input_gradient, shape, channels_last);
    const at::MemoryFormat computed = by_pixels ? channels_last_of(gradient) : memory_format;
    const at::Tensor from = in_layout<T>(gradient, computed);
    at::Tensor result =
        empty_like(gradient, shape.batch, shape.channels, shape, &Axis::input, computed);
    if (by_pixels) {
      input_gradient<T>(shape, from, in_layout<T>(weight, computed), added, result);
    } else if constexpr (kHasPlanes<T>) {
      const at::Tensor filters = in_layout<T>(weight, at::MemoryFormat::Contiguous);
      if (by_col2im) {
        col2im_input_gradient<T>(shape, channels_last, from, filters, added, result);
      } else {
        plane_input_gradient<T>(shape, from, filters, added, result);
      }
    }
    return result_in_layout<T>(result, memory_format);
  });
}

at::Tensor weight_gradient(const ConvShape& shape, at::MemoryFormat memory_format,
                           const at::Tensor& gradient, const at::Tensor& input) {
  return PlaneTypes::dispatch(gradient.scalar_type(), [&]<class T>() {
    const bool channels_last =
        runs_in_channels_last<T>(Pass::weight_gradient, shape, is_channels_last(memory_format));
    const at::MemoryFormat computed = channels_last ? channels_last_of(input) : memory_format;
    const at::Tensor result = weight_gradient<T>(shape, computed, in_layout<T>(gradient, computed),
                                                 in_layout<T>(input, computed));
    return result_in_layout<T>(result, memory_format);
  });
}

}  // namespace

const ConvKernels kDenseKernels{takes_type,     takes,         output,
                                input_gradient, packed_weight, weight_gradient};

}  // namespace samepad::kernels
