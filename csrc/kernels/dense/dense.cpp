// The dense kernels on tensors and threads.

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <numeric>

#include "../common/arithmetic.h"
#include "../common/cpu.h"
#include "../common/workspace.h"
#include "../conv_kernels.h"
#include "kernels.h"

namespace samepad::kernels {
namespace {

template <class T>
const DenseKernels<T>& kernels() {
#ifdef SAMEPAD_X86_KERNELS
  return instruction_set() == InstructionSet::avx512 ? avx512::dense<T>() : avx2::dense<T>();
#else
  TORCH_INTERNAL_ASSERT(false, "takes");
#endif
}

bool is_channels_last(at::MemoryFormat memory_format) {
  return memory_format == at::MemoryFormat::ChannelsLast;
}

/// `tensor` in a layout; between contiguous and channels_last faster than at::Tensor::contiguous.
template <class T>
at::Tensor in_layout(const at::Tensor& tensor, at::MemoryFormat memory_format) {
  const bool to_pixels = is_channels_last(memory_format);
  if (tensor.is_contiguous(memory_format) ||
      !tensor.is_contiguous(to_pixels ? at::MemoryFormat::Contiguous
                                      : at::MemoryFormat::ChannelsLast)) {
    return tensor.contiguous(memory_format);
  }
  constexpr int64_t kRows = 64;
  at::Tensor result = at::empty(tensor.sizes(), tensor.options(), memory_format);
  const int64_t channels = tensor.size(1);
  const int64_t pixels = tensor.size(2) * tensor.size(3);
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

/// Input elements that `rows` output rows span and that are copied at a time.
double spanned(const ConvShape& shape, bool channels_last, double rows) {
  constexpr int64_t kPanelProducts = 192;
  const int64_t channels = shape.channels / shape.groups;
  const auto along = [&](int axis, double outputs) {
    return outputs * static_cast<double>(shape.stride[axis]) +
           static_cast<double>(shape.kernel[axis]) * static_cast<double>(shape.dilation[axis]);
  };
  return along(0, rows) * along(1, static_cast<double>(shape.output[1])) *
         static_cast<double>(channels_last
                                 ? channels
                                 : std::clamp<int64_t>(kPanelProducts / shape.taps(), 1, channels));
}

/// Output rows to compute at a time: some hundred pixels, as rows that follow read some of the same
/// input; no more than the second cache holds the sums of and, of pixels, the input.
int64_t band_rows(const ConvShape& shape, bool channels_last) {
  constexpr int64_t kPixels = 512;
  constexpr int64_t kElements = 131072;
  int64_t pixels = std::min(kPixels, kElements / (shape.filters / shape.groups));
  if (channels_last) {
    const double row = spanned(shape, true, 2) - spanned(shape, true, 1);
    pixels = std::min(pixels, static_cast<int64_t>(static_cast<double>(kElements) / row *
                                                   static_cast<double>(shape.output[1])));
  }
  return std::max<int64_t>(pixels / shape.output[1], 1);
}

/// The parts that a convolution is shared out in.
class Parts {
 public:
  Parts(const ConvShape& shape, bool channels_last, int64_t block)
      : rows_(shape.batch * shape.output[0]),
        bands_(ceil_div(rows_, band_rows(shape, channels_last))),
        groups_(shape.groups),
        filters_(shape.filters / shape.groups),
        block_(block),
        blocks_(ceil_div(filters_, block)) {
    // Few of them are not worth what every thread does for itself: the input is copied, the weight
    // read.
    constexpr int64_t kLeastPixels = 128;
    constexpr int64_t kLeastFilters = 32;
    const int64_t threads = at::get_num_threads();
    // Bands for all threads alike; where there are too few, filters are shared.
    if (bands_ > threads || rows_ * shape.output[1] >= threads * kLeastPixels) {
      bands_ = std::min(rows_, ceil_div(bands_, threads) * threads);
    }
    shares_ = std::clamp<int64_t>(ceil_div(threads, bands_ * groups_), 1,
                                  std::min(blocks_, ceil_div(filters_, kLeastFilters)));
  }

  int64_t bands() const { return bands_; }

  int64_t count() const { return bands_ * groups_ * shares_; }

  DensePart operator[](int64_t i) const {
    const int64_t share = i % shares_;
    const int64_t group = i / shares_ % groups_;
    const int64_t band = i / shares_ / groups_;
    const auto filter = [&](int64_t share) {
      return group * filters_ + std::min(blocks_ * share / shares_ * block_, filters_);
    };
    return {{rows_ * band / bands_, rows_ * (band + 1) / bands_},
            {filter(share), filter(share + 1)}};
  }

 private:
  int64_t rows_;
  int64_t bands_;
  int64_t groups_;
  int64_t filters_;  ///< of a group
  int64_t block_;    ///< of filters
  int64_t blocks_;
  int64_t shares_ = 1;
};

template <class Run>
void run_parts(const Parts& parts, int64_t operations, const Run& run) {
  share_out(parts.count(), operations / parts.count(), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      run(parts[i]);
    }
  });
}

int64_t operations(const ConvShape& shape) {
  return shape.batch * shape.output[0] * shape.output[1] * shape.filters *
         (shape.channels / shape.groups) * shape.taps();
}

template <class T>
void plane_output(const ConvShape& shape, const at::Tensor& input, const at::Tensor& weight,
                  const T* bias, at::Tensor& output) {
  const T* const x = input.const_data_ptr<T>();
  const T* const w = weight.const_data_ptr<T>();
  T* const y = output.mutable_data_ptr<T>();
  run_parts(Parts(shape, /*channels_last=*/false, 1), operations(shape),
            [&](const DensePart& part) { kernels<T>().plane_output(shape, x, w, bias, y, part); });
}

template <class T>
void pixel_output(const ConvShape& shape, const T* input, const DenseWeight<T>& weight,
                  const T* bias, T* output, const PixelSteps& steps) {
  run_parts(Parts(shape, /*channels_last=*/true, kernels<T>().block), operations(shape),
            [&](const DensePart& part) {
              kernels<T>().pixel_output(shape, input, weight, bias, output, steps, part);
            });
}

/// Room for a weight that is packed in blocks.
template <class T>
T* take_packed(const ConvShape& shape, Workspace& workspace) {
  const int64_t block = kernels<T>().block;
  const int64_t blocks = ceil_div(shape.filters, block);
  return workspace.take<T>(blocks * block * shape.channels * shape.taps());
}

/// Positions of the input along one axis, a stride apart. Their gradient is a convolution of the
/// output's by some taps of the kernel, in reverse.
struct Phase {
  int64_t first;     ///< position
  int64_t count;     ///< of positions
  int64_t tap;       ///< the first tap
  int64_t tap_step;  ///< from one to the next
  int64_t taps;
  int64_t dilation;
  int64_t before;

