// The same of Asio's TLS (lb::asio_ssl), for those who have it.
#include <boost/asio/ssl/impl/src.hpp>
