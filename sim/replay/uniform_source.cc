#include "sim/replay/routing_source.h"
