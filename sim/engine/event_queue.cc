#include "sim/engine/event_queue.h"
