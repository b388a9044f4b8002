#pragma once

// Dense and grouped convolutions in NCHW: (batch, channels, height, width).
//
// The output is a product of two matrices: filters by products (channels x kernel elements), times
// products by pixels. The second one, which im2col would build, is never built as a whole. A band
// of output rows is computed a few channels at a time: their input rows are copied into scratch
// memory, with padding and split by stride phases (common/rows.h), and from there they are packed
// into a panel of a few vectors of pixels, which stays in the L1 cache while it is multiplied by
// all filters. The weight is read as it lies in memory, broadcasting one element at a time to all
// vectors of the panel, so it needs no packing.

#include <utility>

#include "../common/finish.h"
#include "../common/rows.h"
#include "../common/vectors.h"
#include "../common/workspace.h"
#include "band.h"
#include "kernels.h"

namespace samepad::kernels::SAMEPAD_ISA {

/// The size of the register tile: vectors of pixels, which is also the width of a panel, and
/// filters. The accumulators fill the registers that the operands leave free.
inline constexpr int kPanelVectors = kManyRegisters ? 4 : 3;
inline constexpr int kPanelFilters = kManyRegisters ? 6 : 4;
/// The largest number of products (rows) in a panel, so that it stays in the L1 cache.
inline constexpr int64_t kPanelDepth = kManyRegisters ? 112 : 192;

template <class T>
inline constexpr int64_t kPanelPixels = kPanelVectors * kLanes<T>;

/// The micro-kernel: a register tile of kFilters filters by kVectors vectors of pixels. If `start`
/// is given, with one value per filter, accumulators begin with it and are stored in the target.
/// Otherwise they begin with zero and are added to the target at the end, because rounding errors
/// grow with the length of a running sum.
template <class T, int kFilters, int kVectors>
void panel_sums(const T* weight, int64_t weight_pitch, int64_t depth, const T* panel,
                const T* start, T* target, int64_t target_pitch) {
  constexpr int64_t kV = kLanes<T>;
  std::array<std::array<Vec<T>, kVectors>, kFilters> sums;
#pragma GCC unroll 8
  for (int f = 0; f < kFilters; ++f) {
    sums[f].fill(Vec<T>(start != nullptr ? start[f] : T(0)));
  }
  for (int64_t k = 0; k < depth; ++k) {
    std::array<Vec<T>, kVectors> pixels;
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      pixels[v] = Vec<T>::loadu(panel + k * kPanelPixels<T> + v * kV);
    }
#pragma GCC unroll 8
    for (int f = 0; f < kFilters; ++f) {
      const Vec<T> factor(weight[f * weight_pitch + k]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        sums[f][v] = at::vec::fmadd(factor, pixels[v], sums[f][v]);
      }
    }
  }
#pragma GCC unroll 8
  for (int f = 0; f < kFilters; ++f) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      T* const to = target + f * target_pitch + v * kV;
      (start != nullptr ? sums[f][v] : Vec<T>::loadu(to) + sums[f][v]).store(to);
    }
  }
}

template <class T>
using PanelSums = decltype(&panel_sums<T, 1, 1>);

/// The instances of panel_sums, indexed by [filters - 1][vectors - 1].
template <class T>
inline constexpr auto kPanelSums = []<size_t... F>(std::index_sequence<F...>) {
  const auto of = []<size_t kFilters, size_t... V>(std::index_sequence<V...>) {
    return std::array<PanelSums<T>, sizeof...(V)>{panel_sums<T, kFilters, V + 1>...};
  };
  return std::array{of.template operator()<F + 1>(std::make_index_sequence<kPanelVectors>())...};
}(std::make_index_sequence<kPanelFilters>());

/// The input rows that a band of output rows reads, for a few planes of one group at a time. They
/// are stored with their padding and split by stride phases. Each channel has one plane for every
/// slice of the kernel: one in two dimensions, and in three dimensions the slices of the input that
/// are read for an output slice. The weight's elements are in the same order.
template <class T>
class PlaneRows {
 public:
  template <class Memory>
  PlaneRows(const ConvShape& shape, const Pair& band, int64_t planes, Memory& memory)
      : shape_(shape),
        band_(band),
        planes_(planes),
        rows_(shape.input[1], shape.before[1], shape.stride[1], shape.output[1], shape.extent(1)),
        height_(each_image(shape, band, [](const ImageRows&) {})),
        source_(rows_.take(planes, height_, memory)),
        offsets_(memory.template take<int64_t>(planes, shape.kernel[0], shape.kernel[1])) {}

