// These bindings exist in addition to torch.ops.samepad because a call through torch.ops boxes its
// arguments and runs Python code. That takes about 15 us, which is noticeable for a small layer in
// eager mode.

#include "bindings.h"

PYBIND11_MODULE(_C, m) {
  m.doc() = "Bindings of libsamepad; see samepad.functional for the functions to use.";
  samepad::python::register_padding(m);
  samepad::python::register_conv(m);
  samepad::python::register_conv_transpose(m);
  samepad::python::register_fused_conv(m);
  samepad::python::register_pool(m);
  samepad::python::register_plan(m);
  samepad::python::register_static_layers(m);
  samepad::python::register_watched(m);
}