  Phase(const ConvShape& shape, int axis, int64_t position) : first(position) {
    const int64_t stride = shape.stride[axis];
    const int64_t kernel = shape.kernel[axis];
    const int64_t common = std::gcd(stride, shape.dilation[axis]);
    count = ceil_div(shape.input[axis] - first, stride);
    tap_step = stride / common;
    dilation = shape.dilation[axis] / common;
    // Tap t of output i reads position i stride + t dilation - before.
    const auto reads = [&](int64_t t) {
      return (first + shape.before[axis] - t * shape.dilation[axis]) % stride == 0;
    };
    tap = 0;
    while (tap < std::min(tap_step, kernel) && !reads(tap)) {
      ++tap;
    }
    taps = tap < tap_step && tap < kernel ? ceil_div(kernel - tap, tap_step) : 0;
    const int64_t output = (first + shape.before[axis] - tap * shape.dilation[axis]) / stride;
    before = (taps - 1) * dilation - output;
  }
};

/// The weight, channels_last, of the convolution that gives these phases: the filters become
/// channels. Packed in blocks.
template <class T>
void pack_phase(const ConvShape& shape, const Phase& vertical, const Phase& horizontal,
                const T* weight, T* packed) {
  const int64_t block = kernels<T>().block;
  const int64_t taps = vertical.taps * horizontal.taps;
  const int64_t products = taps * shape.filters;
  const int64_t lanes = kernels<T>().lanes;
  share_out(taps, shape.channels * shape.filters, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t y =
          vertical.tap + (vertical.taps - 1 - t / horizontal.taps) * vertical.tap_step;
      const int64_t x =
          horizontal.tap + (horizontal.taps - 1 - t % horizontal.taps) * horizontal.tap_step;
      for (int64_t c = 0; c < shape.channels; c += block) {
        const int64_t count = std::min(block, shape.channels - c);
        const int64_t pitch = ceil_div(count, lanes) * lanes;
        T* to = packed + c * products + t * shape.filters * pitch;
        for (int64_t f = 0; f < shape.filters; ++f, to += pitch) {
          const T* const from =
              weight + ((f * shape.kernel[0] + y) * shape.kernel[1] + x) * shape.channels + c;
          std::fill(std::copy_n(from, count, to), to + pitch, T(0));
        }
      }
    }
  });
}

