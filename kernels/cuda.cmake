# CUDA ops for sm_90a and the program that measures them. Compiles wherever nvcc is; runs where a
# Hopper GPU is.
set(CMAKE_CUDA_ARCHITECTURES 90a-real)
set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)
find_package(CLI11 REQUIRED)

# CMake 3.25 knows no standard above 17 for nvcc; nvcc 13 does.
set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
add_library(
  moecast_kernels_ops STATIC
  bench/attend_fill.cu
  bench/latent_fill.cu
  bench/ceiling.cu
  bench/fill.cu
  bench/prefill_fill.cu
  execute/glue.cu
  execute/latent_glue.cu
  harness/clock_probe.cu
  ops/attend/attend.cu
  ops/attend/attend_128x16.cu
  ops/attend/attend_128x8.cu
  ops/attend/attend_64x16.cu
  ops/attend/attend_64x8.cu
  ops/attend/naive.cu
  ops/attend_prefill/attend_prefill.cu
  ops/attend_prefill/expand_past.cu
  ops/expert_gemm/expert_gemm.cu
  ops/expert_gemm/naive.cu
  ops/expert_prefill/naive.cu
  ops/expert_prefill/permute.cu
  ops/expert_prefill/products.cu
  ops/expert_prefill/products_int4.cu
  ops/expert_prefill/tensor_map.cu
  ops/kv/append.cu
  ops/kv/latent.cu
  ops/kv/naive.cu
  ops/kv/pack.cu
  ops/kv/rotate.cu
  ops/mla/attend_mla.cu
  ops/norm/norm.cu
  ops/rope/rope.cu
  ops/route/combine.cu
  ops/route/gate.cu
  ops/route/naive.cu
  ops/route/route.cu
  ops/sample/sample.cu)
target_include_directories(moecast_kernels_ops PUBLIC ${PROJECT_SOURCE_DIR})
target_link_libraries(moecast_kernels_ops PUBLIC CUDA::cudart_static)
# Device code calls the constexpr functions that headers share with the host.
target_compile_options(moecast_kernels_ops PRIVATE -Xcompiler=-Wall --expt-relaxed-constexpr)

add_executable(
  moecast_kernels
  bench/attend_bench.cc
  bench/attend_prefill_bench.cc
  bench/append_schemes.cc
  bench/check.cc
  bench/check_append.cc
  bench/check_attend.cc
  bench/check_attend_prefill.cc
  bench/check_formats.cc
  bench/check_glue.cc
  bench/check_mla.cc
  bench/check_latent.cc
  bench/check_prefill.cc
  bench/check_dense.cc
  bench/check_route.cc
  bench/check_small.cc
  bench/check_support.cc
  bench/drawn_codes.cc
  bench/drawn_latents.cc
  bench/drawn_pages.cc
  bench/kv_pool.cc
  bench/kv_rows.cc
  bench/kv_tails.cc
  bench/latent_rows.cc
  bench/layer_bench.cc
  bench/main.cc
  bench/prefill_bench.cc
  bench/prefill_data.cc
  bench/prefill_rows.cc
  bench/registry.cc
  bench/suite_append.cc
  bench/suite_ceilings.cc
  bench/stored_layer.cc
  bench/suite_attend.cc
  bench/suite_attend_prefill.cc
  bench/suite_formats.cc
  bench/suite_glue.cc
  bench/suite_mla.cc
  bench/suite_latent.cc
  bench/suite_dense.cc
  bench/suite_layer.cc
  bench/suite_loads.cc
  bench/suite_prefill.cc
  bench/suite_route.cc
  bench/suite_small.cc
  bench/suites.cc
  harness/environment.cc
  harness/measure.cc
  ops/dense/blas_lt.cc
  ops/dense/dense.cc)
target_link_libraries(moecast_kernels PRIVATE moecast_kernels_ops moecast_kernels_host CLI11::CLI11)

# Our expert layer beside the vendor's grouped product; looks for libcublas.so.13 as any program
# does.
add_executable(moecast_side_by_side harness/environment.cc harness/measure.cc side_by_side/drawn_loads.cc
                                    side_by_side/library_products.cc side_by_side/main.cc)
target_link_libraries(moecast_side_by_side PRIVATE moecast_kernels_ops moecast_kernels_host CLI11::CLI11 CUDA::cublas)

# Executes the steps of `moecast validate`: the application links it, so it sees sim/model.
if(NOT MOECAST_KERNELS_ONLY)
  add_library(
    moecast_execute STATIC
    execute/activations.cc
    execute/dense_products.cc
    execute/executor.cc
    execute/kv_pools.cc
    execute/model_ops.cc
    execute/model_ops_attention.cc
    execute/model_ops_latent.cc
    execute/model_ops_moe.cc
    execute/model_weights.cc
    execute/step_timer.cc
    ops/dense/blas_lt.cc
    ops/dense/dense.cc)
  target_link_libraries(moecast_execute PUBLIC moecast_kernels_ops moecast_kernels_host moecast_model)
  if(MOECAST_TESTS)
    add_library(moecast_shared_memory STATIC ${PROJECT_SOURCE_DIR}/tests/kernels/shared_memory.cu)
    target_link_libraries(moecast_shared_memory PUBLIC moecast_kernels_ops)
  endif()
endif()
