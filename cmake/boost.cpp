// What Boost.Asio and Boost.Beast compile once and not in every file that uses them (lb::asio in cmake/ThirdParty.cmake).
#include <boost/asio/impl/src.hpp>
#include <boost/beast/src.hpp>
