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

# What is shipped: as Debian compiles it (CMake's -O3 takes a tenth longer, and what is hot here runs in the kernel), hardened, and the
# same bytes in whichever folder it is built. tools/check/hardened and tools/check/reproducible look at the result.
set(CMAKE_C_FLAGS_RELEASE "-O2 -DNDEBUG")
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  set(CMAKE_POSITION_INDEPENDENT_CODE ON)
  add_compile_options(-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fstack-clash-protection
    -ffile-prefix-map=${PROJECT_SOURCE_DIR}=. -ffile-prefix-map=${CMAKE_BINARY_DIR}=build)
  add_compile_definitions($<$<COMPILE_LANGUAGE:CXX>:_GLIBCXX_ASSERTIONS>)
  add_link_options(-pie -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|amd64)$")
    add_compile_options(-fcf-protection=full)
    # Debian's own start files lack the mark, so that the linker must be told; they have no indirect branch targets that are ours.
    add_link_options(-Wl,-z,shstk)
  elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
    add_compile_options(-mbranch-protection=standard)
  endif()
endif()
