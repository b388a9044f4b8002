#pragma once

// How tests see what kernels do outside of the memory that they have taken from a workspace.

#include <samepad/export.h>

#include <cstddef>

namespace samepad::kernels {

/// Gives every `Workspace::take` memory of its own. Usually the next one follows it in memory, and
/// hides that something was read or written past its end.
struct TakeAllocator {
  void* (*allocate)(size_t bytes);  ///< aligned to a cache line
  void (*free)(void* memory, size_t bytes);
};

/// From now on every take, on any thread, asks `allocator`; after a null pointer, the chunks that
/// threads keep, as at first. Takes that are in use stay what they are.
SAMEPAD_API void set_take_allocator(const TakeAllocator* allocator);

}  // namespace samepad::kernels
