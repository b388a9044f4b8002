// Why this exists beside torch.ops.samepad: a call through torch.ops boxes its arguments and runs
// Python, which costs about 15 us; in eager mode a small layer would notice.

#include "bindings.h"

PYBIND11_MODULE(_C, m) {
  m.doc() = "Bindings of libsamepad; see samepad.functional for the functions to use.";
  samepad::python::register_padding(m);
  samepad::python::register_conv(m);
  samepad::python::register_conv_transpose(m);
  samepad::python::register_pool(m);
  samepad::python::register_plan(m);
  samepad::python::register_static_layers(m);
  samepad::python::register_watched(m);
}
