#include <c10/util/Exception.h>
#include <samepad/nn/pool.h>
#include <samepad/pool.h>

#include <array>
#include <ostream>

#include "module.h"

namespace samepad {
namespace {

constexpr std::array kMaxPool{max_pool1d, max_pool2d, max_pool3d};
constexpr std::array kMaxPoolWithIndices{max_pool1d_with_indices, max_pool2d_with_indices,
                                         max_pool3d_with_indices};

void check(const Padding& padding, int64_t dimensions) {
  detail::check_padding(padding, dimensions, /*is_convolution=*/false, "a pool");
}

}  // namespace

template <size_t D, typename Derived>
SamePadMaxPoolNdImpl<D, Derived>::SamePadMaxPoolNdImpl(SamePadMaxPoolOptions<D> options_)
    : options(std::move(options_)) {
  // The qualified call is not virtual, and no derived class overrides it.
  SamePadMaxPoolNdImpl::reset();
}

template <size_t D, typename Derived>
void SamePadMaxPoolNdImpl<D, Derived>::reset() {
  check(options.padding(), D);
}

template <size_t D, typename Derived>
void SamePadMaxPoolNdImpl<D, Derived>::pretty_print(std::ostream& stream) const {
  stream << detail::printed_name(*this) << "(kernel_size=" << options.kernel_size()
         << ", stride=" << options.stride() << ", padding=" << options.padding()
         << ", dilation=" << options.dilation() << ", ceil_mode=" << std::boolalpha
         << options.ceil_mode() << ')';
}

template <size_t D, typename Derived>
at::Tensor SamePadMaxPoolNdImpl<D, Derived>::forward(const at::Tensor& input) {
  return kMaxPool[D - 1](input, options.kernel_size(), options.stride(), options.padding(),
                         options.dilation(), options.ceil_mode());
}

template <size_t D, typename Derived>
std::tuple<at::Tensor, at::Tensor> SamePadMaxPoolNdImpl<D, Derived>::forward_with_indices(
    const at::Tensor& input) {
  return kMaxPoolWithIndices[D - 1](input, options.kernel_size(), options.stride(),
                                    options.padding(), options.dilation(), options.ceil_mode());
}

template <size_t D, typename Derived>
SamePadAvgPoolNdImpl<D, Derived>::SamePadAvgPoolNdImpl(SamePadAvgPoolOptions<D> options_)
    : options(std::move(options_)) {
  // The qualified call is not virtual, and no derived class overrides it.
  SamePadAvgPoolNdImpl::reset();
}

template <size_t D, typename Derived>
void SamePadAvgPoolNdImpl<D, Derived>::reset() {
  check(options.padding(), D);
  TORCH_CHECK(D > 1 || !options.divisor_override(),
              "divisor_override is for 2 and 3 dimensions, but got ",
              options.divisor_override().value_or(0), " in SamePadAvgPool1d");
}

template <size_t D, typename Derived>
void SamePadAvgPoolNdImpl<D, Derived>::pretty_print(std::ostream& stream) const {
  stream << detail::printed_name(*this) << "(kernel_size=" << options.kernel_size()
         << ", stride=" << options.stride() << ", padding=" << options.padding() << ')';
}

template <size_t D, typename Derived>
at::Tensor SamePadAvgPoolNdImpl<D, Derived>::forward(const at::Tensor& input) {
  if constexpr (D == 1) {
    return avg_pool1d(input, options.kernel_size(), options.stride(), options.padding(),
                      options.ceil_mode(), options.count_include_pad());
  } else {
    constexpr auto kAvgPool = D == 2 ? avg_pool2d : avg_pool3d;
    return kAvgPool(input, options.kernel_size(), options.stride(), options.padding(),
                    options.ceil_mode(), options.count_include_pad(), options.divisor_override());
  }
}

template class SamePadMaxPoolNdImpl<1, SamePadMaxPool1dImpl>;
template class SamePadMaxPoolNdImpl<2, SamePadMaxPool2dImpl>;
template class SamePadMaxPoolNdImpl<3, SamePadMaxPool3dImpl>;
template class SamePadAvgPoolNdImpl<1, SamePadAvgPool1dImpl>;
template class SamePadAvgPoolNdImpl<2, SamePadAvgPool2dImpl>;
template class SamePadAvgPoolNdImpl<3, SamePadAvgPool3dImpl>;

}  // namespace samepad
