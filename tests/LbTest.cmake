# lb_test(NAME TIER SOURCES a_test.cpp ... [LINK lb_model ...] [TIMEOUT seconds, if the tier's is too short]
#         [BUSY filter] [ALONE filter] [SHARDS number] [SMOKE [EXCEPT filter]] [TSAN])
# One gtest executable, each TEST a ctest test labelled with its tier (unit | bpf | netns | vm). A test finds its data under
# LB_TEST_DATA and the programs (lbd, lbctl) in LB_BIN_DIR. GTEST_SKIP says why; tests/main.cpp turns it into a failure in CI.
# Tests run beside each other, up to three per core (LB_TEST_SLOTS), as most of them wait. BUSY: a filter of gtest for those that keep
# a core busy, and count as three. ALONE: for those that measure, or change what all tests share.
# With LB_WHOLE_UNIT (tools/test) the programs of the unit tier run as a whole, SHARDS of them beside each other: with sanitizers a
# process for each of 2,300 tests takes three times as long as the tests.
# SMOKE: of the netns tier, also run with AddressSanitizer and by `tools/test --quick` (label netns-smoke), EXCEPT for those that take
# a sanitized lbd minutes. TSAN: they start threads, and run with ThreadSanitizer too.
set(LB_TEST_SLOTS 3)

function(lb_test name tier)
  cmake_parse_arguments(PARSE_ARGV 2 arg "SMOKE;TSAN" "TIMEOUT;BUSY;ALONE;SHARDS;EXCEPT" "SOURCES;LINK")
  lb_reject_unparsed(lb_test ${name})
  lb_test_executable(${name} "${arg_SOURCES};${PROJECT_SOURCE_DIR}/tests/main.cpp" "${arg_LINK};GTest::gmock;GTest::gtest")
  target_compile_definitions(${name} PRIVATE LB_TEST_TIER="${tier}")
  lb_tier_properties(${tier} properties)
  if(arg_TIMEOUT)
    list(APPEND properties TIMEOUT ${arg_TIMEOUT})  # of two the last one counts
  endif()
  lb_add_to_group(${tier}_tests ${name})
  set(apart ${arg_BUSY} ${arg_ALONE} ${arg_EXCEPT})
  list(JOIN apart ":" apart)
  if(arg_EXCEPT)
    lb_discover(${name} "${arg_EXCEPT}" "${properties}")
  endif()
  if(arg_SMOKE)
    lb_add_to_group(smoke_tests ${name})
    list(APPEND properties LABELS ${tier}-smoke)
  endif()
  if(arg_TSAN)
    lb_add_to_group(tsan_tests ${name})
  endif()
  set(filter "*")
  if(apart)
    set(filter "-${apart}")
  endif()
  if(LB_WHOLE_UNIT AND tier STREQUAL "unit")
    lb_whole(${name} "${filter}" "${arg_SHARDS}" "${properties}")
  else()
    lb_discover(${name} "${filter}" "${properties}")
  endif()
  if(arg_BUSY)
    lb_discover(${name} "${arg_BUSY}" "${properties};PROCESSORS;${LB_TEST_SLOTS}")
  endif()
  if(arg_ALONE)
    lb_discover(${name} "${arg_ALONE}" "${properties};RUN_SERIAL;TRUE")
  endif()
endfunction()

# PRE_TEST: the list of tests is read when ctest runs, so building does not run anything.
function(lb_discover name filter properties)
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 60 TEST_PREFIX ${name}. TEST_FILTER ${filter} PROPERTIES ${properties})
endfunction()

function(lb_whole name filter shards properties)
  if(NOT shards)
    set(shards 1)
  endif()
  math(EXPR last "${shards} - 1")
  foreach(shard RANGE ${last})
    add_test(NAME ${name}.${shard} COMMAND ${name} --gtest_brief=1 --gtest_filter=${filter})
    set_tests_properties(${name}.${shard} PROPERTIES ${properties} TIMEOUT 600
      ENVIRONMENT "GTEST_TOTAL_SHARDS=${shards};GTEST_SHARD_INDEX=${shard}")
  endforeach()
endfunction()

# lb_fuzz(NAME SOURCE [LINK ...]): SOURCE defines LLVMFuzzerTestOneInput; its corpus is tests/data/fuzz/NAME.
# A unit test feeds the corpus to it. With LB_FUZZ it is a libFuzzer target, which a test of the tier fuzz lets look for more.
function(lb_fuzz name source)
  cmake_parse_arguments(PARSE_ARGV 2 arg "" "" "LINK")
  lb_reject_unparsed(lb_fuzz ${name})
  if(LB_SANITIZE STREQUAL "thread")  # no parser starts one
    return()
  endif()
  set(corpus ${PROJECT_SOURCE_DIR}/tests/data/fuzz/${name})
  set(target fuzz_${name})
  if(LB_FUZZ)
    lb_test_executable(${target} "${source}" "${arg_LINK}")
    target_link_options(${target} PRIVATE -fsanitize=fuzzer)
    foreach(library IN LISTS arg_LINK)
      if(library MATCHES "^lb_")  # it tells libFuzzer which way an input took
        target_compile_options(${library} PRIVATE -fsanitize=fuzzer-no-link)
      endif()
    endforeach()
    lb_add_to_group(fuzz_tests ${target})
    add_test(NAME fuzz.${name} COMMAND ${PROJECT_SOURCE_DIR}/tests/fuzz/smoke $<TARGET_FILE:${target}> ${corpus})
    set_tests_properties(fuzz.${name} PROPERTIES LABELS fuzz TIMEOUT 300 PROCESSORS ${LB_TEST_SLOTS})
    add_test(NAME corpus.${name} COMMAND ${target} -runs=0 ${corpus})
  else()
    lb_test_executable(${target} "${source};${PROJECT_SOURCE_DIR}/tests/fuzz/corpus_main.cpp" "${arg_LINK}")
    add_test(NAME corpus.${name} COMMAND ${target} ${corpus})
  endif()
  lb_add_to_group(unit_tests ${target})
  set_tests_properties(corpus.${name} PROPERTIES LABELS unit TIMEOUT 60)
endfunction()

function(lb_test_executable name sources link)
  add_executable(${name} ${sources})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/tests)
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

function(lb_tier_properties tier out)
  if(tier STREQUAL "unit")
    set(properties LABELS unit TIMEOUT 180 PROCESSORS ${LB_TEST_SLOTS})
  elseif(tier STREQUAL "bpf")
    set(properties LABELS bpf TIMEOUT 60 PROCESSORS ${LB_TEST_SLOTS})
  elseif(tier STREQUAL "netns")
    set(properties LABELS netns TIMEOUT 180)
  elseif(tier STREQUAL "vm")
    set(properties LABELS vm TIMEOUT 2200 RUN_SERIAL TRUE)
  else()
    message(FATAL_ERROR "no test tier '${tier}'")
  endif()
  set(${out} ${properties} PARENT_SCOPE)
endfunction()
