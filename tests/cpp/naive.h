#pragma once

// References written from the definitions, sharing nothing with the library.

#include <ATen/ATen.h>
#include <samepad/padding.h>

#include <cstdint>
#include <utility>
#include <vector>

namespace naive {

/// Counts the windows that start at 0, s, 2s, ... inside n elements, then what the last one lacks.
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

/// Three spatial dimensions in float64, one multiplication at a time; fewer are ones of size 1.
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

}  // namespace naive
