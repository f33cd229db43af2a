# Warnings are errors in every target of ours; third-party headers are SYSTEM.
add_library(moecast_options INTERFACE)
target_compile_features(moecast_options INTERFACE cxx_std_20)
target_include_directories(moecast_options INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(
  moecast_options
  INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wall
            -Wextra
            -Wpedantic
            -Wconversion
            -Wshadow
            -Werror
            # One rounding per operation, so results do not depend on the machine's FMA units.
            -ffp-contract=off>)
# g++ 12 reports an overlapping copy inside std::string's operator+ that cannot happen (GCC bug 105329).
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(moecast_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-restrict>)
endif()
# GCC advises against -Werror with sanitizers: g++ 12 calls members of a nested variant that it has
# just initialised uninitialised under -fsanitize=address.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_FLAGS MATCHES "-fsanitize=address")
  target_compile_options(moecast_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-maybe-uninitialized>)
endif()
