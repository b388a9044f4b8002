#pragma once

// Rows of planes as kernels want to read them, in a scratch memory.

#include "vectors.h"
#include "workspace.h"

namespace samepad::kernels::SAMEPAD_ISA {

/// Elements of scratch that a band of rows should fit in: most of a first cache.
inline constexpr int64_t kBandElements = 6144;

/// How many of `count` rows to compute at a time: each of them brings `step` rows of `row` elements
/// into the scratch, and `besides` rows are read besides.
inline int64_t band_rows(int64_t count, int64_t step, int64_t besides, int64_t row) {
  const int64_t most = std::max<int64_t>((kBandElements / row - besides) / step, 4);
  return ceil_div(count, ceil_div(count, most));
}

/// The first `count` elements of vectors: ANDed with it, the others are 0, even where they are NaN.
template <class Acc>
Vec<Acc> first_elements(int64_t count) {
  alignas(64) std::array<uint8_t, static_cast<size_t>(kLanes<Acc>) * sizeof(Acc)> bits{};
  std::fill_n(bits.begin(), static_cast<size_t>(count) * sizeof(Acc), 0xFF);
  return Vec<Acc>::loadu(bits.data());
}

/// Rows of a plane as they lie in a scratch, split into `phases` of `pitch` elements, of which
/// phase p holds the columns j of the padded row with j mod phases = p. The padding is there
/// already: the scratch is zeros at first, and copying a row leaves those around it alone.
template <class T>
class Rows {
 public:
  using Acc = Accumulator<T>;

  /// `width` elements with `before` zeros ahead of them, or as many cropped where it is negative,
  /// of which `outputs` windows of `extent`, `phases` apart, are read.
  Rows(int64_t width, int64_t before, int64_t phases, int64_t outputs, int64_t extent)
      : width_(width),
        skipped_(std::clamp<int64_t>(-before, 0, width)),
        ahead_(std::max<int64_t>(before, 0)),
        phases_(phases),
        read_phases_(std::min(phases, extent)),
        used_(std::clamp<int64_t>((outputs - 1) * phases + extent - ahead_, 0, width - skipped_)),
        // What is read of a phase, and what is written of one or two, which ends with a whole
        // vector. Whole vectors, so that the first taps' loads are aligned.
        pitch_(ceil_div(
                   std::max(
                       outputs + (extent - 1) / phases,
                       phases > 2 ? 0 : (ahead_ + 1) / phases + ceil_div(used_, phases * kV) * kV),
                   kV) *
               kV),
        starts_{place(ahead_), place(ahead_ + 1)} {
    const int64_t rest = used_ % (std::min<int64_t>(phases, 2) * kV);
    last_ = phases == 1
                ? std::array{first_elements<Acc>(rest), first_elements<Acc>(0)}
                : std::array{first_elements<Acc>((rest + 1) / 2), first_elements<Acc>(rest / 2)};
  }

  /// Elements of a row in the scratch.
  int64_t size() const { return phases_ * pitch_; }

  /// Where column j of the padded row is.
  int64_t place(int64_t j) const { return j % phases_ * pitch_ + j / phases_; }

  /// Takes memory for `planes` times `height` rows, and past them for two vectors that are read
  /// where few elements are wanted.
  template <class Memory>
  Acc* take(int64_t planes, int64_t height, Memory& memory) {
    if constexpr (!std::is_same_v<T, Acc>) {
      widened_ = memory.template take<Acc>(width_ + 2 * kV);
    }
    auto* const result = memory.template take_more<Acc>(2 * kV, planes, height, size());
    if (result != nullptr) {
      std::fill_n(result, planes * height * size() + 2 * kV, Acc(0));
    }
    return result;
  }

  /// Copies `count` rows of the plane that has `height` of them, from `first` on, zeros where there
  /// are none; nothing is read from `end` on.
  void copy(const T* plane, const T* end, int64_t height, int64_t first, int64_t count,
            Acc* target) const {
    const int64_t begin = std::clamp<int64_t>(-first, 0, count);
    const int64_t missing = std::clamp<int64_t>(height - first, begin, count);
    std::fill_n(target, begin * size(), Acc(0));
    std::fill_n(target + missing * size(), (count - missing) * size(), Acc(0));
    plane += (first + begin) * width_;
    target += begin * size();
    if constexpr (std::is_same_v<T, Acc>) {
      split(plane + skipped_, end, missing - begin, target);
    } else {
      for (int64_t r = 0; r < missing - begin; ++r) {
        convert(plane + r * width_, width_, widened_);
        split(widened_ + skipped_, widened_ + width_ + 2 * kV, 1, target + r * size());
      }
    }
  }