  /// Copies the rows of `count` planes from the given one on.
  void copy(const T* input, int64_t first, int64_t count) const {
    const Axis& depth = shape_.depth;
    const int64_t size = shape_.input[0] * shape_.input[1];
    const T* const end = input + shape_.batch * shape_.channels * depth.input * size;
    each_image(shape_, band_, [&](const ImageRows& image) {
      for (int64_t i = 0; i < count; ++i) {
        const int64_t channel =
            image.image / depth.output * shape_.channels + (first + i) / depth.kernel;
        const int64_t slice = shape_.slice(image.image, (first + i) % depth.kernel);
        const bool inside = shape_.is_inside(slice);
        rows_.copy(input + (channel * depth.input + (inside ? slice : 0)) * size, end,
                   inside ? shape_.input[0] : 0, image.top, image.height,
                   source_ + (i * height_ + image.source) * rows_.size());
      }
    });
  }

  const T* source() const { return source_; }

  /// The number of elements from one row to the next.
  int64_t row() const { return rows_.size(); }

  /// Finds the address at which the window of each pixel of the band starts.
  void find_pixels(const T** result) const {
    int64_t pixel = 0;
    each_image(shape_, band_, [&](const ImageRows& image) {
      for (int64_t y = 0; y < image.end - image.begin; ++y) {
        const T* const row = source_ + (image.source + y * shape_.stride[0]) * rows_.size();
        for (int64_t x = 0; x < shape_.output[1]; ++x) {
          result[pixel++] = row + x;
        }
      }
    });
  }

  /// Finds the distance from there to each product (planes, kernel height, kernel width).
  const int64_t* find_offsets() const {
    const int64_t taps = shape_.slice_taps();
    for (int64_t p = 0; p < planes_; ++p) {
      for (int64_t t = 0; t < taps; ++t) {
        const int64_t y = t / shape_.kernel[1] * shape_.dilation[0];
        const int64_t x = t % shape_.kernel[1] * shape_.dilation[1];
        offsets_[p * taps + t] = (p * height_ + y) * rows_.size() + rows_.place(x);
      }
    }
    return offsets_;
  }

 private:
  const ConvShape& shape_;
  Pair band_;
  int64_t planes_;
  Rows<T> rows_;
  int64_t height_;  ///< number of rows per plane
  T* source_;
  int64_t* offsets_;
};

/// The same for all channels of a convolution in one group, as the weight's gradient reads them.
template <class T>
class PlaneBandRows {
 public:
  template <class Memory>
  PlaneBandRows(const ConvShape& shape, const Pair& band, Memory& memory)
      : planes_(shape.channels * shape.depth.kernel),
        rows_(shape, band, planes_, memory),
        pixels_(memory.template take<const T*>(band[1] - band[0], shape.output[1])) {}

  const T* const* copy(const T* input) const {
    rows_.copy(input, 0, planes_);
    rows_.find_pixels(pixels_);
    return pixels_;
  }

  const int64_t* find_offsets() const { return rows_.find_offsets(); }

 private:
  int64_t planes_;
  PlaneRows<T> rows_;
  const T** pixels_;
};

/// Computes one part of the output: a band of output rows for some filters of a group.
template <class T>
class PlaneBand {
 public:
  template <class Memory>
  PlaneBand(const ConvShape& shape, const DensePart& part, Memory& memory)
      : shape_(shape),
        part_(part),
        planes_(shape.channels / shape.groups * shape.depth.kernel),
        filters_(part.filters[1] - part.filters[0]),
        output_size_(shape.depth.output * shape.output[0] * shape.output[1]),
        pixels_((part.rows[1] - part.rows[0]) * shape.output[1]),
        vectors_(ceil_div(pixels_, kV)),
        panels_(ceil_div(vectors_, kPanelVectors)),
        planes_at_once_(ceil_div(
            planes_,
            ceil_div(planes_, std::clamp<int64_t>(kPanelDepth / shape.slice_taps(), 1, planes_)))),
        depth_(ceil_div(planes_at_once_ * shape.slice_taps(),
                        ceil_div(planes_at_once_ * shape.slice_taps(), kPanelDepth))),
        rows_(shape, part.rows, planes_at_once_, memory),
        pieces_(memory.template take<Piece>(part.rows[1] - part.rows[0] + panels_)),
        first_pieces_(memory.template take<int64_t>(panels_ + 1)),
        sums_(memory.template take<T*>(panels_)),
        // Pieces are copied as whole vectors and overrun their ends: into the place of the next
        // piece, or at the end of the panel into the extra row.
        panel_(memory.template take<T>(depth_ + 1, kPanelPixels<T>)),
        start_(memory.template take<T>(filters_)) {
    int64_t beside = 0;
    for (int64_t panel = 0; panel < panels_; ++panel) {
      beside += is_beside(panel) ? 1 : 0;
    }
    beside_ = memory.template take<T>(beside, filters_, kPanelPixels<T>);
  }

