#include "traces/routing_writer.h"
