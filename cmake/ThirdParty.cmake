# Every third-party library, found once. Link the targets named here and nothing else:
#   lb::asio  lb::asio_ssl  Boost::headers  spdlog::spdlog  fmt::fmt  nlohmann_json::nlohmann_json  tl::expected  tomlplusplus::tomlplusplus
#   CLI11::CLI11  CURL::libcurl  OpenSSL::SSL  PkgConfig::LIBBPF  PkgConfig::LIBCARES  PkgConfig::LIBNL  PkgConfig::LIBNFTABLES  PkgConfig::LIBSECCOMP  PkgConfig::LIBURING  Threads::Threads
#   GTest::gtest  GTest::gmock  benchmark::benchmark
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(Boost 1.81 REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(tl-expected REQUIRED)
find_package(CLI11 REQUIRED)
find_package(CURL REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(GTest REQUIRED)
find_package(benchmark)

find_package(PkgConfig REQUIRED)
pkg_check_modules(LIBBPF REQUIRED IMPORTED_TARGET libbpf)
pkg_check_modules(LIBNL REQUIRED IMPORTED_TARGET libnl-3.0 libnl-genl-3.0 libnl-route-3.0)
pkg_check_modules(LIBNFTABLES REQUIRED IMPORTED_TARGET libnftables)
pkg_check_modules(LIBSECCOMP REQUIRED IMPORTED_TARGET libseccomp)
pkg_check_modules(LIBCARES REQUIRED IMPORTED_TARGET libcares)
pkg_check_modules(LIBURING IMPORTED_TARGET liburing)

find_package(tomlplusplus QUIET)
if(NOT TARGET tomlplusplus::tomlplusplus)
  pkg_check_modules(TOMLPLUSPLUS REQUIRED IMPORTED_TARGET tomlplusplus)
  add_library(tomlplusplus::tomlplusplus ALIAS PkgConfig::TOMLPLUSPLUS)
endif()

# Asio and Beast, whose own code is compiled once and not in each file; the deprecated names are gone so that they cannot creep in.
add_library(lb_asio STATIC ${CMAKE_CURRENT_LIST_DIR}/boost.cpp)
add_library(lb::asio ALIAS lb_asio)
target_compile_definitions(lb_asio PUBLIC BOOST_ASIO_NO_DEPRECATED BOOST_ASIO_SEPARATE_COMPILATION BOOST_BEAST_SEPARATE_COMPILATION)
target_link_libraries(lb_asio PUBLIC Boost::headers Threads::Threads)
add_library(lb_asio_ssl STATIC ${CMAKE_CURRENT_LIST_DIR}/boost_ssl.cpp)
add_library(lb::asio_ssl ALIAS lb_asio_ssl)
target_link_libraries(lb_asio_ssl PUBLIC lb::asio OpenSSL::SSL)
