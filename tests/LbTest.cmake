# lb_test(NAME TIER SOURCES a_test.cpp ... [LINK lb_model ...] [TIMEOUT seconds, if the tier's is too short] [PARALLEL])
# PARALLEL: of a tier that runs alone, but these tests only wait, attach no hooks and measure nothing.
# One gtest executable, each TEST a ctest test labelled with its tier (unit | bpf | netns | vm). A test finds its data under
# LB_TEST_DATA and the programs (lbd, lbctl) in LB_BIN_DIR. GTEST_SKIP says why; tests/main.cpp turns it into a failure in CI.
function(lb_test name tier)
  cmake_parse_arguments(PARSE_ARGV 2 arg "PARALLEL" "TIMEOUT" "SOURCES;LINK")
  lb_reject_unparsed(lb_test ${name})
  lb_test_executable(${name} "${arg_SOURCES};${PROJECT_SOURCE_DIR}/tests/main.cpp" "${arg_LINK};GTest::gmock;GTest::gtest")
  target_compile_definitions(${name} PRIVATE LB_TEST_TIER="${tier}")
  lb_tier_properties(${tier} properties)
  if(arg_TIMEOUT)
    list(APPEND properties TIMEOUT ${arg_TIMEOUT})  # of two the last one counts
  endif()
  if(arg_PARALLEL)
    list(APPEND properties RUN_SERIAL FALSE)
  endif()
  lb_add_to_group(${tier}_tests ${name})
  if(tier STREQUAL "unit" AND NOT arg_LINK MATCHES "lb_daemon|lb_engine|lb_lbctl")
    lb_add_to_group(asan_tests ${name})
  endif()
  # PRE_TEST: the list of tests is read when ctest runs, so building does not run anything.
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60 TEST_PREFIX ${name}. PROPERTIES ${properties})
endfunction()

# lb_fuzz(NAME SOURCE [LINK ...]): SOURCE defines LLVMFuzzerTestOneInput; its corpus is tests/data/fuzz/NAME.
# Under the fuzz preset a libFuzzer target, under every other a unit test that feeds the corpus to the same function.
function(lb_fuzz name source)
  cmake_parse_arguments(PARSE_ARGV 2 arg "" "" "LINK")
  lb_reject_unparsed(lb_fuzz ${name})
  set(corpus ${PROJECT_SOURCE_DIR}/tests/data/fuzz/${name})
  if(LB_FUZZ)
    lb_test_executable(fuzz_${name} "${source}" "${arg_LINK}")
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
    lb_add_to_group(fuzz_tests fuzz_${name})
    add_test(NAME fuzz.${name} COMMAND ${PROJECT_SOURCE_DIR}/tests/fuzz/smoke $<TARGET_FILE:fuzz_${name}> ${corpus})
    set_tests_properties(fuzz.${name} PROPERTIES LABELS fuzz TIMEOUT 300)
  else()
    lb_test_executable(corpus_${name} "${source};${PROJECT_SOURCE_DIR}/tests/fuzz/corpus_main.cpp" "${arg_LINK}")
    lb_add_to_group(unit_tests corpus_${name})
    lb_add_to_group(asan_tests corpus_${name})
    add_test(NAME corpus.${name} COMMAND corpus_${name} ${corpus})
    set_tests_properties(corpus.${name} PROPERTIES LABELS unit TIMEOUT 60)
  endif()
endfunction()

function(lb_test_executable name sources link)
  add_executable(${name} ${sources})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/tests)
  # Tests are not what is shipped: compiled as they stand, they cost half the time of a clean build.
  target_compile_options(${name} PRIVATE $<$<CONFIG:Release>:-O0>)
  target_compile_definitions(${name} PRIVATE
    LB_TEST_DATA="${PROJECT_SOURCE_DIR}/tests/data"
    LB_BIN_DIR="${CMAKE_BINARY_DIR}/bin")
  target_link_libraries(${name} PRIVATE ${link} lb_warnings)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
endfunction()

# unit_tests, bpf_tests, ... build one tier and what it needs, which the sanitizer builds of tools/test do.
function(lb_add_to_group group target)
  if(NOT TARGET ${group})
    add_custom_target(${group})
  endif()
  add_dependencies(${group} ${target})
endfunction()

# Tests that touch the kernel run alone: they share one cgroup tree, one bpffs and two CPUs.
function(lb_tier_properties tier out)
  if(tier STREQUAL "unit")
    set(properties LABELS unit TIMEOUT 60)
  elseif(tier STREQUAL "bpf")
    set(properties LABELS bpf TIMEOUT 60 RUN_SERIAL TRUE)
  elseif(tier STREQUAL "netns")
    set(properties LABELS netns TIMEOUT 180 RUN_SERIAL TRUE)
  elseif(tier STREQUAL "vm")
    set(properties LABELS vm TIMEOUT 1200 RUN_SERIAL TRUE)
  else()
    message(FATAL_ERROR "no test tier '${tier}'")
  endif()
  set(${out} ${properties} PARENT_SCOPE)
endfunction()
