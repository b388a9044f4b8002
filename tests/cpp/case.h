#pragma once

// The shapes with which convolutions, transposed convolutions and pools are tested.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <ostream>
#include <vector>

namespace samepad {

using Sizes = std::vector<int64_t>;

struct Case {
  Sizes size;
  Sizes kernel;
  Sizes stride;
  Sizes dilation;
  int64_t groups;
};

inline void PrintTo(const Case& c, std::ostream* stream) {
  *stream << "size " << at::IntArrayRef(c.size) << " kernel " << at::IntArrayRef(c.kernel)
          << " stride " << at::IntArrayRef(c.stride) << " dilation " << at::IntArrayRef(c.dilation)
          << " groups " << c.groups;
}

/// The test cases. Those of one dimension come first.
inline const Case kCases[] = {
    {{7}, {3}, {1}, {1}, 1},
    {{8}, {4}, {1}, {1}, 1},
    {{8}, {3}, {2}, {2}, 2},
    {{2}, {5}, {3}, {1}, 1},
    {{5}, {1}, {3}, {1}, 4},
    {{8, 8}, {3, 3}, {2, 2}, {1, 1}, 1},
    {{7, 8}, {3, 3}, {2, 2}, {1, 1}, 4},
    {{6, 9}, {2, 5}, {1, 2}, {3, 1}, 2},
    {{9, 4}, {4, 1}, {3, 2}, {1, 2}, 1},
    {{1, 1}, {3, 2}, {2, 1}, {1, 1}, 1},
    {{4, 5, 6}, {3, 2, 3}, {2, 2, 1}, {1, 1, 2}, 2},
    {{5, 3, 4}, {2, 2, 2}, {1, 1, 1}, {1, 1, 1}, 1},
    {{1, 2, 4}, {3, 3, 3}, {2, 1, 3}, {1, 1, 1}, 1},
    {{3, 2}, {5, 4}, {3, 2}, {1, 1}, 1},
    {{7, 5}, {2, 1}, {3, 4}, {1, 1}, 2},
    {{5, 9}, {3, 2}, {1, 3}, {2, 4}, 4},
    {{1, 1, 1}, {2, 1, 5}, {3, 2, 2}, {1, 1, 1}, 4},
};

/// A window over one dimension.
struct Window {
  int64_t kernel;
  int64_t stride;
  int64_t dilation;
};

/// All windows up to this kernel size, stride and dilation.
inline std::vector<Window> windows(int64_t kernels, int64_t strides, int64_t dilations) {
  std::vector<Window> all;
  for (int64_t kernel = 1; kernel <= kernels; ++kernel) {
    for (int64_t stride = 1; stride <= strides; ++stride) {
      for (int64_t dilation = 1; dilation <= dilations; ++dilation) {
        all.push_back({kernel, stride, dilation});
      }
    }
  }
  return all;
}

/// Returns (first, second, sizes...).
inline Sizes shape(int64_t first, int64_t second, const Sizes& sizes) {
  Sizes result{first, second};
  result.insert(result.end(), sizes.begin(), sizes.end());
  return result;
}

}  // namespace samepad
