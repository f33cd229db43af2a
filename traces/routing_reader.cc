#include "traces/routing_reader.h"