  void run(const T* input, const T* weight, const T* bias, const Epilogue<T>* epilogue, T* output) {
    offsets_ = rows_.find_offsets();
    find_pieces();
    // Elements of a panel's last vector that no piece fills are multiplied too. They are set to
    // zero, because arithmetic on subnormal numbers would be some fifty times slower.
    std::fill_n(panel_, depth_ * kPanelPixels<T>, T(0));
    T* next = beside_;
    for (int64_t panel = 0; panel < panels_; ++panel) {
      sums_[panel] = is_beside(panel) ? next : nullptr;
      next += is_beside(panel) ? filters_ * kPanelPixels<T> : 0;
    }
    for (int64_t f = 0; f < filters_; ++f) {
      start_[f] = bias != nullptr ? bias[part_.filters[0] + f] : T(0);
    }
    const int64_t first_plane = part_.filters[0] / (shape_.filters / shape_.groups) * planes_;
    int64_t step = 0;
    for (int64_t p = 0; p < planes_; p += planes_at_once_) {
      const int64_t count = std::min(planes_at_once_, planes_ - p);
      rows_.copy(input, first_plane + p, count);
      // A large kernel takes several panels.
      for (int64_t k = 0; k < count * shape_.slice_taps(); k += depth_, ++step) {
        add_products(step, p, k, std::min(depth_, count * shape_.slice_taps() - k), weight,
                     epilogue, output);
      }
    }
  }

 private:
  static constexpr int64_t kV = kLanes<T>;

  /// A run of consecutive pixels of one output row.
  struct Piece {
    int64_t source;  ///< where kernel element 0 reads the first pixel, from the plane's start
    int64_t target;  ///< where the run starts in the panel
    int64_t length;
  };

  /// The first pixel of a panel. The vectors are spread evenly over the panels.
  int64_t first_pixel(int64_t panel) const {
    return std::min(vectors_ * panel / panels_ * kV, pixels_);
  }

  void find_pieces() {
    int64_t panel = 0;
    int64_t pixel = 0;
    int64_t found = 0;
    first_pieces_[0] = 0;
    each_image(shape_, part_.rows, [&](const ImageRows& image) {
      for (int64_t y = image.begin; y < image.end; ++y) {
        const int64_t row = image.source + (y - image.begin) * shape_.stride[0];
        for (int64_t x = 0; x < shape_.output[1];) {
          const int64_t end = first_pixel(panel + 1);
          const int64_t length = std::min(shape_.output[1] - x, end - pixel);
          pieces_[found++] = {row * rows_.row() + x, pixel - first_pixel(panel), length};
          x += length;
          pixel += length;
          if (pixel == end) {
            first_pieces_[++panel] = found;
          }
        }
      }
    });
  }

  /// The number of times that products are added to the sums of all pixels.
  int64_t steps() const {
    return ceil_div(planes_, planes_at_once_) *
           ceil_div(planes_at_once_ * shape_.slice_taps(), depth_);
  }

  /// Adds products [first, first + depth), counted from the first product of plane p, to the sums
  /// of all pixels. The last ones complete the outputs.
  void add_products(int64_t step, int64_t p, int64_t first, int64_t depth, const T* weight,
                    const Epilogue<T>* epilogue, T* output) const {
    const int64_t product = p * shape_.slice_taps() + first;
    const bool completes = product + depth == planes_ * shape_.slice_taps();
    const bool ends = (step + 1) % kSpan == 0 || completes;
    const Epilogue<T>* const end = completes ? epilogue : nullptr;
    const T* const start = step % kSpan == 0 ? start_ : nullptr;
    for (int64_t panel = 0; panel < panels_; ++panel) {
      fill_panel(panel, first, depth);
      T* const sums = sums_[panel];
      if (sums == nullptr) {
        multiply(panel, weight, product, depth, start, end,
                 place(part_.rows[0] * shape_.output[1] + first_pixel(panel), output),
                 output_size_);
      } else {
        multiply(panel, weight, product, depth, start, nullptr, sums, kPanelPixels<T>);
        if (ends) {
          put_panel(panel, /*add=*/step >= kSpan, end, output);
        }
      }
    }
    // The first span started with the bias; the sums of all others start with zero.
    std::fill_n(start_, filters_, T(0));
  }

  /// Packs products [first, first + depth) of the planes that have been copied into the panel.
  void fill_panel(int64_t panel, int64_t first, int64_t depth) const {
    const Piece* const begin = pieces_ + first_pieces_[panel];
    const Piece* const end = pieces_ + first_pieces_[panel + 1];
    T* to = panel_;
    for (int64_t k = first; k < first + depth; ++k, to += kPanelPixels<T>) {
      const T* const from = rows_.source() + offsets_[k];
      for (const Piece* piece = begin; piece != end; ++piece) {
        for (int64_t j = 0; j < piece->length; j += kV) {
          Vec<T>::loadu(in_scratch(from + piece->source + j, kV))
              .store(in_scratch(to + piece->target + j, kV));
        }
      }
    }
  }

