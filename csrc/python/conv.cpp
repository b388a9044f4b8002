#include <samepad/conv.h>

#include <array>

#include "arguments.h"
#include "bindings.h"

namespace samepad::python {
namespace {

constexpr std::array kConvolve{conv1d, conv2d, conv3d};
constexpr std::array kNames{"conv1d", "conv2d", "conv3d"};

template <int64_t D>
at::Tensor conv(const py::object& input, const py::object& weight, const py::object& bias,
                const py::object& stride, const py::object& padding, const py::object& dilation,
                const py::object& groups, const py::object& padding_mode) {
  constexpr Arguments kArguments{kNames[D - 1]};
  const auto input_ = kArguments.tensor("input", input);
  const auto weight_ = kArguments.tensor("weight", weight);
  const auto bias_ = kArguments.optional_tensor("bias", bias);
  const auto stride_ = kArguments.integers("stride", stride);
  const auto padding_ = kArguments.padding("padding", padding);
  const auto dilation_ = kArguments.integers("dilation", dilation);
  const auto groups_ = kArguments.integer("groups", groups);
  const auto padding_mode_ = kArguments.string("padding_mode", padding_mode);
  const py::gil_scoped_release no_gil;
  return kConvolve[D - 1](input_, weight_, bias_, stride_, padding_, dilation_, groups_,
                          padding_mode_);
}

template <int64_t D>
void register_conv_nd(py::module_& m) {
  m.def(kNames[D - 1], wrap(conv<D>), py::arg("input"), py::arg("weight"),
        py::arg("bias") = py::none(), py::arg("stride") = 1, py::arg("padding") = "same",
        py::arg("dilation") = 1, py::arg("groups") = 1, py::arg("padding_mode") = "zeros",
        kOperatorDoc);
}

}  // namespace

void register_conv(py::module_& m) {
  register_conv_nd<1>(m);
  register_conv_nd<2>(m);
  register_conv_nd<3>(m);
}

}  // namespace samepad::python
