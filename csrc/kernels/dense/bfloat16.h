#pragma once

// Dense convolutions of bfloat16 in channels_last: (batch, height, width, channels).
//
// The input rows that a band of output rows reads are copied into scratch memory with their
// padding, so that tiles of 16 output pixels are 16 rows of a matrix whose distance is constant: a
// tile is loaded as it lies there, at an offset for every element of the kernel. To that end the
// rows are split by the vertical stride's phases, which makes the output rows that follow each
// other read stored rows that follow each other, and pixels are padded with zeros to multiples of
// 32 channels. Where that would be mostly zeros, because there are few channels, the channels of
// all columns that a window reads in a row are stored side by side instead, for each output pixel.

#include <algorithm>

#include "../common/finish.h"
#include "../common/workspace.h"
#include "band.h"
#include "kernels.h"
#include "tiles.h"

namespace samepad::kernels::SAMEPAD_ISA {

using c10::BFloat16;

/// `count`, rounded up to whole tiles of this size.
inline int64_t whole_tiles(int64_t count, int64_t size) { return ceil_div(count, size) * size; }

/// Copies `count` elements, and zeros up to `padded`, a multiple of 32.
inline void copy_padded(const BFloat16* from, int64_t count, int64_t padded, BFloat16* to) {
  int64_t i = 0;
  for (; i + kTileRun <= count; i += kTileRun) {
    _mm512_storeu_si512(to + i, _mm512_loadu_si512(from + i));
  }
  auto mask = static_cast<__mmask32>((uint64_t{1} << (count - i)) - 1);
  for (; i < padded; i += kTileRun, mask = 0) {
    _mm512_storeu_si512(to + i, _mm512_maskz_loadu_epi16(mask, from + i));
  }
}

/// Packs `count` elements, at most 32, of some filters, at most 16, that are `pitch` apart.
inline void pack_tile(const BFloat16* weight, int64_t filters, int64_t pitch, int64_t count,
                      BFloat16* packed) {
  std::array<BFloat16, kWeightTile> rows{};
  for (int64_t f = 0; f < filters; ++f) {
    copy_padded(weight + f * pitch, count, kTileRun, rows.data() + f * kTileRun);
  }
  // Pairs of elements are transposed as elements of twice the size.
  at::vec::transpose_mxn<float, kTileSize, kTileSize>(reinterpret_cast<const float*>(rows.data()),
                                                      kTileSize, reinterpret_cast<float*>(packed),
                                                      kTileSize);
}

/// The number of filters in a block.
inline constexpr int64_t kTwoTiles = 2 * kTileSize;

/// Packs blocks [begin, end): for each block, 32 elements at a time, one or two tiles.
inline void pack_tiles(const BFloat16* weight, int64_t filters, const Runs& runs, int64_t begin,
                       int64_t end, BFloat16* packed) {
  const int64_t products = runs.count * runs.length;
  for (int64_t first = begin * kTwoTiles; first < std::min(filters, end * kTwoTiles);
       first += kTwoTiles) {
    const int64_t last = std::min(filters, first + kTwoTiles);
    BFloat16* to = packed + first * runs.packed(kTileRun);
    for (int64_t run = 0; run < runs.count; ++run) {
      for (int64_t i = 0; i < runs.length; i += kTileRun) {
        for (int64_t f = first; f < last; f += kTileSize, to += kWeightTile) {
          pack_tile(weight + f * products + run * runs.length + i, std::min(last - f, kTileSize),
                    products, std::min(runs.length - i, kTileRun), to);
        }
      }
    }
  }
}

/// The input rows that a band of output rows reads, with their padding, as tiles are loaded from
/// them.
class TileRows {
  /// The rows of larger steps take more memory than any computer has and are refused, so the memory
  /// past their end may be counted as less than it is. This keeps its size from overflowing.
  static constexpr int64_t kMostStep = int64_t{1} << 40;

 public:
  template <class Memory>
  TileRows(const ConvShape& shape, const Pair& band, Memory& memory)
      : shape_(shape),
        band_(band),
        runs_(tile_runs(shape.channels, shape.taps(), shape.kernel[1])),
        joined_(runs_.length != shape.channels || shape.kernel[1] == 1),
        pitch_(pixel_pitch<BFloat16>(whole_tiles(runs_.length, kTileRun))),
        step_(joined_ ? pitch_ : shape.stride[1] * pitch_),
        width_(joined_ ? shape.output[1]
                       : shape.output[1] - 1 + ceil_div(shape.extent(1), shape.stride[1])),
        phases_(std::min(shape.stride[0], shape.extent(0))),
        height_(visit_images([](const ImageRows&, int64_t) {})),
        // The last tile may read past the rows.
        rows_(memory.template take_more<BFloat16>(kTileSize * std::min(step_, kMostStep),
                                                  shape.depth.kernel, phases_, height_, width_,
                                                  step_)),
        offsets_(memory.template take<int64_t>(runs_.packed(kTileRun) / kTileRun)) {}

