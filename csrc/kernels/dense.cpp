#include "dense.h"

#include <ATen/Dispatch.h>
#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include <algorithm>

#include "dense_kernels.h"
#include "threads.h"
#include "workspace.h"

namespace samepad::kernels {
namespace {

template <class T>
const DenseKernels<T>& kernels() {
#ifdef SAMEPAD_X86_KERNELS
  return instruction_set() == InstructionSet::avx512 ? avx512::dense<T>() : avx2::dense<T>();
#else
  TORCH_INTERNAL_ASSERT(false, "can_run_dense");
#endif
}

bool is_channels_last(at::MemoryFormat memory_format) {
  return memory_format == at::MemoryFormat::ChannelsLast;
}

/// Input elements that `rows` output rows span and that are copied at a time.
double spanned(const ConvShape& shape, bool channels_last, double rows) {
  constexpr int64_t kPanelProducts = 192;
  const int64_t channels = shape.channels / shape.groups;
  const auto along = [&](int axis, double outputs) {
    return (outputs - 1) * static_cast<double>(shape.stride[axis]) +
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
        bands_(parts(rows_, band_rows(shape, channels_last))),
        groups_(shape.groups),
        filters_(shape.filters / shape.groups),
        block_(block),
        blocks_(parts(filters_, block)) {
    const int64_t threads = at::get_num_threads();
    // Bands for all threads alike; where there are fewer bands than threads, filters are shared.
    if (bands_ > threads) {
      bands_ = std::min(rows_, parts(bands_, threads) * threads);
    }
    shares_ = std::clamp<int64_t>(parts(threads, bands_ * groups_), 1, blocks_);
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
  static int64_t parts(int64_t whole, int64_t part) { return (whole + part - 1) / part; }

  int64_t rows_;
  int64_t bands_;
  int64_t groups_;
  int64_t filters_;  ///< of a group
  int64_t block_;    ///< of filters
  int64_t blocks_;
  int64_t shares_ = 1;
};

template <class T>
void run(const ConvShape& shape, bool channels_last, const at::Tensor& input,
         const at::Tensor& weight, const T* bias, at::Tensor& output) {
  const DenseKernels<T>& run = kernels<T>();
  const T* const x = input.const_data_ptr<T>();
  T* const y = output.mutable_data_ptr<T>();
  const int64_t products = weight.numel() / shape.filters;
  const Parts parts(shape, channels_last, channels_last ? run.block : 1);
  const auto each_part = [&](const auto& run_part) {
    share_out(parts.count(), output.numel() * products / parts.count(),
              [&](int64_t begin, int64_t end) {
                for (int64_t i = begin; i < end; ++i) {
                  run_part(parts[i]);
                }
              });
  };
  if (!channels_last) {
    const T* const w = weight.const_data_ptr<T>();
    each_part([&](const DensePart& part) { run.plane_output(shape, x, w, bias, y, part); });
    return;
  }
  constexpr int64_t kManyBands = 3;
  Workspace workspace;
  DenseWeight<T> w{weight.const_data_ptr<T>(), !weight.is_contiguous(), false};
  if (parts.bands() >= kManyBands) {
    const int64_t blocks = (shape.filters + run.block - 1) / run.block;
    auto* const packed = workspace.take<T>(blocks * run.block * products);
    share_out(blocks, run.block * products, [&](int64_t begin, int64_t end) {
      run.pack_blocks(w.data, shape.filters, products, begin, end, packed);
    });
    w.data = packed;
    w.packed = true;
  }
  each_part([&](const DensePart& part) { run.pixel_output(shape, x, w, bias, y, part); });
}

}  // namespace

bool can_run_dense(const ConvShape& shape, at::MemoryFormat memory_format, at::ScalarType type) {
  // What is copied should stay in a cache.
  constexpr double kElements = 1024 * 1024;
  const bool channels_last = is_channels_last(memory_format);
  return (type == at::kFloat || type == at::kDouble) &&
         instruction_set() != InstructionSet::generic && (shape.groups == 1 || !channels_last) &&
         spanned(shape, channels_last, static_cast<double>(band_rows(shape, channels_last))) <=
             kElements;
}

at::Tensor dense_output(const ConvShape& shape, at::MemoryFormat memory_format,
                        const at::Tensor& input, const at::Tensor& weight,
                        const std::optional<at::Tensor>& bias) {
  const bool channels_last = is_channels_last(memory_format);
  const at::Tensor from = input.contiguous(memory_format);
  const bool as_it_lies = channels_last && weight.is_contiguous(memory_format);
  const at::Tensor filters = as_it_lies ? weight : weight.contiguous();
  const std::optional<at::Tensor> added = bias ? std::optional(bias->contiguous()) : std::nullopt;
  at::Tensor output = at::empty({shape.batch, shape.filters, shape.output[0], shape.output[1]},
                                input.options(), memory_format);
  AT_DISPATCH_FLOATING_TYPES(input.scalar_type(), "dense", [&] {
    run<scalar_t>(shape, channels_last, from, filters,
                  added ? added->const_data_ptr<scalar_t>() : nullptr, output);
  });
  return output;
}

}  // namespace samepad::kernels
