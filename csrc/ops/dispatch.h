#pragma once

// Helpers to call and to register the operators from C++.

#include <ATen/core/dispatch/Dispatcher.h>

#include <string>

namespace samepad::detail {

/// Finds the operator. It is called through the dispatcher, as at::conv2d is, so that every feature
/// that is implemented as a dispatch key, such as autograd or autocast, handles the call.
template <class Kernel>
c10::TypedOperatorHandle<Kernel> find_operator(const std::string& name, const char* overload) {
  return c10::Dispatcher::singleton()
      .findSchemaOrThrow(("samepad::" + name).c_str(), overload)
      .typed<Kernel>();
}

}  // namespace samepad::detail

/// Registers the kernels of composite operators under every key that they need. Vmap does not use
/// composite kernels by default; without its own key it would loop over the samples.
#define SAMEPAD_REGISTER_COMPOSITE(register_kernels)                                 \
  TORCH_LIBRARY_IMPL(samepad, CompositeImplicitAutograd, m) { register_kernels(m); } \
  TORCH_LIBRARY_IMPL(samepad, FuncTorchBatchedDecomposition, m) { register_kernels(m); }