template <class T>
void input_gradient(const ConvShape& shape, const at::Tensor& gradient, const at::Tensor& weight,
                    const std::optional<at::Tensor>& bias, at::Tensor& result) {
  const int64_t pixel = shape.channels;
  const PixelSteps steps{shape.input[0] * shape.input[1] * pixel,
                         shape.stride[0] * shape.input[1] * pixel, shape.stride[1] * pixel};
  for (int64_t y = 0; y < std::min(shape.stride[0], shape.input[0]); ++y) {
    const Phase vertical(shape, 0, y);
    for (int64_t x = 0; x < std::min(shape.stride[1], shape.input[1]); ++x) {
      const Phase horizontal(shape, 1, x);
      if (vertical.taps == 0 || horizontal.taps == 0) {
        const at::Tensor part = result.slice(2, vertical.first, shape.input[0], shape.stride[0])
                                    .slice(3, horizontal.first, shape.input[1], shape.stride[1]);
        if (bias) {
          part.copy_(bias->view({-1, 1, 1}));
        } else {
          part.zero_();
        }
        continue;
      }
      const ConvShape phase{shape.batch,
                            shape.filters,
                            shape.channels,
                            1,
                            shape.output,
                            {vertical.count, horizontal.count},
                            {vertical.taps, horizontal.taps},
                            {1, 1},
                            {vertical.dilation, horizontal.dilation},
                            {vertical.before, horizontal.before}};
      Workspace workspace;
      T* const packed = take_packed<T>(phase, workspace);
      pack_phase(shape, vertical, horizontal, weight.const_data_ptr<T>(), packed);
      pixel_output<T>(phase, gradient.const_data_ptr<T>(), {packed, true, true},
                      bias ? bias->const_data_ptr<T>() : nullptr,
                      result.mutable_data_ptr<T>() +
                          (vertical.first * shape.input[1] + horizontal.first) * pixel,
                      steps);
    }
  }
}

/// Whether the input has too few channels to fill half of a vector.
bool has_few_channels(const ConvShape& shape) {
  constexpr int64_t kFewChannels = 7;
  return shape.channels <= kFewChannels;
}

/// Output rows that are multiplied at a time for the gradient of an input of few channels.
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
  const int64_t rows = band_rows(shape, /*channels_last=*/true);
  const int64_t threads = std::min<int64_t>(at::get_num_threads(), products);
  share_out(threads, operations(shape) / threads, [&](int64_t begin, int64_t end) {
    run.weight_gradient(shape, gradient.const_data_ptr<T>(), input.const_data_ptr<T>(),
                        is_channels_last(memory_format), rows, sums, products * begin / threads,
                        products * end / threads);
  });
  at::Tensor result = at::empty({shape.filters, shape.channels, shape.kernel[0], shape.kernel[1]},
                                input.options(), memory_format);
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

/// Elements that are copied or multiplied at a time, at most: they should stay in a cache.
constexpr double kElementsAtOnce = 1024 * 1024;

bool is_copied_in_bands(const ConvShape& shape, bool channels_last) {
  return spanned(shape, channels_last, static_cast<double>(band_rows(shape, channels_last))) <=
         kElementsAtOnce;
}

/// The largest of the convolutions that give the input's gradient: of the phase with most taps.
ConvShape largest_phase(const ConvShape& shape) {
  ConvShape result = shape;
  std::swap(result.channels, result.filters);
  result.input = shape.output;
  result.stride = {1, 1};
  for (const int axis : {0, 1}) {
    const int64_t common = std::gcd(shape.stride[axis], shape.dilation[axis]);
    result.output[axis] = ceil_div(shape.input[axis], shape.stride[axis]);
    result.kernel[axis] = ceil_div(shape.kernel[axis], shape.stride[axis] / common);
    result.dilation[axis] = shape.dilation[axis] / common;
  }
  return result;
}

bool takes_type(at::ScalarType type) { return type == at::kFloat || type == at::kDouble; }

bool takes_input_gradient(const ConvShape& shape) {
  if (!has_few_channels(shape)) {
    return is_copied_in_bands(largest_phase(shape), /*channels_last=*/true);
  }
  const auto rows = static_cast<double>(product_rows(shape) + shape.overlap(0));
  const auto products = static_cast<double>(shape.channels * shape.taps());
  return rows * static_cast<double>(shape.output[1]) * products <= kElementsAtOnce;
}

