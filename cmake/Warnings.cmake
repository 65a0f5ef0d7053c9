# lb_warnings: the warnings every file of ours is compiled with. Third-party headers are SYSTEM and stay silent.
option(LB_WERROR "Treat every warning as an error (on in CI and in tools/test)" OFF)

add_library(lb_warnings INTERFACE)
target_compile_options(lb_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion
  $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor>
  -Werror=unused-result
  # Only gcc's warnings are kept at zero; clang compiles us for sanitizers alone.
  $<$<AND:$<BOOL:${LB_WERROR}>,$<CXX_COMPILER_ID:GNU>>:-Werror>
  $<$<CXX_COMPILER_ID:Clang>:-w>
  # gcc 12 warns about std::string + at -O2 and above, wrongly (its bug 105651).
  $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-restrict>)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND LB_UNITY)
  # Of types in unnamed namespaces of a file that is included, as all are in a unity build.
  target_compile_options(lb_warnings INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-subobject-linkage>)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND LB_SANITIZE STREQUAL "thread")
  # gcc 12 cannot model atomic_thread_fence, which Asio uses.
  target_compile_options(lb_warnings INTERFACE -Wno-tsan)
endif()
