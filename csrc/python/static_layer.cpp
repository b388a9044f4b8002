#include "../ops/static_layer.h"

#include <pybind11/stl.h>

#include <vector>

#include "arguments.h"
#include "bindings.h"

namespace samepad::python {
namespace {

using Sizes = std::vector<int64_t>;

/// Converts the `padding` of a layer, which the layer has checked already.
Padding padding_of(const py::object& padding) {
  return Arguments{"resolve_static"}.padding("padding", padding);
}

/// Returns three values: the layer's own settings by their names in torch.nn, what to add to the
/// input and what to crop from the output.
py::tuple as_tuple(const detail::StaticLayer& layer, const py::dict& more = {}) {
  const py::dict settings;
  settings["padding"] = py::tuple(py::cast(Sizes(layer.padding.begin(), layer.padding.end())));
  for (const auto& [name, value] : more) {
    settings[name] = value;
  }
  return py::make_tuple(settings, pairs(layer.pads), pairs(layer.crops));
}

py::tuple conv(const Sizes& input_size, const Sizes& kernel_size, const Sizes& stride,
               const Sizes& dilation, const py::object& padding, const std::string& padding_mode) {
  return as_tuple(detail::static_conv(input_size, kernel_size, stride, dilation,
                                      padding_of(padding), padding_mode));
}

py::tuple conv_transpose(const Sizes& input_size, const Sizes& output_size,
                         const Sizes& kernel_size, const Sizes& stride, const Sizes& dilation,
                         const py::object& padding) {
  const auto layer = detail::static_conv_transpose(input_size, output_size, kernel_size, stride,
                                                   dilation, padding_of(padding));
  const py::dict more;
  more["output_padding"] =
      py::tuple(py::cast(Sizes(layer.output_padding.begin(), layer.output_padding.end())));
  return as_tuple(layer, more);
}

py::tuple pool(const detail::StaticLayer& layer) {
  const py::dict more;
  more["ceil_mode"] = layer.ceil_mode;
  return as_tuple(layer, more);
}

py::tuple max_pool(const Sizes& input_size, const Sizes& kernel_size, const Sizes& stride,
                   const Sizes& dilation, const py::object& padding, bool ceil_mode) {
  return pool(detail::static_max_pool(input_size, kernel_size, stride, dilation,
                                      padding_of(padding), ceil_mode));
}

py::tuple avg_pool(const Sizes& input_size, const Sizes& kernel_size, const Sizes& stride,
                   const py::object& padding, bool ceil_mode, bool count_include_pad,
                   bool divided) {
  return pool(detail::static_avg_pool(input_size, kernel_size, stride, padding_of(padding),
                                      ceil_mode, count_include_pad, divided));
}

}  // namespace

void register_static_layers(py::module_& m) {
  m.def("_static_conv", wrap(conv));
  m.def("_static_conv_transpose", wrap(conv_transpose));
  m.def("_static_max_pool", wrap(max_pool));
  m.def("_static_avg_pool", wrap(avg_pool));
}

}  // namespace samepad::python
