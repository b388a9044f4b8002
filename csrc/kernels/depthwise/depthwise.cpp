// Runs the depthwise kernels on tensors, with several threads.

#include <algorithm>

#include "../common/cpu.h"
#include "../common/tensors.h"
#include "../common/types.h"
#include "../common/workspace.h"
#include "../conv_kernels.h"
#include "kernels.h"

namespace samepad::kernels {
namespace {

using DepthwiseTypes = Types<float, double, c10::BFloat16, c10::Half>;

/// The number of bytes in an AVX2 vector.
constexpr int64_t kAvx2Bytes = 32;

/// The kernels for this CPU. `bytes` is the size of the row or pixel that is processed in vectors.
/// If it fits into an AVX2 vector, AVX-512 vectors would be at least half empty.
template <class T>
const DepthwiseKernels<T>& kernels([[maybe_unused]] int64_t bytes) {
#ifdef SAMEPAD_X86_KERNELS
  if (instruction_set() == InstructionSet::avx512 && bytes > kAvx2Bytes) {
    return avx512::depthwise<T>();
  }
  if (instruction_set() != InstructionSet::generic) {
    return avx2::depthwise<T>();
  }
#endif
  return generic::depthwise<T>();
}

/// Transposes (taps, channels) to (channels, taps).
template <class From, class To>
void transpose(const From* from, int64_t rows, int64_t columns, To* to) {
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) {
      to[j * rows + i] = static_cast<To>(from[i * columns + j]);
    }
  }
}

/// The weight in the order and type that a kernel expects.
template <class T>
const Accumulator<T>* ordered_weight(const DepthwiseKernels<T>& run, const ConvShape& shape,
                                     bool pixels, const at::Tensor& weight,
                                     const std::optional<at::Tensor>& packed,
                                     Workspace& workspace) {
  using Acc = Accumulator<T>;
  if (const Acc* const data = packed_data<Acc>(packed, {shape.taps(), shape.channels});
      pixels && data != nullptr) {
    return data;
  }
  const T* const given = weight.const_data_ptr<T>();
  if constexpr (std::is_same_v<T, Acc>) {
    if (!pixels) {
      return given;
    }
  }
  auto* const result = workspace.take<Acc>(weight.numel());
  if (pixels) {
    run.pack_pixel_weight(shape, given, result);
  } else {
    std::copy_n(given, weight.numel(), result);
  }
  return result;
}

template <class T>
const Accumulator<T>* packed_bias(const std::optional<at::Tensor>& bias, Workspace& workspace) {
  using Acc = Accumulator<T>;
  if (!bias.has_value()) {
    return nullptr;
  }
  const T* const given = bias->const_data_ptr<T>();
  if constexpr (std::is_same_v<T, Acc>) {
    return given;
  } else {
    return std::copy_n(given, bias->numel(), workspace.take<Acc>(bias->numel())) - bias->numel();
  }
}

/// The size of the row or pixel that the kernels process in vectors.
template <class T>
int64_t vector_bytes(Pass pass, const ConvShape& shape, bool pixels) {
  // Two narrow planes computed together fill AVX-512 vectors.
  if (pass == Pass::output && !pixels && pairs_planes<T>(shape)) {
    return 2 * kAvx2Bytes;
  }
  return (pixels ? shape.channels : shape.output[1]) * static_cast<int64_t>(sizeof(Accumulator<T>));
}

bool takes_type(at::ScalarType type) { return DepthwiseTypes::contain(type); }

bool takes(Pass pass, const ConvShape& shape, at::MemoryFormat memory_format, at::ScalarType type) {
  constexpr double kMostScratch = 64.0 * 1024 * 1024;
  const bool pixels = is_channels_last(memory_format);
  if ((pixels && shape.multiplier() > 1) || !shape.is_countable()) {
    return false;
  }
  return DepthwiseTypes::dispatch(type, [&]<class T>() {
    const auto& run = kernels<T>(vector_bytes<T>(pass, shape, pixels));
    return (pixels ? run.pixel_scratch(shape) : run.plane_scratch(pass, shape)) <= kMostScratch;
  });
}

at::Tensor output(const ConvShape& shape, at::MemoryFormat memory_format, const at::Tensor& input,
                  const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                  const Fusion& fusion) {
  const bool pixels = is_channels_last(memory_format);
  const at::Tensor from = input.contiguous(memory_format);
  const at::Tensor filters = weight.contiguous();
  const std::optional<at::Tensor> added = bias ? std::optional(bias->contiguous()) : std::nullopt;
  at::Tensor output =
      empty_like(input, shape.batch, shape.filters, shape, &Axis::output, memory_format);
  DepthwiseTypes::dispatch(input.scalar_type(), [&]<class T>() {
    Workspace workspace;
    const auto& run = kernels<T>(vector_bytes<T>(Pass::output, shape, pixels));
    const auto* const w = ordered_weight<T>(run, shape, pixels, filters, fusion.packed, workspace);
    const EpilogueOf<T> epilogue(fusion, memory_format, output);
    const auto* const b = packed_bias<T>(added, workspace);
    const T* const x = from.const_data_ptr<T>();
    T* const y = output.mutable_data_ptr<T>();
    const int64_t tasks = pixels ? shape.images() * shape.output[0] : shape.batch * shape.channels;
    share_out(tasks, output.numel() / tasks * shape.taps(), [&](int64_t begin, int64_t end) {
      (pixels ? run.pixel_output : run.plane_output)(shape, x, w, b, epilogue.get(), y, begin, end);
    });
  });
  return output;
}