  int64_t step() const { return step_; }
  /// The number of pixels from one output row to the next, of which the last may be no outputs.
  int64_t width() const { return width_; }
  int64_t steps() const { return runs_.packed(kTileRun) / kTileRun; }

  /// Where the window of a pixel of the band begins; the rows of all images count.
  const BFloat16* pixel(int64_t row, int64_t column) const {
    return rows_ + (row * width_ + column) * step_;
  }

  /// Calls `visit` with the rows of each image in the band, and the first of its stored rows.
  /// Returns the number of stored rows.
  template <class Visit>
  int64_t visit_images(const Visit& visit) const {
    int64_t stored = 0;
    each_image(shape_, band_, [&](const ImageRows& image) {
      visit(image, stored);
      stored += stored_rows(image);
    });
    return stored;
  }

  /// Finds the distance from the start of a pixel's window to each 32 elements, in the order of the
  /// packed weight.
  const int64_t* find_offsets() const {
    int64_t i = 0;
    const int64_t columns = joined_ ? 1 : shape_.kernel[1];
    for (int64_t run = 0; run < runs_.count; ++run) {
      const int64_t slice = run / columns / shape_.kernel[0];
      const int64_t y = run / columns % shape_.kernel[0] * shape_.dilation[0];
      const int64_t x = run % columns * shape_.dilation[1];
      const int64_t row = (slice * phases_ + y % shape_.stride[0]) * height_ + y / shape_.stride[0];
      for (int64_t k = 0; k < runs_.length; k += kTileRun) {
        offsets_[i++] = row * width_ * step_ + x * pitch_ + k;
      }
    }
    return offsets_;
  }

  void copy(const BFloat16* input) const {
    visit_images([&](const ImageRows& image, int64_t stored) {
      for (int64_t k = 0; k < shape_.depth.kernel; ++k) {
        const int64_t slice = shape_.slice(image.image, k);
        const int64_t first_row =
            (image.image / shape_.depth.output * shape_.depth.input + slice) * shape_.input[0];
        for (int64_t phase = 0; phase < phases_; ++phase) {
          BFloat16* row = rows_ + ((k * phases_ + phase) * height_ + stored) * width_ * step_;
          for (int64_t i = 0; i < stored_rows(image); ++i, row += width_ * step_) {
            const int64_t y = image.top + i * shape_.stride[0] + phase;
            if (shape_.is_inside(slice) && y >= 0 && y < shape_.input[0]) {
              copy_row(input + (first_row + y) * shape_.input[1] * shape_.channels, row);
            } else {
              std::fill_n(row, width_ * step_, BFloat16(0));
            }
          }
        }
      }
    });
  }

 private:
  int64_t stored_rows(const ImageRows& image) const {
    return image.end - image.begin - 1 + ceil_div(shape_.extent(0), shape_.stride[0]);
  }

  void copy_row(const BFloat16* from, BFloat16* row) const {
    const int64_t channels = shape_.channels;
    const auto is_inside = [&](int64_t column) { return column >= 0 && column < shape_.input[1]; };
    if (!joined_) {
      for (int64_t x = 0; x < width_ * shape_.stride[1]; ++x, row += pitch_) {
        const int64_t column = x - shape_.before[1];
        if (is_inside(column)) {
          copy_padded(from + column * channels, channels, pitch_, row);
        } else {
          std::fill_n(row, pitch_, BFloat16(0));
        }
      }
      return;
    }
    const int64_t kernel = shape_.kernel[1];
    const int64_t dilation = shape_.dilation[1];
    const bool consecutive = dilation == 1 || kernel == 1;
    for (int64_t x = 0; x < width_; ++x, row += pitch_) {
      const int64_t column = x * shape_.stride[1] - shape_.before[1];
      const BFloat16* const window = from + column * channels;
      if (consecutive && column >= 0 && column + kernel <= shape_.input[1]) {
        copy_padded(window, runs_.length, pitch_, row);
        continue;
      }
      // The kernel elements that lie inside the input.
      const int64_t begin = std::clamp<int64_t>(ceil_div(-column, dilation), 0, kernel);
      const int64_t end =
          std::clamp<int64_t>(ceil_div(shape_.input[1] - column, dilation), begin, kernel);
      std::fill_n(row, pitch_, BFloat16(0));
      if (consecutive) {
        std::copy(window + begin * channels, window + end * channels, row + begin * channels);
      } else {
        for (int64_t k = begin; k < end; ++k) {
          std::copy_n(window + k * dilation * channels, channels, row + k * channels);
        }
      }
    }
  }

