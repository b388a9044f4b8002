# samepad_find_torch()
#
# Finds LibTorch, through CMAKE_PREFIX_PATH or Torch_DIR, and sets
#
#   samepad::torch         the target to link
#   SAMEPAD_TORCH_ROOT     the folder with LibTorch's include and lib
#   SAMEPAD_TORCH_VERSION  its version, such as 2.13.0
#
# or, where there is none, nothing.
#
# LibTorch's own CMake package is used where the project has found it already, or where it is a CPU
# build. A CUDA build's package stops the configuration on a machine without the whole CUDA toolkit,
# which C++ code does not need; there, the libraries in its folder are linked.
#
# Used by samepad's build and by its installed package.

# LibTorch's TorchConfigVersion.cmake says PACKAGE_VERSION, here in a scope of its own.
function(_samepad_torch_version result)
  include(${SAMEPAD_TORCH_CONFIG_DIR}/TorchConfigVersion.cmake)
  set(${result} ${PACKAGE_VERSION} PARENT_SCOPE)
endfunction()

macro(samepad_find_torch)
  # Torch_DIR is what the user, or a find_package(Torch) before, has settled on.
  find_path(SAMEPAD_TORCH_CONFIG_DIR TorchConfig.cmake PATHS ${Torch_DIR} NO_DEFAULT_PATH)
  find_path(SAMEPAD_TORCH_CONFIG_DIR TorchConfig.cmake
    PATH_SUFFIXES Torch share/cmake/Torch libtorch/share/cmake/Torch)
  if(SAMEPAD_TORCH_CONFIG_DIR)
    get_filename_component(SAMEPAD_TORCH_ROOT ${SAMEPAD_TORCH_CONFIG_DIR}/../../.. ABSOLUTE)
    _samepad_torch_version(SAMEPAD_TORCH_VERSION)
    _samepad_make_torch_target()
  endif()
endmacro()

macro(_samepad_make_torch_target)
  if(NOT TARGET torch AND NOT EXISTS ${SAMEPAD_TORCH_ROOT}/lib/libtorch_cuda.so)
    find_package(Torch REQUIRED PATHS ${SAMEPAD_TORCH_CONFIG_DIR} NO_DEFAULT_PATH)
  endif()
  if(NOT TARGET samepad::torch)
    add_library(samepad::torch INTERFACE IMPORTED)
    target_compile_features(samepad::torch INTERFACE cxx_std_20)
    if(TARGET torch)
      target_link_libraries(samepad::torch INTERFACE ${TORCH_LIBRARIES})
      separate_arguments(samepad_torch_flags NATIVE_COMMAND "${TORCH_CXX_FLAGS}")
      target_compile_options(samepad::torch INTERFACE ${samepad_torch_flags})
    else()
      message(STATUS "samepad: linking the libraries in ${SAMEPAD_TORCH_ROOT}/lib")
      target_include_directories(samepad::torch INTERFACE
        ${SAMEPAD_TORCH_ROOT}/include ${SAMEPAD_TORCH_ROOT}/include/torch/csrc/api/include)
      # libtorch.so brings the CUDA kernels along, and nothing refers to it.
      target_link_libraries(samepad::torch INTERFACE
        -Wl,--push-state,--no-as-needed ${SAMEPAD_TORCH_ROOT}/lib/libtorch.so -Wl,--pop-state
        ${SAMEPAD_TORCH_ROOT}/lib/libtorch_cpu.so ${SAMEPAD_TORCH_ROOT}/lib/libc10.so)
    endif()
  endif()
endmacro()
