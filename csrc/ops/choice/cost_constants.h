#pragma once

// Written by `python -m benchmarks.fit`: the constants of the cost model.

#include <array>

#include "cost.h"

namespace samepad::detail {

/// Nanoseconds for a unit of each amount of `Work`.
using CostConstants = std::array<double, Work::kAmounts>;

/// By variant (inference NCHW, inference channels_last, training NCHW, training channels_last) and
/// implementation.
using CostTable = std::array<std::array<CostConstants, kImplementations>, 4>;

inline constexpr CostTable kAvx512Costs{{
    {{{{7512, 0, 0, 0.2007, 0, 0.8785, 0, 32.04, 0, 0, 0}},
      {{0, 0.09384, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
      {{2.04e+05, 0, 0, 6.497, 0, 0, 0.3002, 53.24, 0, 0, 0.2092}},
      {{0, 1.32, 0, 0, 0, 0, 0, 0, 0, 0, 0}}}},
    {{{{0, 0.02145, 0, 0, 0, 1.159, 0, 0, 0, 0, 0}},
      {{0, 0.07817, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
      {{1.542e+05, 0.02239, 0, 3.021, 0, 0, 0.5304, 0, 0, 0, 0}},
      {{0, 0.5214, 0, 0, 0, 0, 0, 0, 0, 0, 0}}}},
    {{{{0, 0.03167, 0, 4.224, 0, 0, 0, 0, 0, 0, 0}},
      {{0, 0.4587, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
      {{7.381e+05, 0.1057, 0, 0, 1.245, 6.261, 0, 0, 0, 0, 0.3229}},
      {{0, 5.739, 0, 0, 0, 0, 0, 0, 0, 0, 0}}}},
    {{{{0, 0.06328, 0, 0, 0, 7.741, 0, 0, 0, 0, 0}},
      {{0, 0.3147, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
      {{1.097e+06, 0.04297, 0, 18.49, 0, 0, 5.645, 0, 0, 0, 0}},
      {{0, 1.615, 0, 0, 0, 0, 0, 0, 0, 0, 0}}}}
}};
inline constexpr CostTable kAvx2Costs{};

}  // namespace samepad::detail