  /// Whether the sums of a panel are kept outside the output. They are accumulated directly in the
  /// output if the panel consists of whole vectors of a single image and there is only one span.
  bool is_beside(int64_t panel) const {
    const int64_t first = part_.rows[0] * shape_.output[1] + first_pixel(panel);
    const int64_t end = part_.rows[0] * shape_.output[1] + first_pixel(panel + 1);
    return steps() > kSpan || (end - first) % kV != 0 ||
           first / output_size_ != (end - 1) / output_size_;
  }

  /// The place of a pixel, counted over all images, in the output of the part's first filter.
  T* place(int64_t pixel, T* output) const {
    return output + (pixel / output_size_ * shape_.filters + part_.filters[0]) * output_size_ +
           pixel % output_size_;
  }

  void multiply(int64_t panel, const T* weight, int64_t product, int64_t depth, const T* start,
                const Epilogue<T>* epilogue, T* target, int64_t pitch) const {
    const int64_t products = planes_ * shape_.slice_taps();
    const int64_t vectors = ceil_div(first_pixel(panel + 1) - first_pixel(panel), kV);
    const int64_t blocks = ceil_div(filters_, kPanelFilters);
    const T* const first = weight + part_.filters[0] * products + product;
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t f = filters_ * block / blocks;
      const int64_t next = filters_ * (block + 1) / blocks;
      if (panel == 0) {
        fetch(first, products, depth, next, filters_ * std::min(block + 2, blocks) / blocks);
      }
      kPanelSums<T>[next - f - 1][vectors - 1](first + f* products, products, depth, panel_,
                                               start == nullptr ? nullptr : start + f,
                                               target + f* pitch, pitch);
      if (epilogue != nullptr) {
        finish_rows(*epilogue, next - f, vectors * kV, target + f * pitch, pitch);
      }
    }
  }

  /// Prefetches `depth` weights of each filter in [begin, end). These runs are too short for the
  /// hardware prefetcher to detect.
  static void fetch(const T* weight, int64_t pitch, int64_t depth, int64_t begin, int64_t end) {
    for (int64_t f = begin; f < end; ++f) {
      for (int64_t k = 0; k < depth; k += kV) {
        __builtin_prefetch(weight + f * pitch + k);
      }
    }
  }

  /// Stores a panel's sums in the images that its pixels belong to.
  void put_panel(int64_t panel, bool add, const Epilogue<T>* epilogue, T* output) const {
    const int64_t before = part_.rows[0] * shape_.output[1];
    const int64_t begin = before + first_pixel(panel);
    const int64_t end = before + first_pixel(panel + 1);
    for (int64_t pixel = begin; pixel < end;) {
      const int64_t length = std::min(end - pixel, output_size_ - pixel % output_size_);
      T* const to = place(pixel, output);
      for (int64_t f = 0; f < filters_; ++f) {
        put_sums(sums_[panel] + f * kPanelPixels<T> + pixel - begin, length, add,
                 to + f * output_size_);
      }
      if (epilogue != nullptr) {
        finish_rows(*epilogue, filters_, length, to, output_size_);
      }
      pixel += length;
    }
  }

  const ConvShape& shape_;
  const DensePart& part_;
  int64_t planes_;  ///< number of planes in a group
  int64_t filters_;
  int64_t output_size_;
  int64_t pixels_;
  int64_t vectors_;
  int64_t panels_;
  int64_t planes_at_once_;
  int64_t depth_;  ///< number of products in a panel
  PlaneRows<T> rows_;
  Piece* pieces_;
  int64_t* first_pieces_;  ///< index of each panel's first piece
  T** sums_;               ///< sums of each panel; null if they are accumulated in the output
  T* panel_;
  T* start_;
  T* beside_;  ///< the sums that are kept outside the output
  /// The distance from the start of a pixel's window to each product.
  const int64_t* offsets_ = nullptr;
};

template <class T>
void dense_plane_output(const ConvShape& shape, const T* input, const T* weight, const T* bias,
                        const Epilogue<T>* epilogue, T* output, const DensePart& part) {
  Workspace workspace;
  PlaneBand<T>(shape, part, workspace).run(input, weight, bias, epilogue, output);
}

template <class T>
double dense_plane_scratch(const ConvShape& shape, const DensePart& part) {
  ScratchSize size;
  PlaneBand<T>(shape, part, size);
  return size.bytes();
}

}  // namespace samepad::kernels::SAMEPAD_ISA
