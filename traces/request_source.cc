#include "traces/request_source.h"
