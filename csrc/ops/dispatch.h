#pragma once

// How the operators are called from C++.

#include <ATen/core/dispatch/Dispatcher.h>

#include <string>

namespace samepad::detail {

/// The operator, to be called through the dispatcher as at::conv2d is, so that every feature that
/// lives in a dispatch key sees the call.
template <class Kernel>
c10::TypedOperatorHandle<Kernel> find_operator(const std::string& name, const char* overload) {
  return c10::Dispatcher::singleton()
      .findSchemaOrThrow(("samepad::" + name).c_str(), overload)
      .typed<Kernel>();
}

}  // namespace samepad::detail

/// Registers the kernels of composite operators under every key that they need: composite kernels
/// do not reach vmap's key, which would loop over the samples instead.
#define SAMEPAD_REGISTER_COMPOSITE(register_kernels)                                 \
  TORCH_LIBRARY_IMPL(samepad, CompositeImplicitAutograd, m) { register_kernels(m); } \
  TORCH_LIBRARY_IMPL(samepad, FuncTorchBatchedDecomposition, m) { register_kernels(m); }
