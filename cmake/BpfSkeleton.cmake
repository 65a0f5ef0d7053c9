# lb_bpf_skeleton(NAME SOURCE): compiles SOURCE (x.bpf.c) for the kernel and turns it into <NAME.skel.h>.
# Link the INTERFACE target NAME_skel to include it. Touching any header that SOURCE includes rebuilds object, skeleton and users.
find_program(LB_BPF_CLANG NAMES clang-14 REQUIRED)
find_program(LB_BPFTOOL NAMES bpftool PATHS /usr/sbin REQUIRED)

if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|amd64)$")
  set(LB_BPF_ARCH x86)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
  set(LB_BPF_ARCH arm64)
else()
  message(FATAL_ERROR "no BPF target for ${CMAKE_SYSTEM_PROCESSOR}")
endif()

function(lb_bpf_skeleton name source)
  cmake_path(ABSOLUTE_PATH source NORMALIZE)
  set(dir ${CMAKE_CURRENT_BINARY_DIR}/${name}_skel)
  set(object ${dir}/${name}.bpf.o)
  set(header ${dir}/${name}.skel.h)
  file(MAKE_DIRECTORY ${dir})

  add_custom_command(
    OUTPUT ${object}
    # <asm/types.h> lives in the multiarch folder, which clang does not search for -target bpf.
    COMMAND ${LB_BPF_CLANG} -O2 -g -target bpf -mcpu=v3 -Wall -Wextra -Werror -D__TARGET_ARCH_${LB_BPF_ARCH}
            -ffile-prefix-map=${PROJECT_SOURCE_DIR}=.
            -I ${PROJECT_SOURCE_DIR} -idirafter /usr/include/${CMAKE_LIBRARY_ARCHITECTURE}
            -MD -MF ${object}.d -c ${source} -o ${object}
    DEPENDS ${source}
    DEPFILE ${object}.d
    COMMENT "BPF ${name}"
    VERBATIM)
  add_custom_command(
    OUTPUT ${header}
    # Without "name" bpftool derives one from the file name and keeps the ".bpf" in it. Into a file of its own first: a failing
    # bpftool must not leave an empty header that looks up to date.
    COMMAND sh -c "\"$1\" gen skeleton \"$2\" name \"$3\" >\"$4.tmp\" && mv \"$4.tmp\" \"$4\"" sh
            ${LB_BPFTOOL} ${object} ${name} ${header}
    DEPENDS ${object}
    COMMENT "BPF skeleton ${name}"
    VERBATIM)

  add_custom_target(${name}_skel_header DEPENDS ${header})
  add_library(${name}_skel INTERFACE)
  target_include_directories(${name}_skel SYSTEM INTERFACE ${dir})
  target_link_libraries(${name}_skel INTERFACE PkgConfig::LIBBPF)
  add_dependencies(${name}_skel ${name}_skel_header)
endfunction()
