# How files are compiled and linked, apart from warnings and sanitizers.
#   LB_UNITY: the files of a target in batches, each batch one translation unit: a clean build takes less than half the time, a
#     changed file more of it. On in the presets that compile everything (tools/test, tools/quickstart), off in `dev`.
option(LB_UNITY "Compile the files of a target in batches" OFF)
if(LB_UNITY)
  set(CMAKE_UNITY_BUILD ON)
  set(CMAKE_UNITY_BUILD_BATCH_SIZE 12)
endif()

# GNU ld takes most of the time of a relink.
find_program(LB_LLD NAMES ld.lld)
if(LB_LLD)
  add_link_options(-fuse-ld=lld)
endif()