  const ConvShape& shape_;
  Pair band_;
  Runs runs_;
  bool joined_;     ///< whether the columns of a window are stored side by side
  int64_t pitch_;   ///< distance from one column, or window of columns, to the next
  int64_t step_;    ///< distance from one output pixel to the next
  int64_t width_;   ///< number of pixels in a stored row
  int64_t phases_;  ///< number of phases of the vertical stride that windows read
  int64_t height_;  ///< number of stored rows per phase
  BFloat16* rows_;
  int64_t* offsets_;
};

/// The number of steps of a K block. A block of weights of this depth, 512 KiB, stays in the L2
/// cache while it is multiplied by all pixels of a band.
inline constexpr int64_t kMostSteps = 256;

/// Computes one part of the output: a band of output rows for some blocks of filters.
template <class Tiles>
class TileBand {
 public:
  template <class Memory>
  TileBand(const ConvShape& shape, const DensePart& part, Memory& memory)
      : shape_(shape),
        part_(part),
        rows_(shape, part.rows, memory),
        by_row_(whole_tiles(shape.output[1], kTileSize) <= rows_.width()),
        count_(count_tiles()),
        tiles_(memory.template take<const BFloat16*>(count_ + 1)),
        places_(memory.template take<BFloat16*>(count_, kTileSize)),
        kept_(rows_.steps() > kMostSteps ? ceil_div(count_, 2) : 1),
        sums_(memory.template take<BlockSums>(kept_)) {}

  void run(const BFloat16* input, const DenseWeight<BFloat16>& weight, const BFloat16* bias,
           const Epilogue<BFloat16>* epilogue, BFloat16* output, const PixelSteps& steps) const {
    [[maybe_unused]] const typename Tiles::Registers registers{};
    const auto* const offsets = rows_.find_offsets();
    rows_.copy(input);
    find_places(output, steps);
    for (int64_t f = part_.filters[0]; f < part_.filters[1]; f += kTwoTiles) {
      const int64_t filters = std::min(part_.filters[1] - f, kTwoTiles);
      const int64_t step_size = whole_tiles(filters, kTileSize) * kTileRun;
      const BFloat16* const factors = weight.data + f * rows_.steps() * kTileRun;
      std::array<float, kTwoTiles> start{};
      if (bias != nullptr) {
        std::copy_n(bias + f, filters, start.begin());
      }
      for (int64_t k = 0; k < rows_.steps(); k += kMostSteps) {
        const int64_t steps_left = rows_.steps() - k;
        for (int64_t t = 0; t < count_; t += 2) {
          const int64_t tiles = std::min<int64_t>(count_ - t, 2);
          const auto sum =
              tiles == 2
                  ? (filters > kTileSize ? &Tiles::template sum<2, 2> : &Tiles::template sum<2, 1>)
                  : (filters > kTileSize ? &Tiles::template sum<1, 2> : &Tiles::template sum<1, 1>);
          BlockSums& sums = sums_[kept_ > 1 ? t / 2 : 0];
          sum({{tiles_[t], tiles_[t + 1]}, rows_.step()}, offsets + k,
              std::min(steps_left, kMostSteps), factors + k * step_size, /*adds=*/k > 0, sums);
          if (steps_left <= kMostSteps) {
            store_tiles(sums, start, filters, epilogue, places_ + t * kTileSize, tiles * kTileSize,
                        f);
          }
        }
      }
    }
  }

 private:
  /// 16 consecutive pixels, not all of which need be outputs.
  struct Tile {
    const ImageRows& image;
    int64_t stored;  ///< the first stored row of the image
    int64_t first;   ///< the first pixel, in rows of rows_.width() pixels
  };