std::optional<at::Tensor> packed_weight(at::MemoryFormat memory_format, const at::Tensor& weight) {
  if (!is_channels_last(memory_format)) {
    return std::nullopt;
  }
  const ConvShape shape{.channels = weight.size(0),
                        .filters = weight.size(0),
                        .kernel = {1, weight.numel() / weight.size(0)}};
  const at::Tensor filters = weight.contiguous();
  return DepthwiseTypes::dispatch(weight.scalar_type(), [&]<class T>() {
    using Acc = Accumulator<T>;
    at::Tensor packed = at::empty({shape.taps(), shape.channels},
                                  weight.options().dtype(c10::CppTypeToScalarType<Acc>::value));
    kernels<T>(kAvx2Bytes)
        .pack_pixel_weight(shape, filters.const_data_ptr<T>(), packed.mutable_data_ptr<Acc>());
    return std::optional(packed);
  });
}

at::Tensor input_gradient(const ConvShape& shape, at::MemoryFormat memory_format,
                          const at::Tensor& gradient, const at::Tensor& weight,
                          const std::optional<at::Tensor>& bias) {
  TORCH_INTERNAL_ASSERT(!bias, "depthwise transposed convolutions are PyTorch's");
  const bool pixels = is_channels_last(memory_format);
  const at::Tensor from = gradient.contiguous(memory_format);
  const at::Tensor filters = weight.contiguous();
  at::Tensor result =
      empty_like(gradient, shape.batch, shape.channels, shape, &Axis::input, memory_format);
  DepthwiseTypes::dispatch(gradient.scalar_type(), [&]<class T>() {
    Workspace workspace;
    const auto& run = kernels<T>(vector_bytes<T>(Pass::input_gradient, shape, pixels));
    const auto* const w = ordered_weight<T>(run, shape, pixels, filters, std::nullopt, workspace);
    const T* const x = from.const_data_ptr<T>();
    T* const y = result.mutable_data_ptr<T>();
    const int64_t tasks =
        shape.batch * (pixels ? shape.depth.input * shape.input[0] : shape.channels);
    share_out(tasks, from.numel() / tasks * shape.taps(), [&](int64_t begin, int64_t end) {
      (pixels ? run.pixel_input_gradient : run.plane_input_gradient)(shape, x, w, y, begin, end);
    });
  });
  return result;
}

at::Tensor weight_gradient(const ConvShape& shape, at::MemoryFormat memory_format,
                           const at::Tensor& gradient, const at::Tensor& input) {
  const bool pixels = is_channels_last(memory_format);
  const at::Tensor by = gradient.contiguous(memory_format);
  const at::Tensor from = input.contiguous(memory_format);
  at::Tensor result =
      empty_like(gradient, shape.filters, 1, shape, &Axis::kernel, at::MemoryFormat::Contiguous);
  DepthwiseTypes::dispatch(gradient.scalar_type(), [&]<class T>() {
    using Acc = Accumulator<T>;
    Workspace workspace;
    const T* const g = by.const_data_ptr<T>();
    const T* const x = from.const_data_ptr<T>();
    T* const y = result.mutable_data_ptr<T>();
    const auto& run = kernels<T>(vector_bytes<T>(Pass::weight_gradient, shape, pixels));
    const int64_t size = result.numel();
    const int64_t operations = by.numel() * shape.taps();
    if (!pixels) {
      auto* const sums = workspace.take<Acc>(size);
      share_out(shape.channels, operations / shape.channels, [&](int64_t begin, int64_t end) {
        run.plane_weight_gradient(shape, g, x, sums, begin, end);
      });
      std::transform(sums, sums + size, y, [](Acc sum) { return static_cast<T>(sum); });
      return;
    }
    // Each part of the rows has its own sums. The number of parts, and with it the result, does
    // not depend on the number of threads.
    constexpr int64_t kMostParts = 16;
    const int64_t rows = shape.images() * shape.output[0];
    const int64_t parts = std::min(rows, kMostParts);
    auto* const sums = workspace.take<Acc>(parts * size);
    std::fill_n(sums, parts * size, Acc(0));
    share_out(parts, operations / parts, [&](int64_t begin, int64_t end) {
      for (int64_t part = begin; part < end; ++part) {
        run.pixel_weight_gradient(shape, g, x, sums + part * size, rows * part / parts,
                                  rows * (part + 1) / parts);
      }
    });
    for (int64_t part = 1; part < parts; ++part) {
      std::transform(sums, sums + size, sums + part * size, sums, std::plus<>());
    }
    transpose(sums, shape.taps(), shape.channels, y);
  });
  return result;
}

}  // namespace

const ConvKernels kDepthwiseKernels{takes_type,     takes,         output,
                                    input_gradient, packed_weight, weight_gradient};

}  // namespace samepad::kernels
