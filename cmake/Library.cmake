# lb_library(NAME SOURCES a.cpp b.cpp ... [LINK lb_model spdlog::spdlog ...])
# One static library per folder of src/. Headers are included from the root of src ("base/result.h"); the one header shared with the
# kernel side is "bpf/lb_abi.h". LINK is public: it is the arrow of the architecture, and must not be drawn twice.
function(lb_library name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LINK")
  lb_reject_unparsed(lb_library ${name})
  add_library(${name} STATIC ${arg_SOURCES})
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PUBLIC ${arg_LINK} PRIVATE lb_warnings)
endfunction()

# lb_program(NAME SOURCES main.cpp ... [LINK ...]): an executable in bin/.
function(lb_program name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LINK")
  lb_reject_unparsed(lb_program ${name})
  add_executable(${name} ${arg_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${arg_LINK} lb_warnings)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
endfunction()

macro(lb_reject_unparsed function name)
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "${function}(${name}): do not know ${arg_UNPARSED_ARGUMENTS}")
  endif()
endmacro()
