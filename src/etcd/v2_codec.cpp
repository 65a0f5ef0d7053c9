#include "etcd/v2_codec.h"
