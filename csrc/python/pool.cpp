#include <samepad/pool.h>

#include <array>

#include "arguments.h"
#include "bindings.h"

namespace samepad::python {
namespace {

constexpr std::array kMaxPool{max_pool1d, max_pool2d, max_pool3d};
constexpr std::array kMaxPoolWithIndices{max_pool1d_with_indices, max_pool2d_with_indices,
                                         max_pool3d_with_indices};
constexpr std::array kMaxNames{"max_pool1d", "max_pool2d", "max_pool3d"};
constexpr std::array kAvgNames{"avg_pool1d", "avg_pool2d", "avg_pool3d"};

/// Returns a tensor, or with `return_indices` a tuple of two.
template <int64_t D>
py::object max_pool(const py::object& input, const py::object& kernel_size,
                    const py::object& stride, const py::object& padding, const py::object& dilation,
                    const py::object& ceil_mode, const py::object& return_indices) {
  constexpr Arguments kArguments{kMaxNames[D - 1]};
  const auto input_ = kArguments.tensor("input", input);
  const auto kernel_size_ = kArguments.integers("kernel_size", kernel_size);
  const auto stride_ = kArguments.optional_integers("stride", stride);
  const auto padding_ = kArguments.padding("padding", padding);
  const auto dilation_ = kArguments.integers("dilation", dilation);
  const bool ceil_mode_ = kArguments.boolean("ceil_mode", ceil_mode);
  const auto run = [&](const auto& pool) {
    const py::gil_scoped_release no_gil;
    return pool(input_, kernel_size_, stride_.value_or(std::vector<int64_t>{}), padding_, dilation_,
                ceil_mode_);
  };
  if (kArguments.boolean("return_indices", return_indices)) {
    return py::cast(run(kMaxPoolWithIndices[D - 1]));
  }
  return py::cast(run(kMaxPool[D - 1]));
}

template <int64_t D>
at::Tensor avg_pool(const py::object& input, const py::object& kernel_size,
                    const py::object& stride, const py::object& padding,
                    const py::object& ceil_mode, const py::object& count_include_pad,
                    const py::object& divisor_override) {
  constexpr Arguments kArguments{kAvgNames[D - 1]};
  const auto input_ = kArguments.tensor("input", input);
  const auto kernel_size_ = kArguments.integers("kernel_size", kernel_size);
  const auto stride_ =
      kArguments.optional_integers("stride", stride).value_or(std::vector<int64_t>{});
  const auto padding_ = kArguments.padding("padding", padding);
  const bool ceil_mode_ = kArguments.boolean("ceil_mode", ceil_mode);
  const auto counts_ =
      count_include_pad.is_none()
          ? std::nullopt
          : std::optional(kArguments.boolean("count_include_pad", count_include_pad));
  const auto divisor_ =
      divisor_override.is_none()
          ? std::nullopt
          : std::optional(kArguments.integer("divisor_override", divisor_override));
  const py::gil_scoped_release no_gil;
  if constexpr (D == 1) {
    return avg_pool1d(input_, kernel_size_, stride_, padding_, ceil_mode_, counts_);
  } else {
    constexpr auto kPool = D == 2 ? avg_pool2d : avg_pool3d;
    return kPool(input_, kernel_size_, stride_, padding_, ceil_mode_, counts_, divisor_);
  }
}

at::Tensor avg_pool_1d(const py::object& input, const py::object& kernel_size,
                       const py::object& stride, const py::object& padding,
                       const py::object& ceil_mode, const py::object& count_include_pad) {
  return avg_pool<1>(input, kernel_size, stride, padding, ceil_mode, count_include_pad, py::none());
}

template <int64_t D>
void register_max_pool(py::module_& m) {
  m.def(kMaxNames[D - 1], wrap(max_pool<D>), py::arg("input"), py::arg("kernel_size"),
        py::arg("stride") = py::none(), py::arg("padding") = "same", py::arg("dilation") = 1,
        py::arg("ceil_mode") = false, py::arg("return_indices") = false, kOperatorDoc);
}

}  // namespace

void register_pool(py::module_& m) {
  register_max_pool<1>(m);
  register_max_pool<2>(m);
  register_max_pool<3>(m);
  m.def(kAvgNames[0], wrap(avg_pool_1d), py::arg("input"), py::arg("kernel_size"),
        py::arg("stride") = py::none(), py::arg("padding") = "same", py::arg("ceil_mode") = false,
        py::arg("count_include_pad") = py::none(), kOperatorDoc);
  const auto register_avg_pool = [&](const char* name, auto pool) {
    m.def(name, wrap(pool), py::arg("input"), py::arg("kernel_size"),
          py::arg("stride") = py::none(), py::arg("padding") = "same", py::arg("ceil_mode") = false,
          py::arg("count_include_pad") = py::none(), py::arg("divisor_override") = py::none(),
          kOperatorDoc);
  };
  register_avg_pool(kAvgNames[1], avg_pool<2>);
  register_avg_pool(kAvgNames[2], avg_pool<3>);
}

}  // namespace samepad::python
