# samepad_find_torch()
#
# Finds LibTorch, through CMAKE_PREFIX_PATH or Torch_DIR, and sets
#
#   samepad::torch         the target to link
#   SAMEPAD_TORCH_ROOT     the folder with LibTorch's include and lib
#   SAMEPAD_TORCH_VERSION  its version, such as 2.13.0
#
# A CUDA build's own CMake package stops the configuration on a machine without the CUDA toolkit,
# which a C++ extension does not need; there, targets are made from the folders alone.
#
# Used by samepad's build and by its installed package.

macro(samepad_find_torch)
  find_path(SAMEPAD_TORCH_CONFIG_DIR TorchConfig.cmake
    HINTS ${Torch_DIR}
    PATH_SUFFIXES Torch share/cmake/Torch libtorch/share/cmake/Torch)
  if(NOT SAMEPAD_TORCH_CONFIG_DIR)
    message(FATAL_ERROR
      "samepad: LibTorch not found. Give its prefix, for example "
      "-DCMAKE_PREFIX_PATH=$(python -c 'import torch; print(torch.utils.cmake_prefix_path)')")
  endif()
  get_filename_component(SAMEPAD_TORCH_ROOT ${SAMEPAD_TORCH_CONFIG_DIR}/../../.. ABSOLUTE)
  # TorchConfigVersion.cmake says PACKAGE_VERSION.
  include(${SAMEPAD_TORCH_CONFIG_DIR}/TorchConfigVersion.cmake)
  set(SAMEPAD_TORCH_VERSION ${PACKAGE_VERSION})

  if(NOT TARGET torch AND EXISTS ${SAMEPAD_TORCH_ROOT}/lib/libtorch_cuda.so)
    find_package(CUDAToolkit QUIET)
    if(NOT CUDAToolkit_FOUND)
      message(STATUS "samepad: a CUDA build of LibTorch and no CUDA toolkit: using its folders")
      _samepad_import_torch()
    endif()
  endif()
  if(NOT TARGET torch)
    find_package(Torch REQUIRED PATHS ${SAMEPAD_TORCH_CONFIG_DIR} NO_DEFAULT_PATH)
  endif()

  if(NOT TARGET samepad::torch)
    add_library(samepad::torch INTERFACE IMPORTED)
    target_link_libraries(samepad::torch INTERFACE ${TORCH_LIBRARIES})
    target_compile_features(samepad::torch INTERFACE cxx_std_20)
    separate_arguments(samepad_torch_flags NATIVE_COMMAND "${TORCH_CXX_FLAGS}")
    target_compile_options(samepad::torch INTERFACE ${samepad_torch_flags})
  endif()
endmacro()

# The target `torch` and TORCH_LIBRARIES, as find_package(Torch) gives them, from the folders.
macro(_samepad_import_torch)
  foreach(library c10 torch_cpu torch)
    add_library(${library} SHARED IMPORTED)
    set_target_properties(${library} PROPERTIES
      IMPORTED_LOCATION ${SAMEPAD_TORCH_ROOT}/lib/lib${library}.so)
  endforeach()
  target_include_directories(c10 INTERFACE
    ${SAMEPAD_TORCH_ROOT}/include ${SAMEPAD_TORCH_ROOT}/include/torch/csrc/api/include)
  target_link_libraries(torch_cpu INTERFACE c10)
  target_link_libraries(torch INTERFACE torch_cpu)
  set(TORCH_LIBRARIES torch)
endmacro()
