#pragma once

// Layouts and sizes of the tensors that the kernels take and return.

#include <ATen/ops/empty.h>

#include <optional>

#include "../conv_kernels.h"
#include "conv_shape.h"

namespace samepad::kernels {

/// Whether the layout is channels_last, with contiguous pixels, rather than NCHW or NCDHW, with
/// contiguous planes.
inline bool is_channels_last(at::MemoryFormat memory_format) {
  return memory_format != at::MemoryFormat::Contiguous;
}

/// The layout whose pixels are contiguous, of tensors with as many dimensions as this one.
inline at::MemoryFormat channels_last_of(const at::Tensor& tensor) {
  return tensor.dim() == 5 ? at::MemoryFormat::ChannelsLast3d : at::MemoryFormat::ChannelsLast;
}

/// An uninitialised tensor of the type, device and number of dimensions of `tensor`. Its sizes are
/// `first`, `second` and, for each spatial dimension, the member `size` of the axis.
inline at::Tensor empty_like(const at::Tensor& tensor, int64_t first, int64_t second,
                             const ConvShape& shape, int64_t Axis::* size,
                             at::MemoryFormat memory_format) {
  c10::SmallVector<int64_t, 5> sizes{first, second};
  for (auto axis = static_cast<int>(5 - tensor.dim()); axis < 3; ++axis) {
    sizes.push_back(shape.axis(axis).*size);
  }
  return at::empty(sizes, tensor.options(), memory_format);
}

/// The epilogue of a fused convolution, on the memory of its tensors.
template <class T>
class EpilogueOf {
 public:
  EpilogueOf(const Fusion& fusion, at::MemoryFormat memory_format, const at::Tensor& output)
      : epilogue_{fusion.activation, fusion.parameters, nullptr, fusion.residual_last,
                  output.const_data_ptr<T>()} {
    if (fusion.residual) {
      residual_ = fusion.residual->contiguous(memory_format);
      epilogue_.residual = residual_.const_data_ptr<T>();
    }
  }

  /// Returns null if there is nothing to do.
  const Epilogue<T>* get() const {
    const bool is_idle =
        epilogue_.activation == Activation::identity && epilogue_.residual == nullptr;
    return is_idle ? nullptr : &epilogue_;
  }

 private:
  at::Tensor residual_;  // in the output's layout
  Epilogue<T> epilogue_;
};

/// The elements of a packed weight; null if none was given or if it has other sizes or another
/// type.
template <class T>
const T* packed_data(const std::optional<at::Tensor>& packed, at::IntArrayRef sizes) {
  const bool fits = packed && packed->sizes() == sizes &&
                    packed->scalar_type() == c10::CppTypeToScalarType<T>::value &&
                    packed->is_contiguous();
  return fits ? packed->const_data_ptr<T>() : nullptr;
}

}  // namespace samepad::kernels
