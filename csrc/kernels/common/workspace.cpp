#include "workspace.h"

#include <algorithm>
#include <memory>
#include <new>
#include <vector>

namespace samepad::kernels {
namespace {

constexpr size_t kLine = 64;
/// Enough for the bands of most layers.
constexpr size_t kLeast = size_t{256} * 1024;

struct Free {
  void operator()(std::byte* memory) const { operator delete(memory, std::align_val_t{kLine}); }
};

struct Chunk {
  std::unique_ptr<std::byte, Free> memory;
  size_t size;
};

/// What a thread keeps at most: enough for nearly all layers.
constexpr size_t kKept = size_t{4} * 1024 * 1024;

/// A thread's chunks, of which those up to `chunk` are in use, the last one up to `used`.
struct Arena {
  std::vector<Chunk> chunks;
  size_t chunk = 0;
  size_t used = 0;
};

Arena& arena() {
  thread_local Arena result;
  return result;
}

}  // namespace

Workspace::Workspace() : chunk_(arena().chunk), used_(arena().used) {}

Workspace::~Workspace() {
  Arena& memory = arena();
  memory.chunk = chunk_;
  memory.used = used_;
  size_t kept = 0;
  for (const auto& chunk : memory.chunks) {
    kept += chunk.size;
  }
  if (chunk_ == 0 && used_ == 0 && kept > kKept) {
    memory.chunks.clear();
  }
}

void* Workspace::bytes(size_t count) {
  Arena& memory = arena();
  const size_t size = (count + kLine - 1) / kLine * kLine;
  while (memory.chunk < memory.chunks.size() &&
         memory.used + size > memory.chunks[memory.chunk].size) {
    ++memory.chunk;
    memory.used = 0;
  }
  if (memory.chunk == memory.chunks.size()) {
    const size_t length = std::max(size, kLeast);
    memory.chunks.push_back({std::unique_ptr<std::byte, Free>(static_cast<std::byte*>(operator new(
                                 length, std::align_val_t{kLine}))),
                             length});
  }
  std::byte* result = memory.chunks[memory.chunk].memory.get() + memory.used;
  memory.used += size;
  return result;
}

}  // namespace samepad::kernels
