// Why this exists beside torch.ops.samepad: a call through torch.ops boxes its arguments and runs
// Python, which costs about 15 us; in eager mode a small layer would notice.

#include <torch/csrc/Exceptions.h>

#include "bindings.h"

PYBIND11_MODULE(_C, m) {
  m.doc() = "Bindings of libsamepad; see samepad.functional for the functions to use.";
  // PyTorch's exceptions become what PyTorch makes of them, without the C++ stack.
  py::register_local_exception_translator([](std::exception_ptr error) {
    try {
      if (error) {
        std::rethrow_exception(error);
      }
    } catch (const c10::Error&) {
      torch::translate_exception_to_python(error);
    }
  });
  samepad::python::register_padding(m);
  samepad::python::register_conv(m);
  samepad::python::register_plan(m);
}
