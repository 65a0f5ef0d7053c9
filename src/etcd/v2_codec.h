// The v2 API of etcd as values: JSON and headers to listings and events. Knows no socket.
#pragma once

namespace lb::etcd {}