 private:
  static constexpr int64_t kV = kLanes<Acc>;
  /// How far ahead of the copy memory is fetched, in elements: while a band is computed, the CPU
  /// forgets that it was reading on.
  static constexpr int64_t kPrefetched = 4096 / sizeof(Acc);

  /// Splits `count` rows; what is before `end` may be read.
  void split(const Acc* row, const Acc* end, int64_t count, Acc* target) const {
    if (phases_ == 1) {
      split_few<1>(row, end, count, target);
    } else if (phases_ == 2) {
      split_few<2>(row, end, count, target);
    } else {
      split_many(row, count, target);
    }
  }

  template <int64_t kPhases>
  void split_few(const Acc* row, const Acc* end, int64_t count, Acc* target) const {
    constexpr int64_t kStep = kPhases * kV;
    const int64_t whole = used_ / kStep * kStep;
    const int64_t used = used_;
    const int64_t width = width_;
    const int64_t step = size();
    const Vec<Acc> last_first = last_[0];
    const Vec<Acc> last_second = last_[1];
    Acc* first = target + starts_[0];
    Acc* second = target + starts_[1];
    for (int64_t r = 0; r < count; ++r) {
      for (int64_t i = 0; i < whole; i += kStep) {
        __builtin_prefetch(row + i + kPrefetched);
        if constexpr (kPhases == 1) {
          Vec<Acc>::loadu(row + i).store(in_scratch(first + i, kV));
        } else {
          const auto [even, odd] =
              at::vec::deinterleave2(Vec<Acc>::loadu(row + i), Vec<Acc>::loadu(row + i + kV));
          even.store(in_scratch(first + i / 2, kV));
          odd.store(in_scratch(second + i / 2, kV));
        }
      }
      if (whole < used && end - row >= whole + kStep) {
        if constexpr (kPhases == 1) {
          (Vec<Acc>::loadu(row + whole) & last_first).store(in_scratch(first + whole, kV));
        } else {
          const auto [even, odd] = at::vec::deinterleave2(Vec<Acc>::loadu(row + whole),
                                                          Vec<Acc>::loadu(row + whole + kV));
          (even & last_first).store(in_scratch(first + whole / 2, kV));
          (odd & last_second).store(in_scratch(second + whole / 2, kV));
        }
      } else {
        for (int64_t i = whole; i < used; ++i) {
          *in_scratch((i % kPhases == 0 ? first : second) + i / kPhases) = row[i];
        }
      }
      row += width;
      first += step;
      second += step;
    }
  }

  /// For more than two phases: those that no window reads are left out.
  void split_many(const Acc* row, int64_t count, Acc* target) const {
    using Index = at::vec::int_same_size_t<Acc>;
    // The step of the gathers. Where whole vectors are gathered, the row is longer than the steps
    // of one vector, so that this limit, which keeps the indices small, changes nothing.
    const auto every = at::vec::Vectorized<Index>::arange(
        Index(0), static_cast<Index>(std::min(phases_, width_ / (kV - 1))));
    for (int64_t i = 0; i < std::min(phases_, used_); ++i) {
      if ((ahead_ + i) % phases_ >= read_phases_) {
        continue;
      }
      const int64_t elements = ceil_div(used_ - i, phases_);
      const Acc* from = row + i;
      Acc* to = target + place(ahead_ + i);
      for (int64_t r = 0; r < count; ++r, from += width_, to += size()) {
        if (elements < kV) {
          for (int64_t j = 0; j < elements; ++j) {
            *in_scratch(to + j) = from[j * phases_];
          }
          continue;
        }
        // The last vector overlaps the one before.
        for (int64_t j = 0; j < elements; j += kV) {
          const int64_t first = std::min(j, elements - kV);
          at::vec::gather<sizeof(Acc)>(from + first * phases_, every)
              .store(in_scratch(to + first, kV));
        }
      }
    }
  }

  int64_t width_;
  int64_t skipped_;
  int64_t ahead_;
  int64_t phases_;
  int64_t read_phases_;  ///< windows begin at phase 0, and may be shorter than there are phases
  int64_t used_;         ///< elements that any window reads
  int64_t pitch_;
  std::array<int64_t, 2> starts_;
  std::array<Vec<Acc>, 2> last_;  ///< the part of the last vectors that is used
  Acc* widened_ = nullptr;
};

}  // namespace samepad::kernels::SAMEPAD_ISA