  /// The pixels of an image that tiles divide from the first one on: the number of such runs, and
  /// their length.
  struct PixelRuns {
    int64_t count;
    int64_t length;
  };
  PixelRuns pixel_runs(const ImageRows& image) const {
    const int64_t rows = image.end - image.begin;
    const int64_t width = shape_.output[1];
    return by_row_ ? PixelRuns{rows, width} : PixelRuns{1, (rows - 1) * rows_.width() + width};
  }

  int64_t count_tiles() const {
    int64_t count = 0;
    rows_.visit_images([&](const ImageRows& image, int64_t) {
      const PixelRuns runs = pixel_runs(image);
      count += runs.count * ceil_div(runs.length, kTileSize);
    });
    return count;
  }

  template <class Visit>
  void visit_tiles(const Visit& visit) const {
    rows_.visit_images([&](const ImageRows& image, int64_t stored) {
      const PixelRuns runs = pixel_runs(image);
      for (int64_t run = 0; run < runs.count; ++run) {
        for (int64_t i = 0; i < runs.length; i += kTileSize) {
          visit(Tile{image, stored, run * rows_.width() + i});
        }
      }
    });
  }

  /// Finds the elements that each tile is loaded from, and the places of its pixels in the output.
  void find_places(BFloat16* output, const PixelSteps& steps) const {
    int64_t tile = 0;
    visit_tiles([&](const Tile& t) {
      const auto& image = t.image;
      const int64_t width = rows_.width();
      const int64_t last = by_row_ ? t.first / width + 1 : image.end - image.begin;
      tiles_[tile] = rows_.pixel(t.stored, t.first);
      BFloat16* const first = output + image.image / shape_.depth.output * steps.image +
                              image.image % shape_.depth.output * steps.slice;
      int64_t row = t.first / width;
      int64_t column = t.first % width;
      for (int64_t i = 0; i < kTileSize; ++i) {
        const bool is_output = row < last && column < shape_.output[1];
        places_[tile * kTileSize + i] =
            is_output ? first + (image.begin + row) * steps.row + column * steps.column : nullptr;
        if (++column == width) {
          column = 0;
          ++row;
        }
      }
      ++tile;
    });
    // If their number is odd, the last tile is multiplied alone but passed with a second one.
    tiles_[count_] = tiles_[count_ - 1];
  }

  /// Stores the sums of these pixels, plus `start`, in filters from `f` on of those that are
  /// outputs.
  static void store_tiles(const BlockSums& sums, const std::array<float, kTwoTiles>& start,
                          int64_t filters, const Epilogue<BFloat16>* epilogue,
                          BFloat16* const* places, int64_t pixels, int64_t f) {
    for (int64_t pixel = 0; pixel < pixels; ++pixel) {
      if (places[pixel] != nullptr) {
        store(sums[pixel], start, filters, places[pixel] + f);
        if (epilogue != nullptr) {
          finish(*epilogue, places[pixel] + f, filters);
        }
      }
    }
  }

  static void store(const std::array<float, kTwoTiles>& sums,
                    const std::array<float, kTwoTiles>& start, int64_t filters, BFloat16* to) {
    constexpr int64_t kV = kLanes<float>;
    const VecPair<float> totals{
        Vec<float>::loadu(sums.data()) + Vec<float>::loadu(start.data()),
        Vec<float>::loadu(sums.data() + kV) + Vec<float>::loadu(start.data() + kV)};
    store_pair<BFloat16>(totals, to, filters);
  }

  const ConvShape& shape_;
  const DensePart& part_;
  TileRows rows_;
  bool by_row_;    ///< whether tiles begin anew with each output row, which takes no more of them
  int64_t count_;  ///< number of tiles
  const BFloat16** tiles_;  ///< where the window of each tile's first pixel begins
  BFloat16** places_;       ///< of each pixel's first filter in the output, null if it is no output
  int64_t kept_;            ///< number of sums that are kept: one, or those of all tiles
  BlockSums* sums_;
};

template <class Tiles>
void dense_tile_output(const ConvShape& shape, const BFloat16* input,
                       const DenseWeight<BFloat16>& weight, const BFloat16* bias,
                       const Epilogue<BFloat16>* epilogue, BFloat16* output,
                       const PixelSteps& steps, const DensePart& part) {
  Workspace workspace;
  TileBand<Tiles>(shape, part, workspace).run(input, weight, bias, epilogue, output, steps);
}

template <class Tiles>
double dense_tile_scratch(const ConvShape& shape, const DensePart& part) {
  ScratchSize size;
  TileBand<Tiles>(shape, part, size);
  return size.bytes();
}

}  // namespace samepad::kernels::SAMEPAD_ISA
