# CUDA ops for sm_90a and the program that measures them. Compiles wherever nvcc is; runs where a
# Hopper GPU is.
set(CMAKE_CUDA_ARCHITECTURES 90a-real)
set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)
find_package(CLI11 REQUIRED)

# CMake 3.25 takes C++'s standard and extensions for CUDA's and knows no standard above 17 for nvcc,
# so device code stands in a library of its own that has no standard but the flag given by hand.
unset(CMAKE_CXX_STANDARD)
unset(CMAKE_CXX_EXTENSIONS)
add_library(moecast_kernels_ops STATIC bench/ceiling.cu bench/fill.cu ops/expert_gemm/expert_gemm.cu
                                       ops/route/combine.cu ops/route/route.cu)
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_EXTENSIONS OFF)
target_include_directories(moecast_kernels_ops PUBLIC ${PROJECT_SOURCE_DIR})
target_link_libraries(moecast_kernels_ops PUBLIC CUDA::cudart_static)
target_compile_options(moecast_kernels_ops PRIVATE -std=c++20 -Xcompiler=-Wall)

add_executable(
  moecast_kernels
  bench/check.cc
  bench/layer_bench.cc
  bench/main.cc
  bench/suite_ceilings.cc
  bench/suite_layer.cc
  bench/suites.cc
  harness/environment.cc
  harness/measure.cc)
target_link_libraries(moecast_kernels PRIVATE moecast_kernels_ops moecast_kernels_host CLI11::CLI11)
