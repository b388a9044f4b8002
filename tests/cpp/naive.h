#pragma once

// Reference implementations, written from the definitions, that share nothing with the library.

#include <ATen/ATen.h>
#include <samepad/padding.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

namespace naive {

/// Counts the windows that start at 0, s, 2s, ... inside n elements. The padding is what the last
/// window lacks.
inline std::pair<int64_t, int64_t> pads(samepad::PadMode mode, int64_t n, int64_t k, int64_t s,
                                        int64_t d) {
  int64_t extent = 1;
  for (int64_t tap = 1; tap < k; ++tap) {
    extent += d;
  }
  if (mode == samepad::PadMode::valid) {
    return {0, 0};
  }
  if (mode == samepad::PadMode::causal) {
    return {extent - 1, 0};
  }
  int64_t windows = 0;
  for (int64_t start = 0; start < n; start += s) {
    ++windows;
  }
  int64_t total = (windows - 1) * s + extent - n;
  if (total < 0) {
    total = 0;
  }
  int64_t before = 0;
  int64_t after = 0;
  for (int64_t i = 0; i < total; ++i) {
    const bool goes_after = mode == samepad::PadMode::same ? i % 2 == 0 : i % 2 == 1;
    ++(goes_after ? after : before);
  }
  return {before, after};
}

struct Conv {
  std::vector<int64_t> stride;
  std::vector<int64_t> dilation;
  std::vector<std::pair<int64_t, int64_t>> pads;
  int64_t groups = 1;
};

/// A convolution in float64 with three spatial dimensions, one multiplication at a time. Missing
/// dimensions are treated as dimensions of size 1.
inline at::Tensor conv(at::Tensor input, at::Tensor weight, Conv args) {
  const int64_t missing = 5 - input.dim();
  for (int64_t i = 0; i < missing; ++i) {
    input = input.unsqueeze(2);
    weight = weight.unsqueeze(2);
    args.stride.insert(args.stride.begin(), 1);
    args.dilation.insert(args.dilation.begin(), 1);
    args.pads.insert(args.pads.begin(), {0, 0});
  }
  std::vector<int64_t> out{input.size(0), weight.size(0)};
  for (int64_t i = 0; i < 3; ++i) {
    const int64_t extent = (weight.size(i + 2) - 1) * args.dilation[i] + 1;
    const int64_t padded = input.size(i + 2) + args.pads[i].first + args.pads[i].second;
    out.push_back((padded - extent) / args.stride[i] + 1);
  }
  at::Tensor output = at::zeros(out, at::kDouble);
  const auto x = input.accessor<double, 5>();
  const auto w = weight.accessor<double, 5>();
  auto y = output.accessor<double, 5>();
  const int64_t out_per_group = weight.size(0) / args.groups;
  const auto at_tap = [&](int64_t dim, int64_t o, int64_t tap) {
    return o * args.stride[dim] + tap * args.dilation[dim] - args.pads[dim].first;
  };
  for (int64_t n = 0; n < out[0]; ++n) {
    for (int64_t o = 0; o < out[1]; ++o) {
      for (int64_t c = 0; c < weight.size(1); ++c) {
        const int64_t channel = o / out_per_group * weight.size(1) + c;
        for (int64_t a = 0; a < out[2] * out[3] * out[4]; ++a) {
          const int64_t i = a / (out[3] * out[4]);
          const int64_t j = a / out[4] % out[3];
          const int64_t k = a % out[4];
          for (int64_t b = 0; b < weight.size(2) * weight.size(3) * weight.size(4); ++b) {
            const int64_t p = b / (weight.size(3) * weight.size(4));
            const int64_t q = b / weight.size(4) % weight.size(3);
            const int64_t r = b % weight.size(4);
            const int64_t u = at_tap(0, i, p);
            const int64_t v = at_tap(1, j, q);
            const int64_t t = at_tap(2, k, r);
            if (u >= 0 && u < input.size(2) && v >= 0 && v < input.size(3) && t >= 0 &&
                t < input.size(4)) {
              y[n][o][i][j][k] += x[n][channel][u][v][t] * w[o][c][p][q][r];
            }
          }
        }
      }
    }
  }
  for (int64_t i = 0; i < missing; ++i) {
    output = output.squeeze(2);
  }
  return output;
}

/// Adds dimensions of size 1 until there are three spatial dimensions.
inline at::Tensor to_3d(at::Tensor tensor) {
  while (tensor.dim() < 5) {
    tensor = tensor.unsqueeze(2);
  }
  return tensor;
}

template <class T>
std::vector<T> to_3d(std::vector<T> values, T missing) {
  values.insert(values.begin(), 3 - values.size(), missing);
  return values;
}

inline at::Tensor from_3d(at::Tensor tensor, size_t dimensions) {
  for (size_t i = dimensions; i < 3; ++i) {
    tensor = tensor.squeeze(2);
  }
  return tensor;
}

/// A transposed convolution: each element of the input adds the kernel, multiplied by the element,
/// to the full result. Returns `sizes` elements of it, beginning after the cropped ones; elements
/// past the end of the full result are zeros.
inline at::Tensor conv_transpose(const at::Tensor& input, const at::Tensor& weight,
                                 const Conv& args, std::vector<int64_t> sizes) {
  const size_t dimensions = args.stride.size();
  const at::Tensor x = to_3d(input);
  const at::Tensor w = to_3d(weight);
  const auto stride = to_3d(args.stride, int64_t{1});
  const auto dilation = to_3d(args.dilation, int64_t{1});
  const auto crops = to_3d(args.pads, {0, 0});
  sizes = to_3d(sizes, int64_t{1});
  const int64_t out_per_group = w.size(1);
  const int64_t in_per_group = x.size(1) / args.groups;
  at::Tensor output = at::zeros(
      {x.size(0), out_per_group * args.groups, sizes[0], sizes[1], sizes[2]}, at::kDouble);
  const auto source = x.accessor<double, 5>();
  const auto kernel = w.accessor<double, 5>();
  auto target = output.accessor<double, 5>();
  const int64_t positions = x.size(2) * x.size(3) * x.size(4);
  const int64_t taps = w.size(2) * w.size(3) * w.size(4);
  for (int64_t n = 0; n < x.size(0); ++n) {
    for (int64_t c = 0; c < x.size(1); ++c) {
      for (int64_t o = 0; o < out_per_group; ++o) {
        for (int64_t a = 0; a < positions; ++a) {
          for (int64_t b = 0; b < taps; ++b) {
            const int64_t at[] = {a / (x.size(3) * x.size(4)), a / x.size(4) % x.size(3),
                                  a % x.size(4)};
            const int64_t tap[] = {b / (w.size(3) * w.size(4)), b / w.size(4) % w.size(3),
                                   b % w.size(4)};
            int64_t to[3];
            bool inside = true;
            for (size_t i = 0; i < 3; ++i) {
              to[i] = at[i] * stride[i] + tap[i] * dilation[i] - crops[i].first;
              inside = inside && to[i] >= 0 && to[i] < sizes[i];
            }
            if (inside) {
              target[n][c / in_per_group * out_per_group + o][to[0]][to[1]][to[2]] +=
                  source[n][c][at[0]][at[1]][at[2]] * kernel[c][o][tap[0]][tap[1]][tap[2]];
            }
          }
        }
      }
    }
  }
  return from_3d(output, dimensions);
}

struct Pooled {
  at::Tensor sum;
  at::Tensor max;
  at::Tensor mean;    ///< mean of the elements inside the input
  at::Tensor padded;  ///< mean with padding counted as zeros
};

/// Counts the windows that end inside the padded input. With `ceil_mode`, counts one more if
/// elements are left over, unless that window would start after the input.
inline int64_t windows(int64_t n, int64_t extent, int64_t stride,
                       std::pair<int64_t, int64_t> padding, bool ceil_mode) {
  const int64_t end = n + padding.second;
  int64_t count = 0;
  int64_t start = -padding.first;
  for (; start + extent <= end; start += stride) {
    ++count;
  }
  const bool left_over = start - stride + extent < end;
  return count + (ceil_mode && left_over && start < n ? 1 : 0);
}

/// Pools one window at a time by reading each of its elements.
inline Pooled pool(const at::Tensor& input, const std::vector<int64_t>& window, const Conv& args,
                   bool ceil_mode = false) {
  const size_t dimensions = args.stride.size();
  const at::Tensor x = to_3d(input);
  const auto kernel = to_3d(window, int64_t{1});
  const auto stride = to_3d(args.stride, int64_t{1});
  const auto dilation = to_3d(args.dilation, int64_t{1});
  const auto pads = to_3d(args.pads, {0, 0});
  std::vector<int64_t> out{x.size(0), x.size(1)};
  for (int64_t i = 0; i < 3; ++i) {
    const int64_t extent = (kernel[i] - 1) * dilation[i] + 1;
    out.push_back(windows(x.size(i + 2), extent, stride[i], pads[i], ceil_mode));
  }
  Pooled result{at::empty(out, at::kDouble), at::empty(out, at::kDouble),
                at::empty(out, at::kDouble), at::empty(out, at::kDouble)};
  const auto source = x.accessor<double, 5>();
  auto sums = result.sum.accessor<double, 5>();
  auto max = result.max.accessor<double, 5>();
  auto mean = result.mean.accessor<double, 5>();
  auto padded = result.padded.accessor<double, 5>();
  const int64_t taps = kernel[0] * kernel[1] * kernel[2];
  for (int64_t n = 0; n < out[0]; ++n) {
    for (int64_t c = 0; c < out[1]; ++c) {
      for (int64_t a = 0; a < out[2] * out[3] * out[4]; ++a) {
        const int64_t at[] = {a / (out[3] * out[4]), a / out[4] % out[3], a % out[4]};
        double largest = -std::numeric_limits<double>::infinity();
        double sum = 0;
        int64_t count = 0;
        int64_t count_padded = 0;
        for (int64_t b = 0; b < taps; ++b) {
          const int64_t tap[] = {b / (kernel[1] * kernel[2]), b / kernel[2] % kernel[1],
                                 b % kernel[2]};
          int64_t from[3];
          bool inside = true;
          bool padded_inside = true;
          for (int64_t i = 0; i < 3; ++i) {
            from[i] = at[i] * stride[i] + tap[i] * dilation[i] - pads[i].first;
            inside = inside && from[i] >= 0 && from[i] < x.size(i + 2);
            padded_inside = padded_inside && from[i] < x.size(i + 2) + pads[i].second;
          }
          count_padded += padded_inside ? 1 : 0;
          if (inside) {
            const double value = source[n][c][from[0]][from[1]][from[2]];
            largest = std::max(largest, value);
            sum += value;
            ++count;
          }
        }
        sums[n][c][at[0]][at[1]][at[2]] = sum;
        max[n][c][at[0]][at[1]][at[2]] = largest;
        mean[n][c][at[0]][at[1]][at[2]] = sum / static_cast<double>(count);
        padded[n][c][at[0]][at[1]][at[2]] = sum / static_cast<double>(count_padded);
      }
    }
  }
  return {from_3d(result.sum, dimensions), from_3d(result.max, dimensions),
          from_3d(result.mean, dimensions), from_3d(result.padded, dimensions)};
}

/// The gradient with respect to `x` of the sum of f(x) * cotangent, by finite differences.
template <class Function>
at::Tensor gradient(const Function& f, const at::Tensor& x, const at::Tensor& cotangent) {
  constexpr double kStep = 1e-5;
  at::Tensor moved = x.detach().clone();
  at::Tensor result = at::empty_like(moved);
  for (int64_t i = 0; i < moved.numel(); ++i) {
    const at::Tensor element = moved.view(-1)[i];
    const double value = element.item<double>();
    const auto at_value = [&](double v) {
      element.fill_(v);
      return (f(moved) * cotangent).sum().template item<double>();
    };
    result.view(-1)[i].fill_((at_value(value + kStep) - at_value(value - kStep)) / (2 * kStep));
    element.fill_(value);
  }
  return result;
}

}  // namespace naive
