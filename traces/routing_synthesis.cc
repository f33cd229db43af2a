#include "traces/routing_synthesis.h"
