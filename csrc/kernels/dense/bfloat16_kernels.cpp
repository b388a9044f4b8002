// The dense kernels for bfloat16, by the instructions that this CPU has for it.

#include "../common/compiler_warnings.h"

#include "bfloat16.h"
#include "kernels.h"

namespace samepad::kernels::SAMEPAD_ISA {
namespace {

template <class Tiles>
constexpr PixelKernels<BFloat16> kKernels{dense_tile_output<Tiles>,
                                          dense_tile_scratch<Tiles>,
                                          tile_runs,
                                          pack_tiles,
                                          transpose<BFloat16, BFloat16>,
                                          kTwoTiles,
                                          kTileSize,
                                          kTileRun};

}  // namespace

const PixelKernels<BFloat16>& dense_bfloat16(Bfloat16Products products) {
  switch (products) {
    case Bfloat16Products::tiles:
      return kKernels<MatrixTiles>;
    case Bfloat16Products::vectors:
      return kKernels<VectorTiles<Pairs>>;
    case Bfloat16Products::widened:
      break;
  }
  return kKernels<VectorTiles<WidenedPairs>>;
}

}  // namespace samepad::kernels::SAMEPAD_ISA
