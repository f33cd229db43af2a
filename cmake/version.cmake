# moecast_version_library(NAME HEADER version.h)
#   A library that defines Version() and GitCommit() of the header. The commit is asked for at every
#   build, not at configure time, and the source is touched only when the answer changes. Link it where
#   provenance is written and nowhere else: what links it relinks at every commit.
function(moecast_version_library name)
  cmake_parse_arguments(ARG "" "HEADER" "" ${ARGN})
  set(source ${CMAKE_CURRENT_BINARY_DIR}/version.cc)
  find_package(Git QUIET)
  add_custom_target(
    ${name}_source
    COMMAND
      ${CMAKE_COMMAND} -D SOURCE_DIR=${PROJECT_SOURCE_DIR} -D VERSION=${PROJECT_VERSION} -D GIT=${GIT_EXECUTABLE}
      -D OUTPUT=${source} -P ${PROJECT_SOURCE_DIR}/cmake/write_version.cmake
    BYPRODUCTS ${source}
    VERBATIM)
  add_library(${name} STATIC ${source})
  add_dependencies(${name} ${name}_source)
  target_sources(${name} PUBLIC FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR} FILES ${ARG_HEADER})
  target_link_libraries(${name} PUBLIC moecast_options)
  set_target_properties(${name} PROPERTIES VERIFY_INTERFACE_HEADER_SETS ON)
endfunction()
