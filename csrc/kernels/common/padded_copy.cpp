#include "padded_copy.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <c10/util/accumulate.h>

#include <algorithm>
#include <cstring>

namespace samepad::kernels {
namespace {

bool is_channels_last(const at::Tensor& tensor) {
  const auto format = tensor.suggest_memory_format();
  return format == at::MemoryFormat::ChannelsLast || format == at::MemoryFormat::ChannelsLast3d;
}

}  // namespace

bool can_copy_padded(const at::Tensor& input) {
  return input.is_cpu() && input.layout() == at::kStrided &&
         input.is_contiguous(input.suggest_memory_format());
}

at::Tensor padded_copy(const at::Tensor& input, at::ArrayRef<Pads<int64_t>> pads) {
  const auto dimensions = static_cast<int64_t>(pads.size());
  const bool channels_last = is_channels_last(input);
  std::vector<int64_t> sizes = input.sizes().vec();
  for (int64_t i = 0; i < dimensions; ++i) {
    sizes[2 + i] += pads[i].before + pads[i].after;
  }
  at::Tensor output =
      at::empty(sizes, input.options().memory_format(input.suggest_memory_format()));

  // The loop below copies planes of rows of elements. In channels_last an element is a whole pixel.
  const auto pixel =
      static_cast<int64_t>(input.element_size()) * (channels_last ? input.size(1) : 1);
  const int64_t planes = input.size(0) * (channels_last ? 1 : input.size(1));
  const auto& [left, right] = pads.back();
  const int64_t row = input.size(-1) * pixel;
  const int64_t padded_row = output.size(-1) * pixel;
  const int64_t rows = c10::multiply_integers(output.sizes().slice(2, dimensions - 1));
  const auto* const from = static_cast<const char*>(input.const_data_ptr());
  auto* const to = static_cast<char*>(output.mutable_data_ptr());

  constexpr int64_t kBytesPerTask = 65536;
  const int64_t grain = std::max<int64_t>(1, kBytesPerTask / std::max<int64_t>(padded_row, 1));
  at::parallel_for(0, planes * rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t index = begin; index < end; ++index) {
      // Finds the row of the input that belongs here, if any, from the last dimension to the first.
      int64_t rest = index % rows;
      int64_t source = 0;
      int64_t rows_below = 1;
      bool inside = true;
      for (int64_t i = dimensions - 2; i >= 0; --i) {
        const int64_t position = rest % output.size(2 + i) - pads[i].before;
        rest /= output.size(2 + i);
        inside &= position >= 0 && position < input.size(2 + i);
        source += position * rows_below;
        rows_below *= input.size(2 + i);
      }
      char* const start = to + index * padded_row;
      if (!inside) {
        std::memset(start, 0, padded_row);
        continue;
      }
      std::memset(start, 0, left * pixel);
      std::memcpy(start + left * pixel, from + (index / rows * rows_below + source) * row, row);
      std::memset(start + left * pixel + row, 0, right * pixel);
    }
  });
  return output;
}

}  // namespace samepad::kernels
