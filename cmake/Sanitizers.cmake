# LB_SANITIZE = address,undefined | thread: set by the presets. It holds for everything that is compiled here, so these are directory
# options, not part of a target. LB_FUZZ: each lb_fuzz() (tests/LbTest.cmake) is also a target of libFuzzer; with address.
set(LB_SANITIZE "" CACHE STRING "Sanitizers, as of -fsanitize: address,undefined or thread, or empty")
option(LB_FUZZ "Also build the libFuzzer targets (needs clang and LB_SANITIZE=address)" OFF)
option(LB_TIDY "Run clang-tidy on every file that is compiled" OFF)

if(LB_SANITIZE)
  # clang (CMakePresets.json): gcc 12 takes twice as long to compile with address and undefined; each takes three times as long at -O1.
  add_compile_options(-O0 -g1 -fsanitize=${LB_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${LB_SANITIZE})
  if(LB_SANITIZE MATCHES "undefined")
    add_compile_options(-fno-sanitize-recover=undefined)
  endif()
endif()

if(LB_TIDY)
  find_program(LB_CLANG_TIDY NAMES clang-tidy-14 REQUIRED)
  set(CMAKE_CXX_CLANG_TIDY ${LB_CLANG_TIDY} --quiet)
endif()