bool takes(Pass pass, const ConvShape& shape, at::MemoryFormat memory_format,
           at::ScalarType /*type*/) {
  if (instruction_set() == InstructionSet::generic) {
    return false;
  }
  const bool channels_last = is_channels_last(memory_format);
  switch (pass) {
    case Pass::output:
      return (shape.groups == 1 || !channels_last) && is_copied_in_bands(shape, channels_last);
    case Pass::input_gradient:
      return shape.groups == 1 && takes_input_gradient(shape);
    case Pass::weight_gradient:
      return shape.groups == 1 && is_copied_in_bands(shape, /*channels_last=*/true);
  }
  return false;
}

at::Tensor output(const ConvShape& shape, at::MemoryFormat memory_format, const at::Tensor& input,
                  const at::Tensor& weight, const std::optional<at::Tensor>& bias) {
  const bool channels_last = is_channels_last(memory_format);
  const at::Tensor from = input.contiguous(memory_format);
  const bool as_it_lies = channels_last && weight.is_contiguous(memory_format);
  const at::Tensor filters = as_it_lies ? weight : weight.contiguous();
  const std::optional<at::Tensor> added = bias ? std::optional(bias->contiguous()) : std::nullopt;
  at::Tensor output = at::empty({shape.batch, shape.filters, shape.output[0], shape.output[1]},
                                input.options(), memory_format);
  AT_DISPATCH_FLOATING_TYPES(input.scalar_type(), "dense", [&] {
    const auto* const b = added ? added->const_data_ptr<scalar_t>() : nullptr;
    if (!channels_last) {
      plane_output<scalar_t>(shape, from, filters, b, output);
      return;
    }
    constexpr int64_t kManyBands = 3;
    const int64_t row = shape.output[1] * shape.filters;
    DenseWeight<scalar_t> w{filters.const_data_ptr<scalar_t>(), !filters.is_contiguous(), false};
    Workspace workspace;
    if (Parts(shape, channels_last, 1).bands() >= kManyBands) {
      auto* const packed = take_packed<scalar_t>(shape, workspace);
      const int64_t products = shape.channels * shape.taps();
      const int64_t block = kernels<scalar_t>().block;
      share_out(ceil_div(shape.filters, block), block * products, [&](int64_t begin, int64_t end) {
        kernels<scalar_t>().pack_blocks(w.data, shape.filters, products, begin, end, packed);
      });
      w = {packed, w.channels_last, true};
    }
    pixel_output<scalar_t>(shape, from.const_data_ptr<scalar_t>(), w, b,
                           output.mutable_data_ptr<scalar_t>(),
                           {shape.output[0] * row, row, shape.filters});
  });
  return output;
}

at::Tensor input_gradient(const ConvShape& shape, at::MemoryFormat memory_format,
                          const at::Tensor& gradient, const at::Tensor& weight,
                          const std::optional<at::Tensor>& bias) {
  const bool few = has_few_channels(shape);
  const std::optional<at::Tensor> added = bias ? std::optional(bias->contiguous()) : std::nullopt;
  at::Tensor result =
      at::empty({shape.batch, shape.channels, shape.input[0], shape.input[1]}, gradient.options(),
                few ? memory_format : at::MemoryFormat::ChannelsLast);
  return AT_DISPATCH_FLOATING_TYPES(gradient.scalar_type(), "dense_input_gradient", [&] {
    if (few) {
      col2im_input_gradient<scalar_t>(
          shape, is_channels_last(memory_format), in_layout<scalar_t>(gradient, memory_format),
          in_layout<scalar_t>(weight, at::MemoryFormat::Contiguous), added, result);
      return result;
    }
    input_gradient<scalar_t>(shape, in_layout<scalar_t>(gradient, at::MemoryFormat::ChannelsLast),
                             in_layout<scalar_t>(weight, at::MemoryFormat::ChannelsLast), added,
                             result);
    return in_layout<scalar_t>(result, memory_format);
  });
}

at::Tensor weight_gradient(const ConvShape& shape, at::MemoryFormat memory_format,
                           const at::Tensor& gradient, const at::Tensor& input) {
  return AT_DISPATCH_FLOATING_TYPES(gradient.scalar_type(), "dense_weight_gradient", [&] {
    return weight_gradient<scalar_t>(shape, memory_format,
                                     in_layout<scalar_t>(gradient, memory_format),
                                     in_layout<scalar_t>(input, memory_format));
  });
}

}  // namespace

const ConvKernels kDenseKernels{takes_type, takes, output, input_gradient, weight_gradient};

}  // namespace samepad::kernels
